"""What a step is given on a cluster, and what of it a run on this machine leaves out."""

import copy
import importlib
from typing import Any

import pytest
import yaml

from lakeline.data.servingspec import Serving
from pipelines.cluster import (
    LAKE,
    LAKE_SECRET,
    NEEDS,
    PIPELINES_SERVER,
    PREDICTIONS,
    PREDICTIONS_SECRET,
    REGISTRY,
    REGISTRY_SECRET,
    SERVING,
    SERVING_SECRET,
    variable,
)
from pipelines.local import PIPELINES, leave_out_pods
from pipelines.remote import compiled


@pytest.fixture(params=PIPELINES)
def documents(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """What Kubeflow Pipelines reads of a pipeline: its graph, and what is said of pods."""
    graph, platform = yaml.safe_load_all(compiled(request.param))
    return graph, platform["platforms"]["kubernetes"]


def _tasks(graph: dict[str, Any]) -> dict[str, Any]:
    dags = [graph["root"]["dag"], *(component["dag"] for component in graph["components"].values() if "dag" in component)]
    return {name: task for dag in dags for name, task in dag["tasks"].items() if "exec-" + name in graph["deploymentSpec"]["executors"]}


def test_every_step_has_settings_keys_a_limit_of_time_and_of_memory(documents: tuple[dict[str, Any], dict[str, Any]]):
    graph, platform = documents
    for name, executor in platform["deploymentSpec"]["executors"].items():
        step = name.removeprefix("exec-").rstrip("-0123456789")
        variables = {pair["envVar"] for config in executor["configMapAsEnv"] for pair in config["keyToEnv"]}
        secrets = {secret["secretName"]: {pair["envVar"] for pair in secret["keyToEnv"]} for secret in executor["secretAsEnv"]}
        needs = NEEDS[step]
        parts = [
            (True, (*LAKE, *PIPELINES_SERVER), LAKE_SECRET),
            (needs.registry, REGISTRY, REGISTRY_SECRET),
            (needs.serving, SERVING, SERVING_SECRET),
        ]
        parts = [part[1:] for part in [*parts, (needs.predictions, PREDICTIONS, PREDICTIONS_SECRET)] if part[0]]
        # Kubeflow Pipelines' plugin, and its launcher, know the variables of MLflow and of the object store otherwise.
        assert variables == {variable(name) for names, _ in parts for name in names}
        assert secrets == {secret: {variable(key) for key in keys} for _, (secret, keys) in parts}
        assert {secret["secretName"] for secret in executor["secretAsEnv"] if secret["optional"]} <= {PREDICTIONS_SECRET[0]}
        assert int(executor["activeDeadlineSeconds"]) == NEEDS[step].minutes * 60
        assert executor["securityContext"] == {"runAsNonRoot": True}
        container = graph["deploymentSpec"]["executors"][name]["container"]
        assert {"resourceMemoryLimit", "resourceMemoryRequest"} <= set(container["resources"])
        assert container["env"] == [{"name": "LAKELINE_IMAGE", "value": container["image"]}]


def test_steps_that_wait_for_servers_hold_no_processor_that_these_lack(documents: tuple[dict[str, Any], dict[str, Any]]):
    for name, executor in documents[0]["deploymentSpec"]["executors"].items():
        step = name.removeprefix("exec-").rstrip("-0123456789")
        waits = step in {"resolve", "resolve-model", "preflight", "deploy", "start-experiment", "conclude-experiment", "record"}
        assert executor["container"]["resources"]["resourceCpuRequest"] == ("10m" if waits else "250m"), step


def test_what_writes_or_reads_what_changes_is_never_taken_from_the_cache(documents: tuple[dict[str, Any], dict[str, Any]]):
    for name, task in _tasks(documents[0]).items():
        cached = task["cachingOptions"].get("enableCache", False)
        assert cached == (name.rstrip("-0123456789") in {"validate", "split", "search", "fit"}), name


def test_every_step_is_tried_again(documents: tuple[dict[str, Any], dict[str, Any]]):
    for name, task in _tasks(documents[0]).items():
        policy, limit = task["retryPolicy"], NEEDS[name.rstrip("-0123456789")].minutes * 60
        assert policy["maxRetryCount"] == 2
        assert policy["backoffMaxDuration"] == f"{3 * limit}s"  # of all tries together


@pytest.mark.parametrize(("step", "waits"), [("preflight", 1), ("deploy", 2), ("start-experiment", 6), ("conclude-experiment", 1)])
def test_step_that_waits_for_servers_outlives_the_longest_deadline(step: str, waits: int):
    """A step that is ended while it waits takes no alias back."""
    (longest,) = (bound.le for bound in Serving.model_fields["deadline"].metadata if hasattr(bound, "le"))
    assert NEEDS[step].minutes * 60 >= waits * longest + 30 * 60


@pytest.mark.parametrize("name", ["deployment", "experiment"])
def test_run_that_changes_what_serves_is_not_ended_while_it_does(name: str):
    """Every step of it may take its time, and be tried as often as it may."""
    graph, platform = yaml.safe_load_all(compiled(name))
    steps = {task.rstrip("-0123456789") for task in _tasks(graph)} - {"conclude-experiment"}  # of a run that starts no test
    longest = sum(NEEDS[step].minutes for step in steps) * 60 * 3
    assert longest <= int(platform["platforms"]["kubernetes"]["pipelineConfig"]["activeDeadlineSeconds"])


def test_run_ends_within_a_day_and_its_pods_go(documents: tuple[dict[str, Any], dict[str, Any]]):
    assert documents[1]["pipelineConfig"] == {
        "activeDeadlineSeconds": 86400,
        "resourceTtlOnCompletion": 86400,
        "resourceTtlOnSuccess": 3600,
        "resourceTtlOnFailure": 86400,
    }


@pytest.mark.parametrize("name", PIPELINES)
def test_run_on_this_machine_neither_tries_again_nor_claims_an_image(name: str):
    pipeline = copy.copy(getattr(importlib.import_module(f"pipelines.{name}"), name))
    pipeline.component_spec = copy.deepcopy(pipeline.component_spec)

    leave_out_pods(pipeline)

    left = str(pipeline.pipeline_spec)
    assert "retry_policy" not in left
    assert "LAKELINE_IMAGE" not in left
