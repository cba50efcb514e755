"""Where the state of a model's local servers is, and what it says."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from urllib.parse import quote

from pydantic import TypeAdapter

from lakeline.errors import ServingError, UsageError
from lakeline.serving.environment import PREFIX
from lakeline.serving.local.processes import Identity
from lakeline.serving.release import VARIANTS, Release, Variant
from lakeline.settings import get_settings

TOKEN, PREDICTIONS = f"{PREFIX}TOKEN", f"{PREFIX}PREDICTIONS"

PLACE = frozenset({TOKEN, PREDICTIONS})
"""What servers are told of their place: who swaps a version without naming these leaves them as they are."""

LOG_BYTES = 16 * 2**20
"""Size at which a log is set aside as `log.1`, in place of the one before."""


@dataclass(frozen=True)
class Plan:
    """A release as it is to run on this machine.

    Attributes
    ----------
    files
        Folder of the model's files.
    workers
        Number of server processes.
    deadline
        Seconds in which they must be ready.
    """

    release: Release
    files: str
    workers: int
    deadline: int


@dataclass(frozen=True)
class Server:
    """A server process.

    Attributes
    ----------
    role
        `serving`, `starting` or `leaving`.
    since
        When it was started, in seconds since 1970.
    """

    process: Identity
    version: int
    role: str
    since: float


@dataclass
class ArmState:
    """What is known of a variant.

    Attributes
    ----------
    wanted, served
        What shall serve, and what was ready last.
    port
        Where it is reached, on the loopback interface.
    servers
        Its processes.
    crashes
        Times that a server was started anew because it ended by itself, since the last rollout.
    problem
        Why it doesn't serve as it should.
    place
        Those of `PLACE` that the servers of `served` were told; None if there are none.
    """

    wanted: Plan | None = None
    served: Plan | None = None
    port: int = 0
    servers: list[Server] = field(default_factory=list[Server])
    crashes: int = 0
    problem: str | None = None
    place: dict[str, str] | None = None


@dataclass
class State:
    """What the supervisor of a model leaves for whoever asks, and for the supervisor after it.

    Attributes
    ----------
    supervisor
        Its process.
    socket
        Path of the socket that it listens to.
    arms
        By variant.
    trials
        Servers apart from all traffic.
    foreground
        Process with which all that serves ends.
    """

    supervisor: Identity | None = None
    socket: str = ""
    arms: dict[Variant, ArmState] = field(default_factory=lambda: {variant: ArmState() for variant in VARIANTS})
    trials: list[Identity] = field(default_factory=list[Identity])
    foreground: Identity | None = None

    @property
    def place(self) -> dict[str, str]:
        """What servers are told of their place where nobody says otherwise: what those are told that serve."""
        return next((arm.place for arm in self.arms.values() if arm.place), {})


class Folder:
    """The private folder of a model's local servers.

    Parameters
    ----------
    model
        Name of the model.

    Raises
    ------
    UsageError
        If no folder can be named after it.
    """

    def __init__(self, model: str) -> None:
        if not model or model.startswith("."):
            raise UsageError(f"{model!r} is no name of a model. See: lakeline models")
        self.model = model
        self.path = get_settings().home.resolve() / "serving" / quote(model, safe="")
        self.log = self.path / "log"
        self.versions = self.path / "versions"

    def make(self) -> Folder:
        """Make it if it isn't there; nobody else may look into it, for whoever reaches its socket commands its servers.

        Raises
        ------
        ServingError
            If that can't be.
        """
        with self.writing():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.versions.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)
        return self

    @contextlib.contextmanager
    def writing(self) -> Generator[None]:
        """Turn what the file system refuses into a ServingError that says what to do."""
        try:
            yield
        except TimeoutError:  # of a lock
            raise
        except OSError as error:
            raise ServingError(
                f"{self.model}: {error.filename or self.path} can't be written: {error.strerror or error}. LAKELINE_HOME must be a folder "
                "of this user's, with room left on its disk. See to that, and run the same command again."
            ) from error

    def read(self) -> State:
        """State that was left; an empty one if there is none.

        Raises
        ------
        ServingError
            If it can't be read: what is not known to serve may serve all the same.
        """
        path = self.path / "state.json"
        try:
            return TypeAdapter(State).validate_json(path.read_bytes())
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise ServingError(f"{path} can't be read: {error.strerror}. LAKELINE_HOME must be a folder of this user's.") from None
        except ValueError:
            raise ServingError(
                f"{path} is damaged, or of another version of Lakeline: what serves {self.model} isn't known. Move it away, end the "
                f"processes lakeline.serving.local.supervisor and lakeline.serving.server of this model, and serve it anew."
            ) from None

    def write(self, state: State) -> None:
        """Leave a state, whole or not at all.

        Raises
        ------
        ServingError
            If it can't be written.
        """
        fresh = self.path / "state.new"
        with self.writing():
            fresh.write_bytes(TypeAdapter(State).dump_json(state, indent=1))
            fresh.chmod(0o600)
            fresh.replace(self.path / "state.json")

    def note(self, event: str, message: str, *, warning: bool = False) -> None:
        """Write a line into the log, which the servers write into as well; where there is no room for it, there is none."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        line = {"time": now, "level": "warning" if warning else "info", "event": event, "message": message}
        with contextlib.suppress(OSError, ServingError):
            log = self.open_log()
            try:
                os.write(log, (json.dumps(line) + "\n").encode())
            finally:
                os.close(log)

    def open_log(self) -> int:
        """Descriptor that adds to the log, whoever else does."""
        with self.writing():
            return os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def trim_log(self) -> None:
        """Set a long log aside. Its writers go on in the same file, from its start: they need not know."""
        import shutil

        if self.log.is_file() and self.log.stat().st_size > LOG_BYTES:
            shutil.copyfile(self.log, self.path / "log.1")
            (self.path / "log.1").chmod(0o600)
            os.truncate(self.log, 0)
