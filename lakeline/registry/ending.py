"""How a pipeline run ended, recorded in MLflow also when a step failed."""

from __future__ import annotations

import sys
import time

from lakeline.errors import RegistryError
from lakeline.registry.peek import CannotTell, any_open
from lakeline.settings import get_settings


def record_end(dataset: str, run_id: str, pipeline: str, state: str, error: str = "") -> None:
    """Record how a pipeline run ended, on its MLflow run.

    What runs that were killed have left open in the registry is closed on the way. A run that succeeded and has no open MLflow run,
    where no other one is open either, leaves nothing to do, and MLflow is not imported. A run that failed before it had one gets a
    small one. If the registry is out of reach, standard error says so: the end of a run is not
    changed by how it is recorded.

    Parameters
    ----------
    dataset
        Name of the data set, which is its experiment.
    run_id
        Id of the pipeline run; LAKELINE_RUN_ID goes before it.
    pipeline
        Name of the pipeline.
    state
        As Kubeflow Pipelines says: SUCCEEDED, FAILED, ...
    error
        Why it failed.
    """
    run_id = get_settings().run_id or run_id
    succeeded = state.upper() in ("SUCCEEDED", "SKIPPED")
    try:
        if succeeded and not any_open(dataset):
            return
    except CannotTell:
        pass
    try:
        _record(dataset, run_id, pipeline, succeeded=succeeded, error=error)
    except RegistryError as trouble:
        print(f"lakeline: how the run ended was not recorded. {trouble}", file=sys.stderr)


def _record(dataset: str, run_id: str, pipeline: str, *, succeeded: bool, error: str) -> None:
    from lakeline.registry import runs
    from lakeline.registry.store import connect, experiment_id, speaking
    from lakeline.registry.unfinished import close_left

    client = connect()
    with speaking():
        from mlflow.entities import RunTag

        close_left(client, dataset, run_id)
        injected = runs.injected_run(client)
        if succeeded and client.get_experiment_by_name(dataset) is None and not injected:
            return
        experiment = experiment_id(client, dataset)
        found = [client.get_run(injected)] if injected else runs.find_runs(client, experiment, run_id)
        still_open = [run for run in found if run.info.status == "RUNNING"]
        if succeeded and not still_open:
            return
        said = {"dataset": dataset, "pipeline": pipeline, "ended": "succeeded" if succeeded else "failed", "error": error}
        for run in still_open or found[:1] or [runs.parent_run(client, experiment, run_id, time.time())]:
            client.log_batch(run.info.run_id, tags=[RunTag(key, runs.clip(value)) for key, value in said.items() if value])
            if not injected:
                client.set_terminated(run.info.run_id, "FINISHED" if succeeded else "FAILED")
