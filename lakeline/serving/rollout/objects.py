"""The objects that a release is served by, but for its pods: Deployment, Services, budget, autoscaler, policy, route."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lakeline.serving.release import Release, Route
from lakeline.serving.rollout import names, pod

if TYPE_CHECKING:
    from lakeline.data.servingspec import Serving
    from lakeline.serving.release import Variant
    from lakeline.serving.rollout.api import Object
    from lakeline.serving.rollout.traffic import Shares

_PREFIX = "lakeline.dev/"
_KEPT = 3
_BUSY = 70
"""Percent of the processor that servers ask for, above which there will be more of them."""


def deployment(release: Release, serving: Serving, where: pod.Where, previous: str, dispensable: int = 0) -> Object:
    """Deployment of a release. The number of its pods is the autoscaler's to say.

    Parameters
    ----------
    previous
        Version that served before this one; empty if none did.
    dispensable
        Pods of other templates that needn't be kept until there are new ones in their place.
    """
    return _object("apps/v1", "Deployment", names.own(release.model, release.variant), release.model, release.variant) | {
        "metadata": {
            "name": names.own(release.model, release.variant),
            "labels": names.labels(release.model, release.variant) | {names.VERSION: str(release.version)},
            "annotations": _told(release, serving, previous),
        },
        "spec": {
            "selector": {"matchLabels": names.selector(release.model, release.variant)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": dispensable, "maxSurge": "25%"}},
            "progressDeadlineSeconds": serving.deadline,
            "revisionHistoryLimit": _KEPT,
            "template": pod.template(release, serving, where),
        },
    }


def _told(release: Release, serving: Serving, previous: str) -> dict[str, str]:
    annotations = {
        "model": release.model,
        "version": str(release.version),
        "digest": release.digest,
        "data-commit": release.data_commit,
        "run": release.run,
        "actor": release.actor,
        "previous": previous,
        "replicas": str(serving.replicas),
        "maximum-replicas": str(serving.maximum_replicas),
        "route": json.dumps(asdict(release.route)) if release.route else "",
    }
    return {_PREFIX + name: value for name, value in annotations.items()}


def release_of(item: Object) -> Release:
    """What a Deployment of ours serves."""
    variant: Variant = "challenger" if item["metadata"]["labels"][names.VARIANT] == "challenger" else "production"
    route = told(item, "route")
    return Release(
        model=told(item, "model"),
        version=int(told(item, "version")),
        digest=told(item, "digest"),
        variant=variant,
        data_commit=told(item, "data-commit"),
        run=told(item, "run"),
        actor=told(item, "actor"),
        route=Route(**json.loads(route)) if route else None,
    )


def told(item: Object, name: str) -> str:
    """An annotation of ours; empty if it isn't there."""
    return item["metadata"].get("annotations", {}).get(_PREFIX + name, "")


def rollout_of(deployment: Object) -> str:
    """Label that the pods of a Deployment's template have, and those of no other."""
    return deployment["spec"]["template"]["metadata"]["labels"].get(names.ROLLOUT, "")


def holds(found: Any, wanted: Any) -> bool:
    """Whether something is there, and says all that is wanted; what others say of it, and what Kubernetes fills in, may be there too."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and holds(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return found == wanted


def service(model: str, variant: Variant | None, chosen: dict[str, str], weight: float | None = None) -> Object:
    """Service of a model (None) or of a variant, before the pods with the chosen labels; a model's says how traffic is shared."""
    name = names.own(model, variant) if variant else names.base(model)
    made = _object("v1", "Service", name, model, variant)
    if weight is not None:
        made["metadata"]["annotations"] = {f"{_PREFIX}weight": repr(weight)}
    ports = [{"name": "http", "port": names.PORT, "targetPort": "http", "appProtocol": "http"}]
    return made | {"spec": {"selector": chosen, "ports": ports}}


def weight_of(item: Object | None) -> float | None:
    """Fraction of requests that the challenger is to have, as the Service of a model says."""
    said = told(item, "weight") if item else ""
    return float(said) if said else None


def budget(model: str, variant: Variant) -> Object:
    """Nodes are drained one server of a variant at a time."""
    made = _object("policy/v1", "PodDisruptionBudget", names.own(model, variant), model, variant)
    return made | {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": names.selector(model, variant)}}}


def autoscaler(model: str, variant: Variant, least: int, most: int) -> Object:
    """Between so many servers of a variant, by how busy they are."""
    made = _object("autoscaling/v2", "HorizontalPodAutoscaler", names.own(model, variant), model, variant)
    busy = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": _BUSY}}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.own(model, variant)}
    return made | {"spec": {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most, "metrics": [busy]}}


def policy(model: str, steps: str, gateway: str) -> Object:
    """Who reaches the servers of a model: its other servers, steps, the gateway's proxies, and namespaces with the label of callers.

    Parameters
    ----------
    steps
        Namespace of steps.
    gateway
        Namespace of the gateway; empty if there is none.
    """
    pods: dict[str, Any] = {"podSelector": {"matchLabels": names.selector(model)}}
    spaces = [{"matchLabels": {"kubernetes.io/metadata.name": name}} for name in (steps, gateway) if name]
    spaces.append({"matchLabels": {"lakeline.dev/calls": "models"}})
    if gateway:  # whose proxies may run in its controller's namespace
        spaces.append({"matchLabels": {"lakeline.dev/gateway": "true"}})
    door = [{"port": names.PORT, "protocol": "TCP"}]
    # Not the model's name alone: the namespace has policies of its own, and a data set may be called `dns`.
    return _object("networking.k8s.io/v1", "NetworkPolicy", f"{names.base(model)}-servers", model, None) | {
        "spec": {
            **pods,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [pods, *({"namespaceSelector": space} for space in spaces)], "ports": door}],
            "egress": [{"to": [pods], "ports": door}],
        }
    }


def route(model: str, gateway: str, shares: Shares) -> Object:
    """Way from a gateway to a model's variants: what comes for /<model>/ is theirs, at /.

    Parameters
    ----------
    gateway
        Namespace and name, with a slash between.
    shares
        Requests of a thousand that each variant answers.
    """
    namespace, _, name = gateway.partition("/")
    backends = [{"name": names.own(model, variant), "port": names.PORT, "weight": weight} for variant, weight in shares.items()]
    rewrite = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": f"/{names.base(model)}"}}],
        "filters": [rewrite],
        "backendRefs": backends,
    }
    made = _object("gateway.networking.k8s.io/v1", "HTTPRoute", names.base(model), model, None)
    return made | {"spec": {"parentRefs": [{"namespace": namespace, "name": name}], "rules": [rule]}}


def _object(version: str, kind: str, name: str, model: str, variant: Variant | None) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": names.labels(model, variant)}}
