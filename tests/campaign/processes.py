"""Processes of the campaign: forked from one that has imported everything, with a time limit; and those that a run has left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakeline.errors import describe, explain_uncaught
from lakeline.settings import get_settings

LIMIT = 240.0
"""Seconds after which a process hangs."""

_FOREIGN = ("LAKEFS_", "LAKECTL_", "MLFLOW_", "LAKELINE_", "KFP_", "KF_PIPELINES_", "OTEL_", "GIT_")


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus the signal; None if it had to be ended. And what it said, and gave back."""

    code: int | None
    said: str
    result: Any = None


def clean_environment() -> dict[str, str]:
    """Environment of this process without what belongs to its user's own servers and homes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


class Forked:
    """A function under way in a process, and session, of its own.

    It ends as a step does: 0, or 1 after a sentence of its own; what isn't a sentence is a traceback.

    Parameters
    ----------
    function
        What to call. What it returns must be what JSON can hold.
    environment
        Of the process, whole.
    folder
        Where output and result are kept, under `name`.
    """

    def __init__(self, function: Callable[[], Any], environment: Mapping[str, str], folder: Path, name: str) -> None:
        self._log, self._result = folder / f"{name}.log", folder / f"{name}.json"
        for path in (self._log, self._result):
            path.unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self._status: int | None = None
        self.pid = os.fork()
        if not self.pid:
            self._be(function, environment)

    def ended(self) -> bool:
        """Whether it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def kill(self) -> None:
        """End it, if it hasn't ended."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            _, self._status = os.waitpid(self.pid, 0)

    def wait(self, limit: float = LIMIT) -> Ended:
        """Wait for the end, or bring it about when the time is up."""
        deadline = time.monotonic() + limit
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(0.01)
        in_time = self.ended()
        self.kill()
        code = os.waitstatus_to_exitcode(self._status) if in_time and self._status is not None else None
        said = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        result = json.loads(self._result.read_text(encoding="utf-8")) if self._result.exists() and code == 0 else None
        return Ended(code, said, result)

    def _be(self, function: Callable[[], Any], environment: Mapping[str, str]) -> None:
        code = 3
        try:
            os.setsid()
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            for descriptor in (1, 2):
                os.dup2(log, descriptor)
            os.environ.clear()
            os.environ.update(environment)
            get_settings.cache_clear()
            tempfile.tempdir = None
            os.chdir(environment["HOME"])
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            explain_uncaught()
            result = function()
            self._result.write_text(json.dumps(result), encoding="utf-8")
            code = 0
        except SystemExit as ending:
            code = int(ending.code or 0)
        except BaseException as error:  # as the interpreter would
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def run(function: Callable[[], Any], environment: Mapping[str, str], folder: Path, name: str) -> Ended:
    """Call a function in a process of its own and wait for its end."""
    return Forked(function, environment, folder, name).wait()


def explained(function: Callable[[], Any], failed: Callable[[BaseException], None]) -> Any:
    """Call a function; if it fails (not: is interrupted), tell of that before the process ends with it."""
    try:
        return function()
    except Exception as error:
        failed(error)
        raise


def sentence(error: BaseException) -> str:
    """What the exit handler is told of an error."""
    return describe(error)


def of_home(home: Path) -> Iterator[int]:
    """Processes that were started with this LAKELINE_HOME, of which this one is none."""
    mark = f"LAKELINE_HOME={home}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            alive = b") Z " not in (folder / "stat").read_bytes()
            if alive and mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def command_line(pid: int) -> str:
    """What a process was started as."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return "gone"


def kill(pids: Iterator[int] | list[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to processes that may have gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_all(home: Path) -> list[str]:
    """End all that still runs in a home, and say what it was."""
    left = [f"{pid}: {command_line(pid)[:160]}" for pid in of_home(home)]
    for _ in range(20):
        pids = list(of_home(home))
        if not pids:
            break
        kill(pids)
        time.sleep(0.02)
    return left
