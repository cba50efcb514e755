"""Recurring runs on a Kubeflow Pipelines server: one for each pipeline and data set."""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeline.errors import UsageError
from pipelines.outcome import ENDED
from pipelines.remote import PREFIX, PinnedVersion, experiment, having, speaking

if TYPE_CHECKING:
    from kfp import Client

_FIELDS = 6
_FIELD = re.compile(r"[0-9A-Za-z*?/,-]+")
_NAME = re.compile(r"(?:lakeline )?(data|training|continuous|deployment|experiment)[ -](\S+)")
"""The server makes the names of a schedule's runs of the first 25 letters, digits and hyphens of its own: `continuous-NAME…`. Those that
were set by Lakeline 0.1 begin with `lakeline`, which left less for what people know a run by."""


@dataclass(frozen=True)
class Schedule:
    """A recurring run of a pipeline for a data set."""

    name: str
    pipeline: str
    dataset: str
    cron: str
    enabled: bool
    pipeline_version_id: str
    arguments: dict[str, Any]
    recurring_run_id: str


def check_cron(text: str) -> str:
    """Return the expression, one space between its fields.

    Raises
    ------
    UsageError
        If it hasn't the six fields that Kubeflow Pipelines wants: the cron of Unix has five, and would mean another time there.
    """
    fields = text.split()
    if len(fields) == _FIELDS - 1 and all(_FIELD.fullmatch(field) for field in fields):
        raise UsageError(f"--cron {text!r} has five fields; Kubeflow Pipelines wants the seconds before them: '0 {' '.join(fields)}'.")
    if len(fields) != _FIELDS or not all(_FIELD.fullmatch(field) for field in fields):
        raise UsageError(
            f"--cron {text!r} is no schedule. Give six fields: second minute hour day month weekday. '0 30 6 * * *' is daily at 06:30 UTC."
        )
    return " ".join(fields)


def listed(client: Client) -> list[Schedule]:
    """Schedules of Lakeline's pipelines, by name."""
    found: list[Schedule] = []
    token = ""
    with speaking():
        ours = client.list_pipelines(page_size=100, filter=having("name", PREFIX, "IS_SUBSTRING")).pipelines or []
    known = {pipeline.pipeline_id for pipeline in ours if pipeline.display_name.startswith(PREFIX)}
    while True:
        with speaking():
            page = client.list_recurring_runs(page_token=token, page_size=100)
        found += [_schedule(run) for run in page.recurring_runs or [] if _of_ours(run, known)]
        token = page.next_page_token
        if not token:
            return sorted(found, key=lambda schedule: (schedule.name, schedule.recurring_run_id))


def put(client: Client, version: PinnedVersion, arguments: Mapping[str, Any], cron: str) -> str:
    """Set the schedule of a pipeline for a data set; one that was set before is replaced by it.

    Parameters
    ----------
    client
        From `remote.connect`.
    version
        What it runs, from `remote.ready`. It stays with this version.
    arguments
        Parameters of the pipeline.
    cron
        Six fields, from `check_cron`.

    Returns
    -------
    str
        Id of the recurring run. No two of its runs go on at a time, and missed ones are not made up for.

    Raises
    ------
    PipelinesError
        If the server refuses it, or is out of reach: an earlier schedule then stays.
    """
    dataset = arguments["dataset"]
    before = _of(client, version.pipeline, dataset)
    with speaking():
        made = client.create_recurring_run(
            experiment_id=experiment(client, dataset),
            job_name=f"{version.pipeline}-{dataset}",
            cron_expression=cron,
            max_concurrency=1,
            no_catchup=True,
            params=dict(arguments),
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
        )
        for schedule in before:
            _retire(client, schedule)
    return str(made.recurring_run_id)


def end(client: Client, pipeline: str, dataset: str) -> int:
    """End the schedule of a pipeline for a data set; how many there were. A run that is under way goes on."""
    there = _of(client, pipeline, dataset)
    with speaking():
        for schedule in there:
            _retire(client, schedule)
    return sum(schedule.enabled for schedule in there)


def _retire(client: Client, schedule: Schedule) -> None:
    """Have a schedule start nothing more, and delete it unless one of its runs is under way, which would be killed with it."""
    client.disable_recurring_run(schedule.recurring_run_id)
    runs = client.list_runs(page_size=100, sort_by="created_at desc", experiment_id=experiment(client, schedule.dataset)).runs or []
    if all(run.recurring_run_id != schedule.recurring_run_id or run.state in ENDED for run in runs):
        client.delete_recurring_run(schedule.recurring_run_id)


def _of(client: Client, pipeline: str, dataset: str) -> list[Schedule]:
    return [known for known in listed(client) if (known.pipeline, known.dataset) == (pipeline, dataset)]


def _of_ours(run: Any, pipelines: Collection[str]) -> bool:
    reference = run.pipeline_version_reference
    return bool(_NAME.fullmatch(run.display_name or "")) and reference is not None and reference.pipeline_id in pipelines


def _schedule(run: Any) -> Schedule:
    pipeline, dataset = _NAME.fullmatch(run.display_name).groups()
    trigger = run.trigger.cron_schedule if run.trigger else None
    return Schedule(
        name=run.display_name,
        pipeline=pipeline,
        dataset=dataset,
        cron=trigger.cron if trigger else "",
        enabled=run.mode != "DISABLE" and run.status != "DISABLED",
        pipeline_version_id=run.pipeline_version_reference.pipeline_version_id if run.pipeline_version_reference else "",
        arguments=dict(run.runtime_config.parameters or {}) if run.runtime_config else {},
        recurring_run_id=run.recurring_run_id,
    )
