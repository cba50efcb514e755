"""One server process: started on a socket that is not its own, heard when it is ready or can't be, and ended in peace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from typing import TYPE_CHECKING

from lakeline.errors import RolloutFailed, VersionFailed
from lakeline.interpreter import python
from lakeline.serving.environment import environment
from lakeline.serving.local.folder import Server
from lakeline.serving.local.processes import Identity, alive, identify, send

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from lakeline.serving.local.folder import Folder, Plan

MODULE = "lakeline.serving.server"

PATIENCE = 60.0
"""Seconds that a server which was told to end has for what is under way, before it is killed."""

CRASHED = frozenset(-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
"""Exit codes of a process that ended by what its own code did. It is killed (-9) by others: where there is too little memory, say."""

_POLL = 0.1
_WORDS = 600


class Child:
    """A server process of this supervisor, or one that an earlier supervisor left.

    Attributes
    ----------
    server
        What the state says of it.
    """

    def __init__(self, server: Server, process: asyncio.subprocess.Process | None = None, report: int = -1) -> None:
        self.server = server
        self._process = process
        self._report = report

    @classmethod
    async def start(cls, folder: Folder, plan: Plan, listener: socket.socket, settings: Mapping[str, str]) -> Child:
        """Start a server.

        Parameters
        ----------
        folder
            Whose log it writes.
        plan
            What it serves.
        listener
            Where it serves.
        settings
            Its environment, less what says which release it is.
        """
        report, told = os.pipe()
        log = folder.open_log()
        arguments = ["--fd", str(listener.fileno()), "--report-fd", str(told)]
        try:
            process = await asyncio.create_subprocess_exec(
                *python("-m", MODULE, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder.path,
                env={**settings, **environment(plan.release, plan.files)},
                pass_fds=(listener.fileno(), told),
            )
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(told)
            os.close(log)
        known = identify(process.pid) or Identity(process.pid, "")  # it may have ended already
        return cls(Server(known, plan.release.version, "starting", time.time()), process, report)

    async def ready(self, folder: Folder) -> None:
        """Wait until it serves.

        Raises
        ------
        VersionFailed
            If it can't by its own fault: it says so, or a part of it that isn't Python has crashed.
        RolloutFailed
            If it can't for another reason: says why, in the server's own words.
        """
        reader = asyncio.StreamReader()
        pipe = os.fdopen(self._report, "rb")
        self._report = -1
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            line = await reader.readline()
        finally:
            transport.close()
        said = json.loads(line) if line else {}
        if said.get("ready"):
            self.server = Server(self.server.process, self.server.version, "serving", self.server.since)
            return
        if said.get("error"):
            raise (VersionFailed if said.get("kind") == VersionFailed.__name__ else RolloutFailed)(said["error"])
        code = await self.ended()
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        words = await asyncio.to_thread(_last_words, folder)
        kind = VersionFailed if code in CRASHED else RolloutFailed
        raise kind(f"the server {how} before it was ready{': ' + words if words else ''}. Log: {folder.log}")

    async def ended(self) -> int | None:
        """Wait until it is gone; its exit code, if this supervisor started it."""
        if self._process:
            return await self._process.wait()
        while alive(self.server.process):  # noqa: ASYNC110 (nothing tells of the end of another's child)
            await asyncio.sleep(_POLL)
        return None

    async def drain(self, patience: float = PATIENCE) -> bool:
        """Have it finish what is under way, and end; killed if it doesn't within `patience` seconds, and then False."""
        if send(self.server.process, signal.SIGTERM):
            self.server = Server(self.server.process, self.server.version, "leaving", self.server.since)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended(), patience)
            return True
        await self.kill()
        return False

    async def kill(self) -> None:
        """End it at once: it serves nobody, or doesn't listen to reason."""
        send(self.server.process, signal.SIGKILL)
        await self.ended()
        if self._report != -1:
            os.close(self._report)
            self._report = -1


def _last_words(folder: Folder) -> str:
    """Last line of the log: what a server that ended without a report said."""
    try:
        text = folder.log.read_bytes()[-16 * _WORDS :].decode(errors="replace").strip()
    except OSError:
        return ""
    line = text.rpartition("\n")[2]
    with contextlib.suppress(ValueError, TypeError, KeyError):
        line = json.loads(line)["message"]
    return line[-_WORDS:]
