"""`lakeline cluster deploy` does things in an order that works, and ends badly where a service answers badly.

kubectl builds for real here, and answers as a cluster does where all is well; tests/cluster has a real one.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.clusters import deploy
from pipelines.clusters import kubectl as k

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not on the PATH")

READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
ANSWERS = {
    "deployments": {
        "kind": "Deployment",
        "metadata": {"name": "lakefs", "namespace": "lakeline", "generation": 1},
        "spec": {},
        "status": READY,
    },
    "job": {"kind": "Job", "metadata": {"name": "lakeline-smoke", "namespace": "kubeflow"}, "status": {"succeeded": 1}},
    "--filename": {"kind": "ConfigMap", "metadata": {"name": "there", "namespace": "kubeflow"}, "data": {}},
}

Healthy = Callable[[bool], Path]


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Healthy:
    """Start a cluster where all is well, but for what the services answer; returns the file of calls."""

    def started(good: bool) -> Path:
        real, calls = shutil.which("kubectl"), tmp_path / "calls"
        cases = "\n".join(f"*' get '*{word}*) echo '{json.dumps({'items': [item]})}' ;;" for word, item in ANSWERS.items())
        answer = json.dumps({"what": "lakeFS refuses strangers", "good": good, "said": "401" if good else "200"})
        script = tmp_path / "bin" / "kubectl"
        script.parent.mkdir()
        script.write_text(
            f"""#!/bin/sh
if [ "$1" = kustomize ]; then exec {real} "$@"; fi
echo "$@" >>{calls}
case " $* " in *"--filename=/"*) cat "$(echo "$*" | sed -E 's/.*--filename=([^ ]+).*/\\1/')" | grep -E '^  name: ' >>{calls} ;; esac
case " $* " in
*' get namespace '*) echo namespace/there ;;
{cases}
*' get '*) echo '{{"items": []}}' ;;
*' logs '*) echo '{answer}' ;;
*' create '*) cat >/dev/null ;;
esac
"""
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("KFP_MANIFESTS", "")
        monkeypatch.setenv("ARGO_EVENTS_MANIFESTS", "")
        return calls

    return started


def test_secrets_are_there_before_who_reads_them(healthy: Healthy):
    calls, said = healthy(True), []

    deployed = deploy.deploy("kind", 10, said.append)

    done = calls.read_text()
    steps = [
        r"patch ConfigMap there --type=strategic",  # Kubeflow's retries
        r"apply .*\n(  name: .*\n)*  name: argo-events",
        r"apply .*\n(  name: .*\n)*  name: lakeline",
        r"create --filename=- --output=name",  # Secrets
        r"apply .*\n(  name: .*\n)*  name: postgres",  # the overlay
        r"get deployments",
        r"delete job lakeline-smoke",
        r"logs job/lakeline-smoke",
    ]
    found = [re.search(step, done) for step in steps]
    assert all(found), [step for step, match in zip(steps, found, strict=True) if not match]
    places = [match.start() for match in found if match]
    assert places == sorted(places)
    assert [workload.name for workload in deployed.workloads if workload.ready] == ["lakefs"] * 3
    assert "✓ lakeFS refuses strangers: 401" in said


def test_service_that_answers_badly_ends_it(healthy: Healthy):
    healthy(False)
    with pytest.raises(k.ClusterError, match=r"don't answer a step as they should:\n  lakeFS refuses strangers: 200"):
        deploy.deploy("kind", 10, print)


def test_kubeflow_that_should_be_there_and_is_not_is_missed(healthy: Healthy, monkeypatch: pytest.MonkeyPatch):
    healthy(True)
    monkeypatch.setattr(k, "exists", lambda kind, name, namespace=None: False)
    with pytest.raises(k.ClusterError, match=r"KFP_MANIFESTS is empty.* no namespace kubeflow"):
        deploy.deploy("kind", 10, print)
