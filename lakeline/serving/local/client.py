"""Speaking to the supervisor of a model, which is started if it isn't there."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

from lakeline.errors import RolloutFailed, ServingError, VersionFailed
from lakeline.interpreter import python
from lakeline.serving.environment import PREFIX
from lakeline.serving.local.folder import PLACE, PREDICTIONS, TOKEN
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakeline.serving.local.folder import Folder

MODULE = "lakeline.serving.local.supervisor"

_START = 30.0
_TRIES = 3

_TUNED = frozenset(f"{PREFIX}{name}" for name in ("MAX_BYTES", "MAX_ROWS", "TIMEOUT", "DRAIN", "LOG_ROWS", "LOG_SECONDS", "LOG_PENDING"))
"""What people may set of a server on this machine; all else is said by the release and by its place."""

_OF_A_STEP = frozenset({"TMPDIR", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "PYTHONUNBUFFERED"})
"""What is true of a pipeline's step only: its servers outlive it."""


def environment_of_servers() -> dict[str, str]:
    """Environment of servers: this process's, less what is a step's own and what MLflow is asked with.

    Of their place it says what was set here. What wasn't, the supervisor knows.
    """
    settings = get_settings()
    foreign = ("MLFLOW_", "LAKELINE_", "KFP_", "_KFP_", "KF_PIPELINES_", "PYTEST_")
    kept = {name: text for name, text in os.environ.items() if (not name.startswith(foreign) and name not in _OF_A_STEP) or name in _TUNED}
    predictions = settings.predictions
    if predictions:
        kept[PREDICTIONS] = predictions if "://" in predictions else os.path.abspath(predictions)  # noqa: PTH100 (it may not exist)
    if settings.serving_token:
        kept[TOKEN] = settings.serving_token.get_secret_value()
    return kept


class Line:
    """A connection to a supervisor.

    Parameters
    ----------
    connection
        Of which this is the owner.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._connection.close()

    def send(self, asked: Mapping[str, Any]) -> None:
        """Ask for something."""
        self._connection.sendall(json.dumps(asked).encode() + b"\n")

    def receive(self, seconds: float | None) -> dict[str, Any] | None:
        """Next answer; None if the supervisor is gone.

        Raises
        ------
        TimeoutError
            If there is none within so many seconds.
        """
        self._connection.settimeout(seconds)
        try:
            line = self._lines.readline()
        except ConnectionError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def leave(self, seconds: float) -> None:
        """Say that this is all, and wait until the supervisor has put away what was there for us."""
        with contextlib.suppress(OSError):  # it left first
            self._connection.shutdown(socket.SHUT_WR)
            while self.receive(seconds):
                pass


def connect(folder: Folder) -> Line | None:
    """Connect to the supervisor, if there is one."""
    path = folder.read().socket
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return Line(connection)


def connect_or_start(folder: Folder) -> Line:
    """Connect to the supervisor, which is started if there is none.

    It belongs to a session of its own, with nothing open that this process has open: it outlives whoever started it.

    Raises
    ------
    ServingError
        If it doesn't start: says why.
    """
    from filelock import FileLock

    folder.make()
    with folder.writing(), FileLock(folder.path / "start.lock"):
        deadline = time.monotonic() + _START
        while True:
            line = connect(folder)
            if line:
                return line
            said = _start(folder)
            if said and (line := connect(folder)):
                return line
            if time.monotonic() >= deadline:
                break
            time.sleep(0.2)  # an earlier one holds the lock, and is ending
    process = folder.read().supervisor
    one = f"one is there (process {process.pid}) and doesn't answer: end it" if process else "none starts"
    raise ServingError(f"{folder.model}: no supervisor of its servers can be reached; {one}. Its log: {folder.log}")


def ask(folder: Folder, asked: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Ask the supervisor for something that can be asked for twice, and wait for its answer.

    Raises
    ------
    VersionFailed, RolloutFailed, ServingError
        As the supervisor says; or if it doesn't answer within so many seconds.
    """
    for _ in range(_TRIES):
        with connect_or_start(folder) as line:
            try:
                line.send(asked)
                answer = line.receive(seconds)
            except ConnectionError:
                answer = None
            except TimeoutError:
                raise ServingError(f"{folder.model}: the supervisor of its servers doesn't answer. Its log: {folder.log}") from None
        if answer is not None:
            return checked(folder, answer)
    raise ServingError(f"{folder.model}: the supervisor of its servers ended {_TRIES} times while it was asked. Its log: {folder.log}")


def checked(folder: Folder, answer: dict[str, Any]) -> dict[str, Any]:
    """Raise what the supervisor raised."""
    if "error" not in answer:
        return answer
    for kind in (VersionFailed, RolloutFailed, ServingError):
        if answer["kind"] == kind.__name__:
            raise kind(answer["error"])
    raise ServingError(f"{folder.model}: the supervisor of its servers failed: {answer['kind']}: {answer['error']}. Its log: {folder.log}")


def _start(folder: Folder) -> bool:
    """Start a supervisor; False if it ended because there is one, or for another reason, which is in the log.

    Raises
    ------
    ServingError
        If it says that it can't run here.
    """
    told, ready = os.pipe()
    log = folder.open_log()
    environment = {name: text for name, text in environment_of_servers().items() if name not in PLACE}  # that comes with what it is asked
    try:
        with subprocess.Popen(
            python("-m", MODULE, folder.model, str(ready)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder.path,
            env={**environment, "LAKELINE_HOME": str(get_settings().home.resolve())},
            pass_fds=(ready,),
            start_new_session=True,
        ):
            os.close(ready)
            ready = -1
            with os.fdopen(told, "rb", closefd=False) as pipe:
                said = pipe.readline()  # or its end, when nobody has the other side any more
            if said:
                checked(folder, json.loads(said))
            return bool(said)
    finally:
        os.close(told)
        os.close(log)
        if ready != -1:
            os.close(ready)
