"""The process that owns a model's sockets and servers on this machine: `python -m lakeline.serving.local.supervisor MODEL`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from lakeline.errors import LakelineError, ServingError, VersionFailed
from lakeline.serving.local.arm import Arm
from lakeline.serving.local.child import Child
from lakeline.serving.local.folder import PREDICTIONS, Folder, Plan
from lakeline.serving.local.listening import HOST, control, listen
from lakeline.serving.local.processes import Identity, identify, send
from lakeline.serving.release import VARIANTS, Variant
from lakeline.settings import get_settings

IDLE = 3.0
"""Seconds without a client and without anything to serve, after which it ends."""

_PLAN = TypeAdapter(Plan)
_LOOK = 0.5
_LOOKS_AT_LOG = 20
_REQUEST = 4 * 2**20


class Supervisor:
    """Owns the sockets and servers of a model.

    A client sends one line of JSON over the Unix socket and gets one back: `{"do": "roll_out", ...}`. While it keeps the connection of
    a `trial` or of an `attend` open, the trial's server runs, or all that serves does.

    Parameters
    ----------
    folder
        Whose lock this process holds.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._state = folder.read()
        for left in self._state.trials:
            send(left, signal.SIGKILL)
        self._state.foreground = None
        _remove(self._state.socket)
        self._arms: dict[Variant, Arm] = {variant: Arm(folder, self._state.arms[variant], self._save, self._note) for variant in VARIANTS}
        self._trials: list[Child] = []
        self._clients: set[asyncio.StreamWriter] = set()
        self._attending: set[asyncio.StreamWriter] = set()
        self._stopped = asyncio.Event()
        self._unsaved: ServingError | None = None

    async def run(self, ready: int) -> None:
        """Serve until nothing is wanted any more, or until told to end.

        Parameters
        ----------
        ready
            Descriptor on which to say that clients can come.

        Raises
        ------
        ServingError
            If its state can't be written.
        """
        listener = control(str(self._folder.path))
        self._state.socket = listener.getsockname()
        self._state.supervisor = identify(os.getpid())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        for arm in self._arms.values():
            arm.restore(self._environment(os.environ))
        self._save()
        self._check_saved()  # nobody would find it
        server = await asyncio.start_unix_server(self._client, sock=listener, limit=_REQUEST)
        os.write(ready, b"{}\n")
        os.close(ready)
        await self._watch()
        server.close()
        await asyncio.gather(*(arm.withdraw(forget=False) for arm in self._arms.values()), *(child.kill() for child in self._trials))
        self._state.supervisor = None
        self._save()
        _remove(self._state.socket)
        for writer in list(self._clients):
            writer.close()

    async def _watch(self) -> None:
        looks, quiet = 0, 0.0
        while not self._stopped.is_set() and quiet < IDLE:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _LOOK)
            busy = self._clients - self._attending or self._trials or not all(arm.idle for arm in self._arms.values())
            quiet = 0.0 if busy else quiet + _LOOK
            looks += 1
            if self._unsaved:
                self._save()
            if looks % _LOOKS_AT_LOG == 0:
                self._folder.trim_log()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            line = await reader.readline()
            if line:
                await self._answer(json.loads(line), reader, writer)
        except ConnectionError:
            pass  # it left; what it asked for is done all the same
        except Exception as error:
            if not isinstance(error, LakelineError):
                self._note("Error", f"{type(error).__name__}: {error}", True)
            if isinstance(error, OSError):
                error = ServingError(f"{self._folder.model}: a server can't be started here: {error.strerror or error}.")
            with contextlib.suppress(ConnectionError):
                await _tell(writer, _told(error))
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _answer(self, asked: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match asked["do"]:
            case "roll_out":
                self._check_saved()  # a supervisor after this one must know what it finds
                plan = _PLAN.validate_python(asked["plan"])
                arm, settings = self._arms[plan.release.variant], self._environment(asked["settings"])
                await arm.roll_out(plan, settings, asked["port"], keep=asked.get("keep", False))
                await _tell(writer, {})
            case "compare":
                plan = _PLAN.validate_python(asked["plan"])
                await _tell(writer, {"same": self._arms[plan.release.variant].is_serving(plan, self._environment(asked["settings"]))})
            case "withdraw":
                await asyncio.gather(*(self._arms[variant].withdraw() for variant in asked["variants"]))
                await _tell(writer, {})
            case "trial":
                self._check_saved()
                await self._trial(_PLAN.validate_python(asked["plan"]), self._environment(asked["settings"]), reader, writer)
            case "attend":
                await self._attend(Identity(**asked["process"]), reader, writer)
            case _:
                raise ServingError(f"the supervisor is of another version of Lakeline. End it: lakeline serve {self._folder.model} --stop")

    async def _trial(self, plan: Plan, settings: Mapping[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run a server apart from all traffic for as long as the client stays, which a client that is killed doesn't."""
        plan = replace(plan, release=replace(plan.release, route=None))
        with listen(0, self._folder.model) as listener:
            child = await Child.start(self._folder, plan, listener, settings)
            self._trials.append(child)
            self._save()
            gone = asyncio.create_task(reader.read())
            ready = asyncio.create_task(child.ready(self._folder))
            try:
                await asyncio.wait({gone, ready}, timeout=plan.deadline, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if not ready.done():
                    raise VersionFailed(f"it isn't ready after {plan.deadline} s. Log: {self._folder.log}")
                await ready
                await _tell(writer, {"url": f"http://{HOST}:{listener.getsockname()[1]}"})
                await gone
            finally:
                await child.kill()  # nobody asks it any more
                gone.cancel()
                with contextlib.suppress(LakelineError, asyncio.CancelledError):
                    await ready
                self._trials.remove(child)
                self._save()

    def _environment(self, said: Mapping[str, str]) -> dict[str, str]:
        """Environment of a server: what is said, and of its place what isn't said as those have it that serve."""
        return {PREDICTIONS: get_settings().predictions_url, **self._state.place, **said}

    async def _attend(self, process: Identity, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell a client what happens, and stop serving when it leaves."""
        self._attending.add(writer)
        self._state.foreground = process
        self._save()
        with contextlib.suppress(ConnectionError):  # it was killed before it read the last of it
            await reader.read()
        self._attending.discard(writer)
        self._state.foreground = None
        await asyncio.gather(*(arm.withdraw() for arm in self._arms.values()))
        self._stopped.set()

    def _save(self) -> None:
        for variant, arm in self._arms.items():
            self._state.arms[variant] = replace(arm.state, servers=arm.servers)
        self._state.trials = [child.server.process for child in self._trials]
        try:
            self._folder.write(self._state)
            self._unsaved = None
        except ServingError as error:  # what serves goes on; it is written as soon as that can be
            if not self._unsaved:
                self._note("Unsaved", str(error), True)
            self._unsaved = error

    def _check_saved(self) -> None:
        """Raise if the state can't be written: nothing is begun then."""
        self._save()
        if self._unsaved:
            raise self._unsaved

    def _note(self, event: str, message: str, warning: bool) -> None:
        self._folder.note(event, message, warning=warning)
        for writer in self._attending:
            writer.write(json.dumps({"event": event, "message": message, "warning": warning}).encode() + b"\n")


def _told(error: Exception) -> dict[str, Any]:
    """What a client raises again."""
    return {"error": str(error) or type(error).__name__, "kind": type(error).__name__}


async def _tell(writer: asyncio.StreamWriter, said: Mapping[str, Any]) -> None:
    writer.write(json.dumps(said).encode() + b"\n")
    await writer.drain()


def _remove(path: str) -> None:
    """Remove a socket, and the folder that was made for it alone."""
    if path:
        with contextlib.suppress(OSError):
            Path(path).unlink()
        if Path(path).parent.name.startswith("lakeline-"):
            with contextlib.suppress(OSError):
                Path(path).parent.rmdir()


def main(model: str, ready: int) -> None:
    """Supervise the servers of a model, in a process that nobody waits for.

    Parameters
    ----------
    model
        Its name.
    ready
        Descriptor of a pipe: closed without a word if another supervisor is there already.
    """
    if os.fork():  # who asked for a supervisor sees this process end, and has no child to look after
        os._exit(0)
    try:
        folder = Folder(model).make()
        with folder.writing():
            lock = os.open(folder.path / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        asyncio.run(Supervisor(folder).run(ready))
    except LakelineError as error:
        with contextlib.suppress(OSError):  # it has been said that it runs
            os.write(ready, json.dumps(_told(error)).encode() + b"\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
