"""How a pipeline run ended, recorded in MLflow also when a step failed."""

from __future__ import annotations

import sys
import time

from lakeline.errors import RegistryError
from lakeline.registry.peek import CannotTell, run_status
from lakeline.settings import get_settings


def record_end(dataset: str, run_id: str, pipeline: str, state: str, error: str = "") -> None:
    """Record how a pipeline run ended, on its MLflow run.

    A run that succeeded and has no open MLflow run leaves nothing to do, and MLflow is not imported. A run that failed
    before it had one gets a small one. If the registry is out of reach, standard error says so: the end of a run is not
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
        status = run_status(dataset, run_id)
        if succeeded and status != "RUNNING":
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

    client = connect()
    with speaking():
        from mlflow.entities import RunTag

        injected = runs.injected_run(client)
        experiment = experiment_id(client, dataset)
        found = client.get_run(injected) if injected else runs.find_run(client, experiment, run_id)
        if succeeded and (found is None or found.info.status != "RUNNING"):
            return
        run = found or runs.parent_run(client, experiment, run_id, time.time())
        said = {"dataset": dataset, "pipeline": pipeline, "ended": "succeeded" if succeeded else "failed", "error": error}
        client.log_batch(run.info.run_id, tags=[RunTag(key, runs.clip(value)) for key, value in said.items() if value])
        if not injected:
            client.set_terminated(run.info.run_id, "FINISHED" if succeeded else "FAILED")
