"""How a run on a server goes and ends, and what came out of it."""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakeline.errors import PipelinesError
from pipelines.cluster import NEEDS
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

    made = next((info for info in models(dataset) if run_id in info.runs), None)
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


_ATTEMPTS = "executor"
"""What Kubeflow Pipelines calls the node whose children are the attempts at a step."""
_NUMBER = re.compile(r"-\d+$")
_STATES: dict[str, Literal["began", "done", "failed"]] = {"RUNNING": "began", "SUCCEEDED": "done", "FAILED": "failed"}


def _news(run: Any, told: dict[str, str]) -> list[Progress]:
    """What has changed since the last look; of a step that was looked at too late to see it begin, both."""
    news: list[Progress] = []
    for task in sorted(_tasks(run), key=lambda task: task.end_time or task.create_time):
        state, step = _STATES.get(str(task.state)), _NUMBER.sub("", task.display_name or "")
        if step not in NEEDS or state is None or told.get(task.task_id) == state:
            continue
        if state != "began" and told.get(task.task_id) is None:
            news.append(Progress(step, "began"))
        told[task.task_id] = state
        news.append(Progress(step, state))
    return news


def _tasks(run: Any) -> list[Any]:
    """Nodes of the run's workflow: our steps by their names, and besides them drivers, conditions, loops, and each attempt at one."""
    return (run.run_details.task_details or []) if run.run_details else []


def _ending(run: Any) -> Ending:
    status = ENDED[run.state]
    seconds = (run.finished_at - run.created_at).total_seconds() if run.finished_at else 0.0
    return Ending(status, _error(run) if status != "succeeded" else None, seconds)


def _error(run: Any) -> str:
    """Why a run failed: the last words of its failed steps, which the API doesn't give but their logs do; or else the server's."""
    attempts = [task.child_tasks for task in _tasks(run) if task.state == "FAILED" and task.display_name == _ATTEMPTS and task.child_tasks]
    said = dict.fromkeys(words for each in attempts for words in [_last_words(run.run_id, each[-1].pod_name)] if words)
    return " ".join(said) or (run.error.message if run.error else "") or f"the run has {run.state.lower()}. See {run_url(run.run_id)}"


def _last_words(run_id: str, node: str) -> str | None:
    """Sentence with which a step ended (see `lakeline.errors`), if the pod of the node ran one and its log is still there."""
    import httpx

    try:
        answer = httpx.get(f"{api_url()}/apis/v1alpha1/runs/{run_id}/nodes/{node}/log", headers=authorization(), timeout=_LOG_TIMEOUT)
    except httpx.HTTPError:
        return None
    said = [line.removeprefix(_PREFIX) for line in answer.text.splitlines() if line.startswith(_PREFIX)] if answer.is_success else []
    return said[-1] if said else None
