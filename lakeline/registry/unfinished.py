"""What killed runs leave unfinished in the registry: versions without an end to their candidacy, MLflow runs that are open still."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from lakeline.errors import LakeNotFound
from lakeline.liveness import under_way
from lakeline.registry.conclusion import REASONS, VERDICT, finish, is_finished, record_replaced, record_verdict
from lakeline.registry.moves import PREVIOUS, move_alias, recorded, was_moved, way_back
from lakeline.registry.peek import PRODUCTION
from lakeline.registry.runs import PARENT, clip, injected_run, run_of
from lakeline.registry.versions import BEGUN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

ABANDONED = "abandoned"
"""Verdict on a version whose run was killed before it was judged, or before it came to be what it was judged to be."""

_LONGEST = 24 * 60 * 60
"""Seconds after which a run that nobody knows of isn't alive: Kubeflow Pipelines ends each within a day (`pipelines.cluster`)."""


def take_over(client: MlflowClient, version: ModelVersion, run_id: str) -> None:
    """Make a version, and its MLflow run, those of another pipeline run, which goes on with it.

    Parameters
    ----------
    client
        From `connect`.
    version
        One that is unfinished; if it is the run's own, nothing is done.
    run_id
        Id of the pipeline run that goes on.
    """
    before = version.tags["pipeline_run"]
    if before == run_id:
        return
    run, begun = str(version.run_id), ",".join(filter(None, (version.tags.get(BEGUN), before)))
    for key, value in {BEGUN: begun, "pipeline_run": run_id}.items():
        client.set_model_version_tag(version.name, str(version.version), key, clip(value))
    found = client.get_run(run)
    if found.info.lifecycle_stage == "deleted":
        client.restore_run(run)
    for key in ("ended", "error"):
        if key in found.data.tags:
            client.delete_tag(run, key)
    client.set_tag(run, BEGUN, clip(begun))
    client.set_tag(run, "model_version", version.version)
    client.update_run(run, "RUNNING")
    client.set_tag(run, "pipeline_run", run_id)
    injected = injected_run(client)
    if injected:
        client.set_tag(injected, "model_version", version.version)


def close_left(client: MlflowClient, dataset: str, own: str) -> None:
    """Close what runs have left that are not there any more; what a run works on is left alone.

    A version that one of them had put into production gets the rest of its records; another one gets the verdict `abandoned`, until
    a run of the same commit takes it over. MLflow runs that are open become `KILLED`.

    Parameters
    ----------
    client
        From `connect`.
    dataset
        Name of the data set, which is that of its experiment and its model.
    own
        Id of the pipeline run that closes.
    """
    left = [version for version in _unfinished(client, dataset) if version.tags["pipeline_run"] != own]
    dead = [version for version in left if not is_alive(version.tags["pipeline_run"], version.creation_timestamp / 1000)]
    for version in dead:
        _close_version(client, version)
    if dead and len(dead) == len(left):
        _mend_way_back(client, dataset)
    _close_runs(client, dataset, own)


def is_alive(run_id: str, started: float) -> bool:
    """Whether a pipeline run may still be at work.

    Parameters
    ----------
    run_id
        Its id.
    started
        When it began, in seconds since 1970: where nobody knows more of it, it is alive until it is too old. If it is taken for dead
        and isn't, its own last writes put that right.
    """
    known = under_way(run_id)
    return time.time() - started < _LONGEST if known is None else known


def _unfinished(client: MlflowClient, dataset: str) -> Iterator[ModelVersion]:
    from lakeline.lake import open_lake
    from lakeline.registry.versions import all_versions

    try:
        lake_tags = open_lake(dataset).tags()
    except LakeNotFound:
        return
    for version in all_versions(client, dataset):
        ours = "pipeline_run" in version.tags and "data_commit" in version.tags
        if ours and version.tags.get(VERDICT) != ABANDONED and not is_finished(version, lake_tags):
            run = run_of(client, version)
            if run is not None and run.info.lifecycle_stage == "active":
                yield version


def _close_version(client: MlflowClient, version: ModelVersion) -> None:
    said, run_id = version.tags.get(VERDICT), version.tags["pipeline_run"]
    if was_moved(client, version.name, int(version.version)):
        over = version.tags.get("promoted_over", "")
        why = (
            " ".join(json.loads(version.tags[REASONS])) if REASONS in version.tags else version.tags.get("promoted_why", "it was put there")
        )
        if said != "promoted":
            record_verdict(client, version, "promoted", [why])
        record_replaced(client, version, int(over) if over.isdecimal() else None, why, again=False)
        finish(client, version)
    elif said == "held":
        finish(client, version)
    else:
        until = "before the gates had judged it" if said is None else "before the alias had moved"
        why = f"run {run_id} was killed {until}. The next run of the same commit goes on with it."
        record_verdict(client, version, ABANDONED, [why])
        _kill(client, str(version.run_id), why)


def _mend_way_back(client: MlflowClient, dataset: str) -> None:
    """Bring `previous` back to where it was, if it was moved ahead of a promotion that never came."""
    found = recorded(dataset)
    aliases: Mapping[str, str] = found[0].aliases if found else {}
    if found is None or PRODUCTION not in aliases or aliases.get(PREVIOUS) != aliases[PRODUCTION]:
        return
    production = int(aliases[PRODUCTION])
    back = way_back(found[2], production)
    move_alias(client, dataset, PREVIOUS, None if back == production else back, "nothing took its place", expect=production)


def _close_runs(client: MlflowClient, dataset: str, own: str) -> None:
    from lakeline.registry.versions import pages

    experiment = client.get_experiment_by_name(dataset)
    if experiment is None:
        return

    def search(filter_string: str | None, max_results: int, page_token: str | None):  # noqa: ANN202 (MLflow's page)
        return client.search_runs([experiment.experiment_id], filter_string or "", max_results=max_results, page_token=page_token)

    open_runs = list(pages(search, "attributes.status = 'RUNNING'"))
    alive = {run.info.run_id for run in open_runs if PARENT not in run.data.tags and not _is_dead(run, own)}
    for run in open_runs:
        parent = run.data.tags.get(PARENT)
        dead = _is_dead(run, own) if parent is None else "trial" in run.data.tags and parent not in alive
        if dead:
            _kill(client, run.info.run_id, "the run was killed")
    for model in client.search_logged_models([experiment.experiment_id], "status = 'PENDING'"):
        if model.source_run_id not in alive:
            client.finalize_logged_model(model.model_id, "FAILED")


def _is_dead(run: Run, own: str) -> bool:
    """Whether a run is of a pipeline run, which isn't this one, and is not there any more."""
    run_id = run.data.tags.get("pipeline_run")
    return run_id not in (None, own) and not is_alive(run_id, run.info.start_time / 1000)


def _kill(client: MlflowClient, run: str, why: str) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run, tags=[RunTag("ended", "killed"), RunTag("error", clip(why))])
    if run != injected_run(client):
        client.set_terminated(run, "KILLED")
