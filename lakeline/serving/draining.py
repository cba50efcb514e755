"""Uvicorn, told to end, goes on answering until its callers have left: so that none of their requests is dropped."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from lakeline.serving.app import Application
    from lakeline.serving.environment import ServerSettings
    from lakeline.serving.logs import Journal

_KEEP_ALIVE = 75
"""Seconds that a connection may be idle: longer than what commonly stands in front of a server, so that it is not we who hang up."""

_BACKLOG = 2048
_LOOK = 0.05
_QUIET, _QUIET_ALONE = 0.1, 1.0
"""Seconds without a connection after which nobody is expected any more: where others accept as well, and where nobody else does."""


class _Listening(socket.socket):
    """A socket whose queue of callers is as long as it should be, whatever asyncio is told of how many to accept in one go."""

    def listen(self, backlog: int = _BACKLOG, /) -> None:
        super().listen(_BACKLOG)


class DrainingServer(uvicorn.Server):
    """Serves an application until SIGTERM or SIGINT, and then until its callers have gone.

    A caller whose connection is idle may send its next request at any moment, and sees an error if the connection is closed in that
    moment. So connections are closed with an answer, which says so (`Connection: close`); only those that ask nothing are closed without.

    Parameters
    ----------
    app
        What answers.
    settings
        `timeout` and `drain`, in seconds.
    journal
        What happens is told.
    ready
        Called when it answers.
    alone
        Whether nobody takes new callers when it is told to end, so that it has to. Another server on the same socket would.
    shared
        Whether other processes accept on the same socket as long as it isn't told to.
    """

    def __init__(
        self, app: Application, settings: ServerSettings, journal: Journal, ready: Callable[[], object], *, alone: bool, shared: bool
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=math.ceil(settings.timeout) + 1,
                # As many connections are accepted in one go: where several processes share them, each is to take one at a time.
                backlog=1 if shared else _BACKLOG,
            )
        )
        self._app = app
        self._drain_seconds = settings.drain
        self._journal = journal
        self._ready = ready
        self._alone = alone
        self._draining: asyncio.Task[None] | None = None

    def run_until_told(self, listening: socket.socket) -> None:
        """Serve on a bound socket; returns when all is answered and written, or ends the process then, if the model hangs."""

        async def serve() -> bool:
            await self.serve([_Listening(listening.family, listening.type, fileno=listening.detach())])
            hangs = self._app.hangs()
            await self._app.close()
            self._journal.say("ended")
            return hangs

        if asyncio.run(serve()):
            # Python would wait for the thread that called it, for ever.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to `startup`: uvicorn's handler would end at once."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept, and say so."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end)
        await super().startup(sockets)
        self._ready()
        self._journal.say("serving")

    def _told_to_end(self) -> None:
        if self._draining:  # told twice: somebody is in a hurry
            self.should_exit = True
            return
        self._app.draining = True
        self._journal.say("draining", connections=len(self.server_state.connections))
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        if not self._alone:
            for server in self.servers:
                server.close()
        end = time.monotonic() + self._drain_seconds
        quiet_since = time.monotonic()
        while (now := time.monotonic()) < end:
            if self.server_state.connections:
                quiet_since = now
            elif now - quiet_since >= (_QUIET_ALONE if self._alone else _QUIET):
                break
            await asyncio.sleep(_LOOK)
        self.should_exit = True
