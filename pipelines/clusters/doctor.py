"""Look at a cluster as Lakeline's pipelines need it, and say what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.clusters import kubectl as k
from pipelines.clusters.health import look, why
from pipelines.clusters.wanted import MAY_BE_ABSENT, PIPELINES, SERVICES, SERVING, WANTED
from pipelines.diagnose import Said

_CONTROLLER = "workflow-controller-configmap"


def reachable() -> Said:
    """Which cluster this is about."""
    context = k.context()
    k.kubectl("get", "--raw", "/readyz")
    yield "good", f"{context.name} ({context.server})"


def kubeflow() -> Said:
    """Whether Kubeflow Pipelines answers."""
    answer = k.kubectl("get", "--raw", f"/api/v1/namespaces/{PIPELINES}/services/ml-pipeline:8888/proxy/apis/v2beta1/healthz")
    said: dict[str, Any] = json.loads(answer)
    yield "good", f"version {said.get('tag_name') or 'unknown'}{', for several users' if said.get('multi_user') else ''}"


def retries() -> Said:
    """Whether a step that fails, or loses its pod, is tried again: which is the workflow controller's to say."""
    from ruamel.yaml import YAML

    found = k.get("configmap", PIPELINES, _CONTROLLER)
    defaults: dict[str, Any] = YAML(typ="safe").load(found[0]["data"].get("workflowDefaults", "")) or {} if found else {}
    policy = defaults.get("spec", {}).get("templateDefaults", {}).get("retryStrategy", {}).get("retryPolicy")
    advice = f"`lakeline cluster deploy` sets it right (ConfigMap {_CONTROLLER}, retryPolicy Always)."
    if not found:
        yield "note", f"there is no ConfigMap {_CONTROLLER} in namespace {PIPELINES}: what is tried again can't be told"
    elif policy == "Always":
        yield "good", "steps that fail, and steps whose pod is lost"
    elif policy in (None, "OnFailure"):
        yield "fails", f"a step whose pod is lost is not tried again. {advice}"
    else:
        yield "fails", f"retryPolicy is {policy}, with which a step that exits non-zero is never tried again. {advice}"


def settings() -> Said:
    """Whether steps find their settings and secrets in their namespace."""
    from pipelines import cluster as c

    secrets = dict([c.LAKE_SECRET, c.REGISTRY_SECRET, c.SERVING_SECRET, c.PREDICTIONS_SECRET])
    return _found(PIPELINES, "step", (*c.LAKE, *c.REGISTRY, *c.SERVING, *c.PREDICTIONS), secrets)


def servers() -> Said:
    """Whether servers of models find theirs."""
    from pipelines.cluster import REGISTRY

    return _found(SERVING, "server", REGISTRY, {each.name: tuple(each.keys) for each in WANTED if SERVING in each.namespaces})


def _found(namespace: str, whose: str, settings: Sequence[str], secrets: Mapping[str, Sequence[str]]) -> Said:
    from pipelines.cluster import CONFIG_MAP

    whole = True
    for kind, name, keys in [("configmap", CONFIG_MAP, settings), *(("secret", name, keys) for name, keys in secrets.items())]:
        found = k.get(kind, namespace, name)
        missing = sorted(set(keys) - set((found[0].get("data") or {}) if found else ()) - set(MAY_BE_ABSENT))
        if missing:
            whole = False
            make = "lakeline cluster secrets" if kind == "secret" else "lakeline cluster deploy"
            yield (
                "fails",
                f"{kind} {name} in namespace {namespace} lacks {', '.join(missing)}: a {whose}'s pod would not start. Run: {make}",
            )
    if whole:
        yield "good", f"ConfigMap {CONFIG_MAP}, Secrets {', '.join(sorted(secrets))} in namespace {namespace}"


def services() -> Said:
    """Whether Lakeline's services are healthy."""
    found = look([SERVICES])
    ill = [workload for workload in found if not workload.ready]
    for workload in ill:
        yield "fails", f"{workload}: {why(workload)}"
    if not found:
        yield "fails", f"nothing runs in namespace {SERVICES}. Run: lakeline cluster deploy"
    elif not ill:
        yield "good", ", ".join(workload.name for workload in found)


def deployments() -> Said:
    """Who is changing what serves a model, and what that waits for."""
    from lakeline.serving.rollout.lease import WAITS

    held = [each for each in k.get("leases.coordination.k8s.io", SERVING) if each["spec"].get("holderIdentity")]
    for each in held:
        what = each["metadata"].get("annotations", {}).get(WAITS)
        who = f"{each['metadata']['name']}: {each['spec']['holderIdentity']} (last sign of life {each['spec'].get('renewTime', 'unknown')})"
        yield "note", f"{who} waits for room: {what}" if what else f"{who} is at work"
    if not held:
        yield "good", "nobody is changing what serves"


LOOKS = (
    ("cluster", reachable),
    ("Kubeflow Pipelines", kubeflow),
    ("retries", retries),
    ("settings of steps", settings),
    ("settings of servers", servers),
    ("services", services),
    ("deployments", deployments),
)
"""What is looked at, in this order."""
