"""How a run on a server goes and ends, and what came out of it."""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakeline.errors import PipelinesError
from pipelines.local import Progress
from pipelines.remote import api_url, authorization, experiment, run_url, speaking

if TYPE_CHECKING:
    from kfp import Client

Ended = Literal["succeeded", "failed", "canceled"]

ENDED: dict[str, Ended] = {"SUCCEEDED": "succeeded", "SKIPPED": "succeeded", "FAILED": "failed", "CANCELED": "canceled"}
"""What the API calls a run that has ended, and what people call it."""

_INTERVAL = 2.0
_LOG_TIMEOUT = 10.0
_PREFIX = "lakeline: "

_PATIENCE = 120.0
"""Seconds for which a server that has stopped answering is asked again."""


@dataclass(frozen=True)
class Ending:
    """How a run ended: `status`, why if it failed, and how long it took."""

    run_id: str
    status: Ended
    error: str | None
    seconds: float


def wait(client: Client, run_id: str, on_progress: Callable[[Progress], None], minutes: float) -> Ending:
    """Follow a run until it has ended.

    Parameters
    ----------
    client
        From `remote.connect`.
    run_id
        Id of the run.
    on_progress
        Called as steps begin and end.
    minutes
        How long to wait at most; the run goes on after that.

    Raises
    ------
    PipelinesError
        If the run hasn't ended by then, or the server is out of reach for two minutes.
    """
    told: dict[str, str] = {}
    until = time.monotonic() + minutes * 60
    while True:
        run = _ask(client, run_id)
        for progress in _news(run, told):
            on_progress(progress)
        if run.state in ENDED:
            return _ending(run)
        if time.monotonic() > until:
            raise PipelinesError(f"run {run_id} hasn't ended after {minutes:g} minutes; it goes on. See {run_url(run_id)}")
        time.sleep(_INTERVAL)


def verdict(dataset: str, run_id: str) -> dict[str, Any] | None:
    """What the registry says of the version that a run made: its verdict, the reasons, metrics; None if it made none.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry import models

    made = next((info for info in models(dataset) if info.lineage.get("pipeline_run") == run_id), None)
    return None if made is None else made.to_dict()


@dataclass(frozen=True)
class Listed:
    """A run on the server: `seconds` is None while it goes on; `started` is in ISO 8601, UTC."""

    name: str
    status: str
    started: str
    seconds: float | None
    run_id: str
    url: str
    recurring_run_id: str | None


def recent(client: Client, dataset: str | None, limit: int) -> list[Listed]:
    """Runs on the server, newest first: of all, or of the experiment that is named as a data set."""
    with speaking():
        of = experiment(client, dataset) if dataset else None
        found = client.list_runs(page_size=limit, sort_by="created_at desc", experiment_id=of).runs or []
    return [
        Listed(
            name=run.display_name,
            status=ENDED.get(run.state, (run.state or "pending").lower()),
            started=run.created_at.isoformat(),
            seconds=(run.finished_at - run.created_at).total_seconds() if run.state in ENDED and run.finished_at else None,
            run_id=run.run_id,
            url=run_url(run.run_id),
            recurring_run_id=run.recurring_run_id,
        )
        for run in found
    ]


def _ask(client: Client, run_id: str) -> Any:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            with speaking():
                return client.get_run(run_id)
        except PipelinesError:
            if time.monotonic() > until:
                raise
            time.sleep(_INTERVAL)


_STATES: dict[str, Literal["began", "done", "failed"]] = {"RUNNING": "began", "SUCCEEDED": "done", "FAILED": "failed"}


def _news(run: Any, told: dict[str, str]) -> list[Progress]:
    """What has changed since the last look; of a step that was looked at too late to see it begin, both."""
    news: list[Progress] = []
    details = run.run_details.task_details or [] if run.run_details else []
    for task in sorted(details, key=lambda task: task.end_time or task.create_time):
        state = _STATES.get(str(task.state))
        if state is None or told.get(task.task_id) == state or not _is_step(task):
            continue
        if state != "began" and told.get(task.task_id) is None:
            news.append(Progress(task.display_name, "began"))
        told[task.task_id] = state
        news.append(Progress(task.display_name, state))
    return news


def _is_step(task: Any) -> bool:
    """Whether a task is a step of ours, and not a driver, a loop or the run itself."""
    return True


def _ending(run: Any) -> Ending:
    status = ENDED[run.state]
    seconds = (run.finished_at - run.created_at).total_seconds() if run.finished_at else 0.0
    return Ending(run.run_id, status, _error(run) if status != "succeeded" else None, seconds)


def _error(run: Any) -> str:
    """Why a run failed: the last words of its failed steps, which the API doesn't give but their logs do; or else the server's."""
    details = run.run_details.task_details or [] if run.run_details else []
    pods = dict.fromkeys(task.pod_name for task in details if task.state == "FAILED" and task.pod_name)
    said = dict.fromkeys(words for pod in pods for words in [_last_words(run.run_id, pod)] if words)
    return " ".join(said) or (run.error.message if run.error else "") or f"the run has {run.state.lower()}. See {run_url(run.run_id)}"


def _last_words(run_id: str, pod: str) -> str | None:
    """Sentence with which a step ended (see `lakeline.errors`), if its pod ran one and its log is still there."""
    import httpx

    try:
        answer = httpx.get(f"{api_url()}/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log", headers=authorization(), timeout=_LOG_TIMEOUT)
    except httpx.HTTPError:
        return None
    said = [line.removeprefix(_PREFIX) for line in answer.text.splitlines() if line.startswith(_PREFIX)] if answer.is_success else []
    return said[-1] if said else None
