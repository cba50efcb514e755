"""What a step needs on a cluster: settings and secrets, memory and time, second tries, and whether the cache may answer for it.

On this machine kfp's local runner takes no notice of it, but for second tries and the image's name, which `pipelines.local` leaves out.
"""

# pyright: basic, reportAttributeAccessIssue=false

from __future__ import annotations

import os
from dataclasses import dataclass

from kfp import dsl, kubernetes

from components.image import STEPS_IMAGE

CONFIG_MAP = "lakeline"
"""Name of the ConfigMap that says where the lake and the registry are."""

LAKE = ("LAKELINE_LAKE", "LAKELINE_LAKEFS_STORAGE", "LAKECTL_SERVER_ENDPOINT_URL")
PIPELINES_SERVER = ("KF_PIPELINES_ENDPOINT",)
LAKE_SECRET = ("lakeline-lakefs", ("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"))
REGISTRY = ("MLFLOW_TRACKING_URI",)
REGISTRY_SECRET = ("lakeline-mlflow", ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"))
SERVING = ("LAKELINE_SERVING", "LAKELINE_SERVING_NAMESPACE", "LAKELINE_SERVING_IMAGE", "LAKELINE_SERVING_GATEWAY")
SERVING_SECRET = ("lakeline-serving", ("LAKELINE_SERVING_TOKEN",))
PREDICTIONS = ("LAKELINE_PREDICTIONS", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
PREDICTIONS_SECRET = ("lakeline-predictions", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))

_RETRIES = 2
_HOUR, _DAY = 60 * 60, 24 * 60 * 60


@dataclass(frozen=True)
class Needs:
    """What one step needs. A step that writes somewhere, or reads what changes, is never taken from the cache."""

    memory: str = "512Mi"
    minutes: int = 30
    registry: bool = False
    cached: bool = False
    serving: bool = False
    predictions: bool = False
    waits: bool = False
    """Whether it does little but wait for others: it asks for next to no processor, lest it holds what those lack."""


# Memory is asked for by what a step holds at once: rows of a delivery, rows that a model learns from, or reports.
NEEDS = {
    "ingest": Needs("1Gi", 60),
    "validate": Needs("1Gi", cached=True),
    "transform": Needs("1Gi"),
    "publish": Needs(),
    "resolve": Needs(minutes=10, waits=True),
    "split": Needs("1Gi", cached=True),
    "search": Needs("1Gi", 120, cached=True),
    "fit": Needs("1Gi", 120, cached=True),
    "evaluate": Needs("1Gi", registry=True),
    "register": Needs(registry=True),
    "promote": Needs(registry=True),
    "resolve-model": Needs(minutes=10, registry=True, serving=True, waits=True),
    # What comes to serve does so within `serving.deadline` of its spec, which is an hour at most; half an hour is for tries and records.
    "preflight": Needs(minutes=90, registry=True, serving=True, waits=True),  # a trial
    "deploy": Needs(minutes=150, registry=True, serving=True, waits=True),  # a rollout, and perhaps the way back
    "assess-experiment": Needs("1Gi", registry=True, predictions=True),
    "start-experiment": Needs(minutes=390, registry=True, serving=True, waits=True),  # a trial, two waits a variant, the way back
    "conclude-experiment": Needs(minutes=90, registry=True, serving=True, waits=True),  # a rollout
    "record": Needs(minutes=10, registry=True, waits=True),
}
LIMIT = "4Gi"
"""Most that a step may use, unless LAKELINE_STEPS_MEMORY says otherwise where a pipeline is compiled."""


def on_cluster(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Give a task what its step needs on a cluster.

    A second try is made of a step that failed or whose pod was lost: every step may be run twice.

    Parameters
    ----------
    task
        A task of a pipeline, whose component is in `NEEDS`.

    Returns
    -------
    dsl.PipelineTask
        The same.
    """
    needs = NEEDS[task.component_spec.name]
    task.set_caching_options(needs.cached)
    task.set_cpu_request("10m" if needs.waits else "250m").set_memory_request(needs.memory).set_memory_limit(
        os.environ.get("LAKELINE_STEPS_MEMORY", LIMIT)
    )
    # The longest duration is that of all tries together, and Argo ends one that is under way then.
    task.set_retry(
        num_retries=_RETRIES, backoff_duration="5s", backoff_factor=2, backoff_max_duration=f"{needs.minutes * (_RETRIES + 1) * 60}s"
    )
    kubernetes.set_timeout(task, needs.minutes * 60)
    kubernetes.set_security_context(task, run_as_non_root=True)
    _settings(task, (*LAKE, *PIPELINES_SERVER), *LAKE_SECRET)
    if needs.registry:
        _settings(task, REGISTRY, *REGISTRY_SECRET)
    if needs.serving:
        _settings(task, SERVING, *SERVING_SECRET)
    if needs.predictions:
        _settings(task, PREDICTIONS, *PREDICTIONS_SECRET, optional=True)  # no keys where the cloud knows the pod by its account
    return task.set_env_variable("LAKELINE_IMAGE", STEPS_IMAGE)  # a model's lineage has the image that it was made in


def config() -> dsl.PipelineConfig:
    """What a whole run needs: it ends within a day; its pods go an hour later, or a day if it failed. Its record and its logs stay."""
    return dsl.PipelineConfig(
        ttl_seconds_after_finished=_DAY,
        ttl_seconds_after_success=_HOUR,
        ttl_seconds_after_failure=_DAY,
        active_deadline_seconds=_DAY,
    )


def _settings(task: dsl.PipelineTask, names: tuple[str, ...], secret: str, keys: tuple[str, ...], *, optional: bool = False) -> None:
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {name: variable(name) for name in names})
    kubernetes.use_secret_as_env(task, secret, {key: variable(key) for key in keys}, optional=optional)


def variable(key: str) -> str:
    """Variable of a pod that has a key's value.

    Those of MLflow get names of our own: Kubeflow Pipelines' MLflow plugin may set the others, and of two kinds of value for one
    variable Argo makes a pod that Kubernetes refuses. Those of the object store too: Kubeflow's launcher, which speaks to a store of
    its own, runs with the same environment.
    """
    return f"LAKELINE_{key}" if key.startswith(("MLFLOW_", "AWS_")) else key
