"""Reads built manifests: which pods will run, what they refer to, what selects them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakeline.data.servingspec import Serving
from lakeline.serving.release import VARIANTS, Release, Route
from lakeline.serving.rollout import names
from lakeline.serving.rollout import objects as rollout
from lakeline.serving.rollout.pod import Where

PROJECT = Path(__file__).resolve().parents[2]
KUBERNETES = PROJECT / "kubernetes"
OVERLAYS = ("kind", "production")
OURS = ("lakeline", "lakeline-serving", "argo-events", "kubeflow")

Object = dict[str, Any]

RELEASED_PODS = (
    # Labels of pods that others make, so that policies and budgets may select them: Kubeflow Pipelines, Argo Events.
    ("kubeflow", {"app": "ml-pipeline"}),
    ("kubeflow", {"app": "cache-server"}),
    ("kubeflow", {"pipeline/runid": "any"}),
    ("argo-events", {"app": "controller-manager"}),
)


@dataclass(frozen=True)
class Pod:
    """A pod that an object of the manifests will make."""

    owner: str
    namespace: str
    labels: dict[str, str]
    spec: Object

    def __str__(self) -> str:
        """As its owner is named."""
        return self.owner

    @property
    def containers(self) -> list[Object]:
        """All containers, those that run before the others too."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def name(item: Object) -> str:
    """kind/namespace/name of an object."""
    return "/".join(filter(None, (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])))


def served(items: list[Object]) -> list[Object]:
    """What a rollout adds to an overlay: the objects of a model, with a challenger, as the settings of that overlay have it."""
    config = next(item["data"] for item in named(items, "ConfigMap") if "LAKELINE_SERVING_IMAGE" in item.get("data", {}))
    where = Where(config["LAKELINE_SERVING_IMAGE"], config["LAKELINE_PREDICTIONS"])
    made = [rollout.policy("any", "kubeflow", "gateway"), rollout.service("any", None, names.selector("any"))]
    for variant in VARIANTS:
        release = Release("any", 1, "0" * 64, variant, "commit", "run", "actor", Route("test", 0.5, "http://any-challenger:8080"))
        made += [
            rollout.deployment(release, Serving(), where, "0"),
            rollout.service("any", variant, names.selector("any", variant)),
            rollout.budget("any", variant),
            rollout.autoscaler("any", variant, 2, 6),
        ]
    return [item | {"metadata": item["metadata"] | {"namespace": config["LAKELINE_SERVING_NAMESPACE"]}} for item in made]


def named(items: list[Object], *kinds: str) -> list[Object]:
    """Objects of some kinds."""
    return [item for item in items if item["kind"] in kinds]


def pods(items: list[Object]) -> list[Pod]:
    """Pods whose whole spec is in the manifests: those of workloads, and of the Jobs that sensors make."""
    return list(_pods(items))


def _pods(items: list[Object]) -> Iterator[Pod]:
    for item in items:
        space = item["metadata"].get("namespace", "")
        if item["kind"] in {"Deployment", "StatefulSet", "Job", "DaemonSet"}:
            yield _pod(name(item), space, item["spec"]["template"])
        elif item["kind"] == "CronJob":
            yield _pod(name(item), space, item["spec"]["jobTemplate"]["spec"]["template"])
        elif item["kind"] == "Sensor":
            for trigger in item["spec"]["triggers"]:
                template = trigger["template"]
                if "k8s" in template:
                    job = template["k8s"]["source"]["resource"]
                    yield _pod(f"{name(item)}/{template['name']}", job["metadata"].get("namespace", space), job["spec"]["template"])


def _pod(owner: str, space: str, template: Object) -> Pod:
    return Pod(owner, space, template.get("metadata", {}).get("labels", {}), template["spec"])


def labelled(items: list[Object]) -> list[tuple[str, dict[str, str]]]:
    """Namespace and labels of every pod there will be, those that Argo Events makes and released ones too."""
    made = [(pod.namespace, pod.labels) for pod in pods(items)]
    for item in named(items, "EventSource", "Sensor", "EventBus"):
        space, own = item["metadata"]["namespace"], item["metadata"]["name"]
        kind = {"EventSource": "eventsource", "Sensor": "sensor", "EventBus": "eventbus"}[item["kind"]]
        made.append((space, {f"{kind}-name": own, "controller": f"{kind}-controller", "owner-name": own, **_extra(item)}))
    return made + list(RELEASED_PODS)


def _extra(item: Object) -> dict[str, str]:
    template = item["spec"].get("template") or item["spec"].get("jetstream") or {}
    return template.get("metadata", {}).get("labels", {})


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector takes a pod with these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions") or []:
        holds = {
            "In": labels.get(rule["key"]) in rule.get("values", []),
            "NotIn": labels.get(rule["key"]) not in rule.get("values", []),
            "Exists": rule["key"] in labels,
            "DoesNotExist": rule["key"] not in labels,
        }[rule["operator"]]
        if not holds:
            return False
    return True


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in an object, with the path that leads to it."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f"{path}[{number}]")
