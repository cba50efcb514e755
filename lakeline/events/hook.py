"""The webhook by which lakeFS says that main has a new commit: its definition, and the event as it would say it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lakeline.errors import UsageError
from lakeline.events.deliveries import HOOK_PATH
from lakeline.lake import open_lake
from lakeline.lake.base import MAIN
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

    from lakeline.lake import Commit, CommitId, Lake

ACTION, HOOK = "lakeline", "tell"
MERGE = "/merge"
"""Where the event source takes commits on main, on LAKELINE_EVENTS_URL."""

_DEFINITION = """\
# Written by `lakeline lake init`: tells the cluster's event source of each commit on main.
name: {action}
description: A commit on main is an event; whether it is a delivery to train from is decided there
on:
  post-merge:
    branches: [{main}]
  post-commit:
    branches: [{main}]
hooks:
  - id: {hook}
    type: webhook
    properties:
      url: {url}
      timeout: 10s # lakeFS doesn't try again: what isn't taken by then, the catch-up finds
      headers:
        Authorization: "Bearer {{{{ ENV.LAKEFSACTION_TRIGGER_TOKEN }}}}"
"""


def files(url: str) -> dict[str, Path | bytes]:
    """Return the webhook's definition, by its path in a repository of lakeFS.

    Parameters
    ----------
    url
        Of the event source.
    """
    text = _DEFINITION.format(action=ACTION, hook=HOOK, main=MAIN, url=url.rstrip("/") + MERGE)
    return {HOOK_PATH: text.encode()}


def install(dataset: str) -> tuple[CommitId, bool]:
    """Have lakeFS tell the event source of each commit on a data set's main.

    Where that is, LAKELINE_EVENTS_URL says; or LAKELINE_HOOK_URL, if lakeFS reaches it by another address than this process.

    Parameters
    ----------
    dataset
        Name of the data set, which has a repository.

    Returns
    -------
    tuple
        Head of main, and whether a commit was made: none is, if the webhook is there as it should be.

    Raises
    ------
    UsageError
        If the lake is in git, or it isn't known where the events go.
    """
    lake = open_lake(dataset)
    if lake.store == "git":
        raise UsageError(
            f"{dataset}: its lake is a git repository on this machine, which tells nobody of a merge. Train from what arrives "
            f"with `lakeline watch --dataset {dataset}`, or put the lake in lakeFS (LAKELINE_LAKE=lakefs)."
        )
    head = lake.resolve(MAIN)
    commit = lake.commit(MAIN, files(_address(get_settings().hook_address)), "Tell the event source of each commit on main", expect=head)
    return commit, commit != head


def event(lake: Lake, commit: Commit) -> dict[str, Any]:
    """Say a commit on main as lakeFS' webhook does."""
    return {
        "event_type": "post-merge",
        "event_time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "action_name": ACTION,
        "hook_id": HOOK,
        "repository_id": lake.name,
        "branch_id": MAIN,
        "source_ref": commit.id,
        "commit_id": commit.id,
        "commit_message": commit.message,
        "committer": commit.author,
        "commit_metadata": dict(commit.metadata),
    }


def send(body: dict[str, Any]) -> tuple[str, int, str]:
    """Post an event of a commit on main to the event source, as lakeFS does.

    Returns
    -------
    tuple
        Where it went, the status and the text of the answer.

    Raises
    ------
    UsageError
        If LAKELINE_EVENTS_URL or LAKELINE_EVENTS_TOKEN is not set.
    EventsError
        If the event source is out of reach.
    """
    import httpx

    from lakeline.errors import EventsError

    url, token = _address(get_settings().events_url).rstrip("/") + MERGE, get_settings().events_token
    if token is None:
        raise UsageError("with which token? Set LAKELINE_EVENTS_TOKEN to the one in the secret lakeline-events.")
    try:
        answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {token.get_secret_value()}"}, timeout=30)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EventsError(f"the event source at {url} is out of reach: {error}. Is it up, and the address right?") from error
    return url, answer.status_code, answer.text.strip()


def _address(url: str | None) -> str:
    if not url:
        raise UsageError(
            "where do events go? Set LAKELINE_EVENTS_URL to the event source, in a cluster "
            "http://lakeline-eventsource-svc.lakeline.svc.cluster.local:12000"
        )
    return url
