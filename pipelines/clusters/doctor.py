"""Look at a cluster as Lakeline's pipelines need it, and say what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

from pipelines.clusters import kubectl as k
from pipelines.clusters.health import look, why
from pipelines.clusters.wanted import PIPELINES, SERVICES
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
    from pipelines.cluster import CONFIG_MAP, LAKE, LAKE_SECRET, REGISTRY, REGISTRY_SECRET

    wanted = [("configmap", CONFIG_MAP, (*LAKE, *REGISTRY)), ("secret", *LAKE_SECRET), ("secret", *REGISTRY_SECRET)]
    whole = True
    for kind, name, keys in wanted:
        found = k.get(kind, PIPELINES, name)
        missing = sorted(set(keys) - set((found[0].get("data") or {}) if found else ()))
        if missing:
            whole = False
            make = "lakeline cluster secrets" if kind == "secret" else "lakeline cluster deploy"
            yield "fails", f"{kind} {name} in namespace {PIPELINES} lacks {', '.join(missing)}: a step's pod would not start. Run: {make}"
    if whole:
        yield "good", f"ConfigMap {CONFIG_MAP}, Secrets {LAKE_SECRET[0]} and {REGISTRY_SECRET[0]} in namespace {PIPELINES}"


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


LOOKS = (
    ("cluster", reachable),
    ("Kubeflow Pipelines", kubeflow),
    ("retries", retries),
    ("settings of steps", settings),
    ("services", services),
)
"""What is looked at, in this order."""
