"""Brings a cluster to where it should be: released manifests, Secrets, an overlay, health, and a first conversation with each service."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.clusters import health, manifests, secrets
from pipelines.clusters import kubectl as k
from pipelines.clusters.wanted import PIPELINES, SERVICES, SERVING

EVENTS = "argo-events"
NAMESPACES = (PIPELINES, EVENTS, SERVICES)
_SMOKE = "lakeline-smoke"

Say = Callable[[str], None]


@dataclass
class Deployed:
    """What a deployment came to."""

    changed: list[str] = field(default_factory=list)
    """Objects that were not so before, as kind/namespace/name."""
    secrets: list[secrets.Outcome] = field(default_factory=list)
    workloads: list[health.Workload] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    """What each service answered: what, good, said."""


def deploy(overlay: str, timeout: float, say: Say) -> Deployed:
    """Deploy Lakeline to the cluster that kubectl speaks to. What is there already stays as it is.

    Parameters
    ----------
    overlay
        Which of kubernetes/overlays.
    timeout
        Seconds that everything may take to become healthy.
    say
        Is told of each thing as it is done.

    Returns
    -------
    Deployed
        What has changed, and how it was found.

    Raises
    ------
    ClusterError
        If the cluster refuses, something does not become healthy, or a service does not answer as it should.
    """
    chosen = manifests.chosen_images()
    wanted = manifests.overlay(overlay, chosen)  # what is wrong with it is said before anything is changed
    deployed = Deployed()
    for variable, image in chosen.items():
        say(f"image {image} ({variable}; empty it for the one that comes with Lakeline)")
    _pipelines(deployed, say)
    _events(deployed, say)
    _apply(deployed, "namespaces of services and models", manifests.build(manifests.folder() / "namespace"), say)
    if "kind: ExternalSecret\n" in wanted:  # what a vault has is not made here
        _apply(deployed, f"overlay {overlay}", wanted, say)
        for namespace in (SERVICES, PIPELINES, SERVING):
            k.kubectl("--namespace", namespace, "wait", "--for=condition=Ready", "externalsecrets", "--all", "--timeout=120s", timeout=150)
    deployed.secrets = secrets.ensure(overlay)
    made = [outcome for outcome in deployed.secrets if outcome.did != "kept"]
    deployed.changed += [f"Secret/{outcome.namespace}/{outcome.name}" for outcome in made]
    say(f"secrets: {len(deployed.secrets)}, {len(made)} of them made or completed")
    _apply(deployed, f"overlay {overlay}", wanted, say)
    say(f"waiting for pods ({timeout / 60:.0f} minutes at most)")
    deployed.workloads = health.wait(NAMESPACES, timeout, say)
    deployed.answers = smoke(say)
    return deployed


def smoke(say: Say) -> list[dict[str, Any]]:
    """Have a Job ask each service what a step will ask it, from where a step runs.

    Returns
    -------
    list of dict
        what, good and said of each question.

    Raises
    ------
    ClusterError
        If a service does not answer as it should, or the Job can't run.
    """
    job = manifests.build(manifests.folder() / "smoke", chosen=manifests.chosen_images())
    where = ("--namespace", PIPELINES)
    k.kubectl(*where, "delete", "job", _SMOKE, "--ignore-not-found", "--wait=true", "--cascade=foreground")
    k.kubectl("create", "--filename=-", stdin=job)
    end = time.monotonic() + 300
    while True:
        status = k.get("job", PIPELINES, _SMOKE)[0].get("status", {})
        if status.get("succeeded") or status.get("failed"):
            break
        if time.monotonic() > end:
            reason = health.why(health.Workload(PIPELINES, "Job", _SMOKE, ready=False))
            raise k.ClusterError(f"the Job that asks the services did not run: {reason}")
        time.sleep(1)
    log = k.kubectl(*where, "logs", f"job/{_SMOKE}")
    answers = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    for answer in answers:
        say(f"{'✓' if answer['good'] else '✗'} {answer['what']}: {answer['said']}")
    bad = [f"{answer['what']}: {answer['said']}" for answer in answers if not answer["good"]]
    if bad or not answers:
        lines = "\n  ".join(bad or log.splitlines()[-3:] or ["its log is empty"])
        raise k.ClusterError(
            f"the services run, but don't answer a step as they should:\n  {lines}\ndocs/OPERATIONS.md says what to look at."
        )
    return answers


def _pipelines(deployed: Deployed, say: Say) -> None:
    root, ours = manifests.released("KFP_MANIFESTS"), manifests.folder() / "pipelines" / "released"
    if not root:
        if not k.exists("namespace", PIPELINES):
            raise k.ClusterError(
                f"KFP_MANIFESTS is empty, so the cluster should have Kubeflow Pipelines, but there is no namespace {PIPELINES}."
            )
        _note(deployed, "Kubeflow Pipelines is there; our changes to it", manifests.patch(ours), say)
        return
    say(f"Kubeflow Pipelines: {root}")
    base = manifests.build(manifests.below(root, "cluster-scoped-resources"))
    _apply(deployed, "Kubeflow Pipelines: definitions", base, say)
    _established(base)
    _apply(deployed, "Kubeflow Pipelines", manifests.build(manifests.below(root, "env/platform-agnostic"), components=[ours]), say)


def _events(deployed: Deployed, say: Say) -> None:
    root, ours = manifests.released("ARGO_EVENTS_MANIFESTS"), manifests.folder() / "argo-events"
    _apply(deployed, "namespace of Argo Events", manifests.build(ours), say)
    if not root:
        if k.exists("deployment", "controller-manager", EVENTS):
            _note(deployed, "Argo Events is there; our changes to it", manifests.patch(ours / "released"), say)
        return
    say(f"Argo Events: {root}")
    built = manifests.build(root if root.startswith("github.com/") else Path(root), components=[ours / "released"])
    _apply(deployed, "Argo Events", built, say)
    _established(built)


def _apply(deployed: Deployed, what: str, objects: str, say: Say) -> None:
    _note(deployed, what, manifests.apply(objects), say)


def _note(deployed: Deployed, what: str, applied: manifests.Applied, say: Say) -> None:
    deployed.changed += applied.changed
    say(f"{what}: {len(applied.all)} objects, {f'{len(applied.changed)} changed' if applied.changed else 'nothing to change'}")


def _established(objects: str) -> None:
    """Wait until the API server serves the definitions among the objects."""
    names = re.findall(r"^kind: CustomResourceDefinition\nmetadata:\n(?:  .*\n)*?  name: (\S+)$", objects, re.MULTILINE)
    if names:
        k.kubectl("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{name}" for name in names))


@dataclass(frozen=True)
class Place:
    """How a person reaches a service."""

    what: str
    url: str
    forward: str
    user: str
    """Name to log in by, or, where it is a key's id, the command that prints that; empty if nobody is asked for one."""
    login: str
    """Command that prints the password."""


def places() -> list[Place]:
    """How a person reaches each service: a command that brings it to this machine, the address that it has then, and how to log in."""
    get = f"kubectl -n {SERVICES} get secret {{}} -o jsonpath='{{{{.data.{{}}}}}}' | base64 -d"
    lakefs = get.format("lakeline-lakefs", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY")
    key_id = get.format("lakeline-lakefs", "LAKECTL_CREDENTIALS_ACCESS_KEY_ID")
    mlflow = get.format("lakeline-mlflow", "MLFLOW_TRACKING_PASSWORD")
    return [
        Place(
            "Kubeflow Pipelines",
            "http://localhost:8080",
            f"kubectl -n {PIPELINES} port-forward svc/ml-pipeline-ui 8080:80",
            "",
            "none is asked for",
        ),
        Place("lakeFS", "http://localhost:8000", f"kubectl -n {SERVICES} port-forward svc/lakefs 8000:8000", key_id, lakefs),
        Place("MLflow", "http://localhost:5000", f"kubectl -n {SERVICES} port-forward svc/mlflow 5000:5000", "lakeline", mlflow),
    ]
