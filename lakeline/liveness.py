"""Tells whether a pipeline run is under way: on this machine by the lock that its runner holds, on a cluster by Kubeflow Pipelines."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from typing import TYPE_CHECKING

from lakeline.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_LOCK = "lock"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_UNDER_WAY = frozenset({"PENDING", "RUNNING", "CANCELING", "PAUSED"})
_GONE = 404
_TIMEOUT = 10.0


@contextlib.contextmanager
def alive(folder: Path) -> Generator[int]:
    """Hold the lock of a run on this machine.

    The lock is the kernel's (flock): it lasts until every process that has the descriptor has ended, however it ended.

    Parameters
    ----------
    folder
        The run's folder.

    Yields
    ------
    int
        Descriptor to hand on to the process that runs the pipeline, for the command that waits for it may be killed alone.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def under_way(run_id: str) -> bool | None:
    """Tell whether a pipeline run is under way.

    Parameters
    ----------
    run_id
        Id of a run on this machine, or on the Kubeflow Pipelines server that KF_PIPELINES_ENDPOINT names.

    Returns
    -------
    bool or None
        None if nobody here knows: the run is of another machine, or the server is out of reach.
    """
    if not _RUN_ID.fullmatch(run_id):
        return None
    folder = get_settings().runs / run_id
    if folder.is_dir():
        return _locked(folder / _LOCK)
    return _on_server(run_id) if get_settings().pipelines_endpoint else None


def _locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _on_server(run_id: str) -> bool | None:
    """Ask the server's API, without kfp: steps ask this too."""
    import httpx

    settings = get_settings()
    token = settings.pipelines_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    try:
        answer = httpx.get(
            f"{(settings.pipelines_endpoint or '').rstrip('/')}/apis/v2beta1/runs/{run_id}", headers=headers, timeout=_TIMEOUT
        )
        if answer.status_code == _GONE:
            return False
        return answer.json().get("state", "PENDING") in _UNDER_WAY if answer.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
