"""The pod of a server: files fetched by one container that knows MLflow's password, served by another that doesn't."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakeline.serving.environment import environment
from lakeline.serving.rollout import names
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakeline.data.servingspec import Serving
    from lakeline.serving.release import Release
    from lakeline.serving.rollout.api import Object

ACCOUNT = "model-server"
CONFIG = "lakeline"
MLFLOW_SECRET, TOKEN_SECRET, PREDICTIONS_SECRET = "serving-mlflow", "lakeline-serving", "lakeline-predictions"

FETCH, SERVE = "fetch", "server"
"""Names of the two containers."""

_PREDICTIONS = "LAKELINE_SERVE_PREDICTIONS"
_FOLDER = "/model"
_LEAVING = 5
"""Seconds until every node and gateway has taken a pod that ends out of its list."""
_GRACE = 60
"""Seconds after which a pod that ends is killed; what is under way and the prediction log are done well before."""


@dataclass(frozen=True)
class Where:
    """What the settings say of the place: image of servers, and where they log predictions."""

    image: str
    predictions: str

    @classmethod
    def of_settings(cls) -> Where:
        """Read it."""
        settings = get_settings()
        return cls(settings.serving_image, settings.predictions or "")

    @classmethod
    def of_pod(cls, pod: Object) -> Where:
        """Read what a pod was made with."""
        (server,) = [each for each in pod["spec"]["containers"] if each["name"] == SERVE]
        told = {each["name"]: each.get("value", "") for each in server["env"]}
        return cls(server["image"], told.get(_PREDICTIONS, ""))


def template(release: Release, serving: Serving, where: Where) -> Object:
    """Pod template of a release: metadata and spec, with a label that no other template has."""
    spec = server(release, serving, where)
    labels = names.labels(release.model, release.variant) | {names.VERSION: str(release.version)}
    annotations = {"lakeline.dev/digest": release.digest, "lakeline.dev/data-commit": release.data_commit}
    made = hashlib.sha256(json.dumps([labels, annotations, spec], sort_keys=True).encode()).hexdigest()[:12]
    return {"metadata": {"labels": labels | {names.ROLLOUT: made}, "annotations": annotations}, "spec": spec}


def server(release: Release, serving: Serving, where: Where) -> Object:
    """Spec of a pod that serves a release: any user but root, nothing to write but its volumes, no token of the API server."""
    # Not which run released it: the same version, released again, is the same pod.
    told = [{"name": name, "value": value} for name, value in sorted(environment(replace(release, run=""), _FOLDER).items())]
    common = {
        "image": where.image,
        "resources": {"requests": {"cpu": serving.cpu, "memory": serving.memory}, "limits": {"memory": serving.memory}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    fetch = common | {
        "name": FETCH,
        "command": ["python", "-m", "lakeline.serving.fetch"],
        "env": [
            *told,
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 (an empty volume of the pod's own)
            _of_config("MLFLOW_TRACKING_URI"),
            *(_of_secret(MLFLOW_SECRET, key) for key in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")),
        ],
        "volumeMounts": [{"name": "model", "mountPath": _FOLDER}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    serve = common | {
        "name": SERVE,
        "command": ["python", "-m", "lakeline.serving.server"],
        "env": [
            *told,
            {"name": "HOME", "value": "/tmp"},  # noqa: S108
            {"name": "LAKELINE_SERVE_HOST", "value": "0.0.0.0"},  # noqa: S104 (its policy says who reaches it)
            {"name": "LAKELINE_SERVE_PORT", "value": str(names.PORT)},
            {"name": "LAKELINE_SERVE_AUTH", "value": "token"},
            {"name": _PREDICTIONS, "value": where.predictions},
            {"name": "LAKELINE_SERVE_TOKEN", **_of_secret(TOKEN_SECRET, "LAKELINE_SERVING_TOKEN", rename=True)},
            _of_config("AWS_ENDPOINT_URL", optional=True),
        ],
        # Keys of the predictions' bucket; none where the cloud knows the pod by its account.
        "envFrom": [{"secretRef": {"name": PREDICTIONS_SECRET, "optional": True}}],
        "ports": [{"name": "http", "containerPort": names.PORT}],
        "startupProbe": _probe("/readyz", every=1, fails=serving.deadline),
        "readinessProbe": _probe("/readyz", every=2, fails=2),
        "livenessProbe": _probe("/livez", every=10, fails=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": _LEAVING}}},
        "volumeMounts": [{"name": "model", "mountPath": _FOLDER, "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [fetch],
        "containers": [serve],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": names.selector(release.model, release.variant)},
                "matchLabelKeys": ["pod-template-hash"],
            }
        ],
        "volumes": [{"name": "model", "emptyDir": {"sizeLimit": "2Gi"}}, {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}],
    }


def _probe(path: str, every: int, fails: int) -> Object:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": every, "timeoutSeconds": 5, "failureThreshold": fails}


def _of_config(key: str, *, optional: bool = False) -> Object:
    return {"name": key, "valueFrom": {"configMapKeyRef": {"name": CONFIG, "key": key} | ({"optional": True} if optional else {})}}


def _of_secret(secret: str, key: str, *, rename: bool = False) -> Object:
    return ({} if rename else {"name": key}) | {"valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
