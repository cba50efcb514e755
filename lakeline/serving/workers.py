"""Several server processes on one socket: more requests side by side than one Python process can work on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeline.errors import RolloutFailed, ServingError
from lakeline.serving.environment import PREFIX

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from lakeline.serving.environment import ServerSettings


@dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen[bytes]
    report: int
    """Pipe on which it says that it serves, or why it can't."""


def run_workers(settings: ServerSettings, listening: socket.socket, ready: Callable[[], object]) -> None:
    """Run as many servers as the settings say until told to end; the workers end as a server does, each for itself.

    Parameters
    ----------
    settings
        `workers`; all else, each worker reads from the environment as well.
    listening
        Bound socket that they share.
    ready
        Called when all of them answer.

    Raises
    ------
    RolloutFailed
        If one can't serve: says why. The others are ended.
    ServingError
        If one has ended without being told to. The others are told to; whoever started this process starts it anew.
    """
    told_to_end = False
    workers: list[_Worker] = []

    def end(*_: object) -> None:
        nonlocal told_to_end
        told_to_end = True
        for worker in workers:
            worker.process.terminate()

    settings.secret(listening.getsockname()[0])  # said before anything is started
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with tempfile.TemporaryDirectory(prefix="lakeline-metrics-") as counters:
        try:
            for _ in range(settings.workers):
                workers.append(_start(listening, os.environ.get("PROMETHEUS_MULTIPROC_DIR", counters)))
            for worker in workers:
                _await(worker)
            if not told_to_end:
                ready()
            codes = _all_ended(workers)
        finally:
            end_wanted = told_to_end
            for worker in workers:
                if worker.process.poll() is None:
                    worker.process.terminate()
            for worker in workers:
                worker.process.wait()
    if not end_wanted:
        raise ServingError(f"one of the {settings.workers} workers ended by itself (codes {codes}); its log says why.")


def _start(listening: socket.socket, counters: str) -> _Worker:
    reading, writing = os.pipe()
    environment = {**os.environ, f"{PREFIX}WORKERS": "1", "PROMETHEUS_MULTIPROC_DIR": counters}
    # Why a worker can't serve is told by its parent.
    environment["LAKELINE_TERMINATION_LOG"] = os.devnull
    command = [sys.executable, "-m", "lakeline.serving.server", "--fd", str(listening.fileno()), "--report-fd", str(writing)]
    process = subprocess.Popen(command, env=environment, pass_fds=(listening.fileno(), writing))
    os.close(writing)
    return _Worker(process, reading)


def _await(worker: _Worker) -> None:
    with os.fdopen(worker.report) as pipe:
        line = pipe.readline()
    said = json.loads(line) if line else {"ready": False, "error": "a worker ended before it could serve; its log says why"}
    if not said["ready"]:
        raise RolloutFailed(said["error"])


def _all_ended(workers: list[_Worker]) -> list[int | None]:
    """Wait until one has ended; what each then is."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    return [worker.process.poll() for worker in workers]
