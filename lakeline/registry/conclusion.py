"""The end of a version's candidacy: its verdict, the last words on its MLflow run, and the tag of its commit, which is written last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lakeline.errors import LakeConflict, LakeNotFound
from lakeline.registry.records import record
from lakeline.training.plan import MODEL_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

VERDICT = "verdict"
"""Tag of a version: what became of its candidacy."""

REASONS = "verdict_reasons"
"""Tag of a version: a JSON list of sentences."""


def is_finished(candidate: ModelVersion, lake_tags: Mapping[str, str]) -> bool:
    """Whether all has been written that is to be written of a candidate.

    Parameters
    ----------
    candidate
        The version.
    lake_tags
        Tags of the lake that it learned from, and their commits.
    """
    return any(lake_tags.get(name) == candidate.tags["data_commit"] for name in _names(candidate))


def record_verdict(client: MlflowClient, candidate: ModelVersion, verdict: str, reasons: Sequence[str]) -> None:
    """Record a verdict on the run and then on the version."""
    from mlflow.entities import RunTag

    from lakeline.registry.runs import clip

    said = {REASONS: json.dumps([clip(reason, 1000) for reason in reasons], ensure_ascii=False), VERDICT: verdict}
    client.log_batch(str(candidate.run_id), tags=[RunTag(key, clip(value)) for key, value in said.items()])
    for key, value in said.items():
        client.set_model_version_tag(candidate.name, str(candidate.version), key, value)


def withdraw_verdict(client: MlflowClient, candidate: ModelVersion) -> None:
    """Take a verdict back that could not be carried out."""
    for key in (VERDICT, REASONS):
        client.delete_model_version_tag(candidate.name, str(candidate.version), key)
        client.delete_tag(str(candidate.run_id), key)


def record_replaced(client: MlflowClient, candidate: ModelVersion, replaced: int | None, why: str, *, again: bool = True) -> None:
    """Record on the version whose place a candidate took that it was replaced; unless `again`, only where it doesn't say so yet."""
    from lakeline.registry.versions import all_versions

    version = int(candidate.version)
    there = next((each for each in all_versions(client, candidate.name) if int(each.version) == replaced), None)
    if there is not None and replaced != version and (again or there.tags.get("replaced_by") != str(version)):
        record(client, candidate.name, int(there.version), "replaced", by=version, why=why)


def finish(client: MlflowClient, candidate: ModelVersion) -> None:
    """End a judged candidate's run (Kubeflow Pipelines' plugin ends its own), then tag its commit in the lake: that is the last of it."""
    from lakeline.registry.runs import injected_run

    run = str(candidate.run_id)
    if run != injected_run(client) and client.get_run(run).info.status != "FINISHED":
        client.set_terminated(run, "FINISHED")
    _tag_commit(candidate)


def _names(candidate: ModelVersion) -> tuple[str, str]:
    """Names of the commit's tag: the second one where a registry that is gone has used the number already."""
    first = f"{MODEL_TAG}{candidate.version}"
    return first, f"{first}.{str(candidate.run_id)[:8]}"


def _tag_commit(candidate: ModelVersion) -> None:
    from lakeline.lake import open_lake

    lake, commit = open_lake(candidate.name), candidate.tags["data_commit"]
    first, other = _names(candidate)
    try:
        lake.tag(first, commit)
    except LakeConflict:
        lake.tag(other, commit)
    except LakeNotFound:  # a registry that has seen another lake
        return
