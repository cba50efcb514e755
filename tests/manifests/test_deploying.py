"""`lakeline cluster`: what it says where it can't go on, what it builds, and why a pod is not well."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakeline.errors import UsageError
from pipelines.cli import app
from pipelines.clusters import health, kind, manifests, smoke
from pipelines.clusters import kubectl as k
from tests.manifests.objects import KUBERNETES

needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not on the PATH")


Program = Callable[[str, str], None]
"""Puts a stand-in for a program on the PATH: its name, and a shell script."""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def test_without_kubectl_it_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(k.ClusterError, match=r"no kubectl on the PATH\. Install it \(https://kubernetes\.io"):
        k.kubectl("version")


@needs_kubectl
def test_without_a_context_it_says_how_to_choose_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBECONFIG", os.devnull)
    with pytest.raises(k.ClusterError, match="set up for no cluster"):
        k.context()
    with pytest.raises(k.ClusterError, match="set up for no cluster"):
        k.kubectl("get", "pods")


@needs_kubectl
def test_cluster_that_is_down_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gone",
        "clusters": [{"name": "gone", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": "none"}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))

    assert k.context() == k.Context("gone", "https://127.0.0.1:1")
    with pytest.raises(k.ClusterError, match=r"the cluster does not answer \(.*127\.0\.0\.1:1"):
        k.get("pods", "lakeline")


def test_refusal_says_who_may_not_do_what(program: Program):
    program("kubectl", "echo 'Error from server (Forbidden): secrets is forbidden: User \"eve\" cannot list resource' >&2; exit 1")
    with pytest.raises(k.ClusterError, match=r'the cluster refuses: secrets is forbidden: User "eve" cannot list'):
        k.get("secrets", "lakeline")


def test_failure_names_the_call_and_the_reason(program: Program):
    program("kubectl", "echo 'error: the namespace is being deleted' >&2; exit 1")
    with pytest.raises(k.ClusterError, match=r"^`kubectl get pods` failed: the namespace is being deleted$"):
        k.kubectl("get", "pods", "--output=json")


def test_unknown_kind_has_no_objects(program: Program):
    program("kubectl", "echo 'error: the server doesn'\"'\"'t have a resource type \"sensors\"' >&2; exit 1")
    assert k.get("sensors.argoproj.io", "lakeline") == []


@pytest.mark.parametrize(
    ("root", "below"),
    [
        ("github.com/a/b/manifests?ref=1.2.3", "github.com/a/b/manifests/env/x?ref=1.2.3"),
        ("https://github.com/a/b//manifests/?ref=1.2.3", "https://github.com/a/b//manifests/env/x?ref=1.2.3"),
        ("/there/kfp", "/there/kfp/env/x"),
    ],
)
def test_folders_of_released_manifests(root: str, below: str):
    assert manifests.below(root, "env/x") == below


def test_environment_names_other_manifests_or_none(monkeypatch: pytest.MonkeyPatch):
    assert "?ref=" in manifests.released("KFP_MANIFESTS")
    monkeypatch.setenv("KFP_MANIFESTS", "/elsewhere")
    assert manifests.released("KFP_MANIFESTS") == "/elsewhere"
    monkeypatch.setenv("KFP_MANIFESTS", "")
    assert manifests.released("KFP_MANIFESTS") == ""


@needs_kubectl
@pytest.mark.parametrize("image", ["registry.example.org:5000/own/steps:1.2", f"registry.example.org/own/steps@sha256:{'0' * 64}"])
def test_other_image_of_the_steps_is_taken_everywhere(image: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_STEPS_IMAGE", image)

    built = manifests.overlay("kind")

    assert image in manifests.images(built)
    assert "ghcr.io/lakeline/steps" not in built
    assert f"LAKELINE_STEPS_IMAGE: {image}" in built


def test_image_that_the_cluster_was_given_stays_until_another_is_named(program: Program, monkeypatch: pytest.MonkeyPatch):
    chosen = "registry.example.org/own/steps@sha256:" + "0" * 64
    data = {"LAKELINE_STEPS_IMAGE": chosen, "LAKELINE_SERVING_IMAGE": "ghcr.io/lakeline/serving:0.0.9"}
    program("kubectl", f"echo '{json.dumps({'items': [{'kind': 'ConfigMap', 'data': data}]})}'")

    assert manifests.chosen_images() == {"LAKELINE_STEPS_IMAGE": chosen}
    monkeypatch.setenv("LAKELINE_STEPS_IMAGE", "registry.example.org/other:2")
    assert manifests.chosen_images() == {"LAKELINE_STEPS_IMAGE": "registry.example.org/other:2"}
    monkeypatch.setenv("LAKELINE_STEPS_IMAGE", "")
    assert manifests.chosen_images() == {}


@pytest.mark.parametrize("image", ["own/steps", "registry.example.org:5000/own/steps"])
def test_image_without_a_version_is_refused(image: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_STEPS_IMAGE", image)
    with pytest.raises(UsageError, match="says no version"):
        manifests.overlay("kind")


def test_unknown_overlay_is_named():
    with pytest.raises(UsageError, match=r"no overlay staging\. Give one of: kind, production"):
        manifests.overlay("staging")


def test_installed_package_says_that_manifests_are_in_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LAKELINE_KUBERNETES", str(tmp_path))
    with pytest.raises(k.ClusterError, match=r"has no manifests of Lakeline\. Run this in a checkout"):
        manifests.folder()


def test_patches_change_and_never_apply(program: Program, tmp_path: Path):
    """An apply of a part of an object takes the rest of it away, if this command had put it there."""
    calls = tmp_path / "calls"
    found = {"kind": "Deployment", "metadata": {"name": "workflow-controller", "namespace": "kubeflow"}, "data": {}}
    program("kubectl", f"echo \"$@\" >>{calls}\ncase $1 in get) echo '{json.dumps(found)}' ;; esac")

    applied = manifests.patch(KUBERNETES / "pipelines" / "released")

    said = calls.read_text().splitlines()
    assert applied.changed == ()
    assert [call for call in said if " apply " in f" {call} "] == []
    assert len([call for call in said if " patch " in call and "--type=strategic" in call]) == 3


# What the API server said of pods that did not start, cut down to what is read.
WAITING = {"name": "lakefs", "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
CRASHED: dict[str, Any] = {
    "name": "postgres",
    "restartCount": 4,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
}
NOT_READY = {"name": "mlflow", "restartCount": 0, "ready": False, "state": {"running": {}}}
UNSCHEDULABLE = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no memory"}]}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"containerStatuses": [WAITING]}, "pod lakefs-6d-x: lakefs: ErrImagePull: not found"),
        (
            {"initContainerStatuses": [CRASHED]},
            "pod lakefs-6d-x: postgres ended with exit code 1 (Error), 4 restarts. It says last: no disk",
        ),
        ({"containerStatuses": [NOT_READY]}, "pod lakefs-6d-x: mlflow runs, but is not ready. It says last: no disk"),
        (UNSCHEDULABLE, "pod lakefs-6d-x: 0/1 nodes: no memory"),
    ],
)
def test_pod_that_is_not_well_says_why(status: dict[str, Any], reason: str, program: Program):
    owner = {"name": "lakefs-6d"}
    pod = {"metadata": {"name": "lakefs-6d-x", "namespace": "lakeline", "ownerReferences": [owner]}, "status": status}
    program("kubectl", f"case \"$*\" in *logs*) echo no disk ;; *pods*) echo '{json.dumps({'items': [pod]})}' ;; esac")

    assert health.why(health.Workload("lakeline", "Deployment", "lakefs", ready=False)) == reason


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, True),
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1}, False),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}, False),
        ({}, False),
    ],
    ids=["ready", "not looked at yet", "old pod still there", "not ready", "new"],
)
def test_deployment_is_ready_when_the_new_pods_are(status: dict[str, int], ready: bool, program: Program):
    item = {"kind": "Deployment", "metadata": {"name": "a", "namespace": "n", "generation": 2}, "spec": {"replicas": 1}, "status": status}
    program("kubectl", f"case \"$*\" in *deployments*) echo '{json.dumps({'items': [item]})}' ;; *) echo '{{\"items\": []}}' ;; esac")

    assert [workload.ready for workload in health.look(["n"])] == [ready]


def test_waiting_ends_with_every_reason(program: Program):
    item = {"kind": "Deployment", "metadata": {"name": "a", "namespace": "n", "generation": 1}, "spec": {}}
    sensor = {
        "kind": "Sensor",
        "metadata": {"name": "s", "namespace": "n"},
        "status": {"conditions": [{"type": "Deployed", "status": "False", "message": "no bus"}]},
    }
    program(
        "kubectl",
        f"case \"$*\" in *deployments*) echo '{json.dumps({'items': [item]})}' ;; *sensors*) echo '{json.dumps({'items': [sensor]})}' ;; "
        "*) echo '{\"items\": []}' ;; esac",
    )
    with pytest.raises(k.ClusterError, match=r"(?s)not healthy after 0 s:\n  n/a: it has no pod\n  n/sensor/s: Deployed: no bus\n"):
        health.wait(["n"], 0, print)


class _Answers(BaseHTTPRequestHandler):
    """Answers everything to everybody: a server that asks for no password."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def open_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_server_that_asks_for_no_password_is_found_out(
    open_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("LAKECTL_SERVER_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "KF_PIPELINES_ENDPOINT"):
        monkeypatch.setenv(name, open_server)

    assert smoke.main() == 1

    answers = {answer["what"]: answer for answer in map(json.loads, capsys.readouterr().out.splitlines())}
    assert answers["Kubeflow Pipelines answers"]["good"]
    for server in ("lakeFS", "MLflow"):
        assert "to a stranger; it should be 401" in answers[f"{server} refuses strangers"]["said"]
    assert "the environment lacks 'LAKECTL_CREDENTIALS_ACCESS_KEY_ID'" in answers["lakeFS keeps objects"]["said"]


def test_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name in ("LAKECTL_SERVER_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "KF_PIPELINES_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert smoke.main() == 1

    assert "http://127.0.0.1:1/apis/v2beta1/healthz: ConnectError" in capsys.readouterr().out


def test_kind_makes_the_cluster_once(program: Program, tmp_path: Path):
    """It needs docker to be tried for real; here counts what is called."""
    calls, made = tmp_path / "calls", tmp_path / "clusters"
    program(
        "kind",
        f'echo "$@" >>{calls}\ncase "$*" in "get clusters") cat {made} 2>/dev/null ;; create*) echo lakeline >{made} ;; esac; exit 0',
    )
    program("kubectl", f'echo "$@" >>{calls}')

    assert [kind.up(), kind.up()] == [True, False]

    said = calls.read_text()
    assert said.count("create cluster --name=lakeline --image=kindest/node:v") == 1
    assert said.count("config use-context kind-lakeline") == 2
    assert kind.down()
    assert "delete cluster --name=lakeline" in calls.read_text()


def test_no_kind_says_what_to_install(monkeypatch: pytest.MonkeyPatch, program: Program, tmp_path: Path):
    program("kubectl", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(k.ClusterError, match="no kind on the PATH"):
        kind.up()


def test_urls_are_told_as_json_too():
    told = CliRunner().invoke(app, ["cluster", "urls", "--json"])
    assert {place["what"] for place in json.loads(told.stdout)["places"]} == {"Kubeflow Pipelines", "lakeFS", "MLflow"}
    assert "port-forward svc/mlflow 5000:5000" in CliRunner().invoke(app, ["cluster", "urls"]).stdout
