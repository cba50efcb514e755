"""MLflow runs: one for a pipeline run, and one nested in it for each trial."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lakeline.errors import RegistryError
from lakeline.lineage import code_version, person

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run
    from mlflow.entities.model_registry import ModelVersion

    from lakeline.training.search import TrialResult

PARENT = "mlflow.parentRunId"


def injected_run(client: MlflowClient) -> str | None:
    """Id of the MLflow run that Kubeflow Pipelines' plugin made for this pipeline run, if the environment says so.

    MLFLOW_RUN_ID names the run of this step, which is nested in that of the pipeline run, perhaps through a loop or a condition.

    Raises
    ------
    RegistryError
        If MLflow has no such run.
    """
    from mlflow.exceptions import MlflowException

    run_id = os.environ.get("MLFLOW_RUN_ID")
    while run_id:
        try:
            outer = client.get_run(run_id).data.tags.get(PARENT)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            raise RegistryError(
                f"MLFLOW_RUN_ID is {os.environ['MLFLOW_RUN_ID']}, and MLflow has no run {run_id}: the variable is left from something "
                "else, or names a run of another server. Unset it, and run the same command again."
            ) from None
        if not outer:
            return run_id
        run_id = outer
    return None


def parent_run(client: MlflowClient, experiment: str, run_id: str, started: float) -> Run:
    """MLflow run of a pipeline run: the plugin's, or the one made before, or a new one.

    Parameters
    ----------
    client
        From `connect`.
    experiment
        Id of the experiment to look in. The plugin's run may be in another one.
    run_id
        Id of the pipeline run, which the MLflow run has as tag `pipeline_run`.
    started
        When the pipeline run began, in seconds since 1970.
    """
    injected = injected_run(client)
    if injected:
        client.set_tag(injected, "pipeline_run", run_id)
        return client.get_run(injected)
    found = find_runs(client, experiment, run_id)
    if found:
        return found[0]
    return client.create_run(experiment, int(started * 1000), _tags() | {"pipeline_run": run_id}, run_id)


def find_runs(client: MlflowClient, experiment: str, run_id: str) -> list[Run]:
    """MLflow runs that a pipeline run has in an experiment: one, or more where a server's answer that it had made one was lost."""
    return list(client.search_runs([experiment], f"tags.pipeline_run = '{run_id}'", order_by=["attributes.start_time ASC"]))


def run_of(client: MlflowClient, version: ModelVersion) -> Run | None:
    """MLflow run of a version, which may be in the trash; None if it is gone."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(str(version.run_id))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def log_trials(client: MlflowClient, parent: Run, results: Iterable[TrialResult]) -> None:
    """Log each trial as a run nested in its parent, with the times that it really had; those logged before are left alone."""
    from mlflow.entities import RunTag

    experiment, parent_id = parent.info.experiment_id, parent.info.run_id
    nested = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent_id}'", max_results=1000)
    done = {run.data.tags.get("trial") for run in nested if run.info.status != "RUNNING"}
    for result in results:
        if str(result.number) in done:
            continue
        began, ended = int(result.started * 1000), int((result.started + result.seconds) * 1000)
        tags = _tags() | {PARENT: parent_id, "trial": str(result.number), "estimator": result.estimator}
        run = client.create_run(experiment, began, tags, f"trial {result.number}: {result.estimator}")
        said = {"error": result.error, "note": result.note}
        client.log_batch(
            run.info.run_id,
            metrics=metrics(result.metrics | {"seconds": result.seconds}, ended),
            params=params({"estimator": result.estimator, **result.parameters}),
            tags=[RunTag(name, clip(text)) for name, text in said.items() if text],
        )
        client.set_terminated(run.info.run_id, "FAILED" if result.error else "FINISHED", ended)


def metrics(values: Mapping[str, float], time: int, model_id: str | None = None) -> Sequence[Metric]:
    """MLflow's form of metrics, at a time in milliseconds since 1970, of a run and, if given, of a model."""
    from mlflow.entities import Metric

    return [Metric(name, value, time, 0, model_id=model_id) for name, value in values.items()]


def params(values: Mapping[str, Any]) -> Sequence[Param]:
    """MLflow's form of parameters."""
    from mlflow.entities import Param

    return [Param(name, clip(str(value))) for name, value in values.items()]


def clip(text: str, most: int = 5000) -> str:
    """Text that fits into a tag."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _tags() -> dict[str, str]:
    return {
        "mlflow.user": person(),
        "mlflow.source.name": "lakeline",
        "mlflow.source.type": "JOB",
        "mlflow.source.git.commit": code_version(),
    }
