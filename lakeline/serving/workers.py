"""Several server processes on one socket: more requests side by side than one Python process can work on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeline.errors import RolloutFailed, ServingError, VersionFailed
from lakeline.interpreter import python
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


class _Crew:
    """The workers, and whether they were told to end."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self.told_to_end = False

    def add(self, worker: _Worker) -> None:
        """Take one in, who ends with the others."""
        self.workers.append(worker)
        if self.told_to_end:
            worker.process.terminate()

    def end(self, *_: object) -> None:
        """Tell them to."""
        self.told_to_end = True
        for worker in self.workers:
            worker.process.terminate()

    def ended(self) -> list[int]:
        """Codes that they ended with. They are told to if they were not: telling them twice would cut their callers off."""
        if not self.told_to_end:
            self.end()
        return [worker.process.wait() for worker in self.workers]


def run_workers(settings: ServerSettings, listening: socket.socket, ready: Callable[[], object], *, alone: bool) -> None:
    """Run as many servers as the settings say until told to end; the workers end as a server does, each for itself.

    Parameters
    ----------
    settings
        `workers`; all else, each worker reads from the environment as well.
    listening
        Bound socket that they share.
    ready
        Called when all of them answer.
    alone
        Whether nobody but they accepts on that socket.

    Raises
    ------
    VersionFailed, RolloutFailed
        If one can't serve: says why, and whose fault that is. The others are ended.
    ServingError
        If one has ended without being told to. The others are told to; whoever started this process starts it anew.
    """
    settings.secret(listening.getsockname()[0])  # what is wrong with the token is said before anything is started
    crew = _Crew()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, crew.end)
    with tempfile.TemporaryDirectory(prefix="lakeline-metrics-") as counters:
        try:
            for _ in range(settings.workers):
                crew.add(_start(listening, os.environ.get("PROMETHEUS_MULTIPROC_DIR", counters), alone=alone))
            for worker in crew.workers:
                _await(worker)
            if not crew.told_to_end:
                ready()
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            expected = crew.told_to_end
        finally:
            codes = crew.ended()
    if not expected:
        raise ServingError(f"one of the {settings.workers} workers ended by itself (codes of all: {codes}); its log says why.")


def _start(listening: socket.socket, counters: str, *, alone: bool) -> _Worker:
    reading, writing = os.pipe()
    environment = {**os.environ, f"{PREFIX}WORKERS": "1", "PROMETHEUS_MULTIPROC_DIR": counters}
    # Why a worker can't serve is told by its parent.
    environment["LAKELINE_TERMINATION_LOG"] = os.devnull
    command = python("-m", "lakeline.serving.server", "--fd", str(listening.fileno()), "--report-fd", str(writing))
    command += ["--alone"] if alone else []
    process = subprocess.Popen(command, env=environment, pass_fds=(listening.fileno(), writing))
    os.close(writing)
    return _Worker(process, reading)


def _await(worker: _Worker) -> None:
    with os.fdopen(worker.report, encoding="utf-8") as pipe:
        line = pipe.readline()
    said = json.loads(line) if line else {"ready": False, "error": "a worker ended before it could serve; its log says why"}
    if not said["ready"]:
        kind = VersionFailed if said.get("kind") == VersionFailed.__name__ else RolloutFailed
        raise kind(said["error"])
