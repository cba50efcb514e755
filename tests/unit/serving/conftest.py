"""A model to serve, fitted once; its server, in this process or in one of its own; and a caller."""

import asyncio
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lakeline.serving.environment import PREFIX, ServerSettings, environment
from lakeline.serving.release import Release
from tests.unit.serving.models import NAME, made_here, settings


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a model that was made here."""
    return made_here(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture
def caller(folder: Path) -> Iterator[Callable[..., httpx.Client]]:
    """Makes a server in this process, and a client that calls its application without a network."""
    from lakeline.serving.app import Application
    from lakeline.serving.logs import Journal
    from lakeline.serving.server import load

    made: list[Any] = []
    loop = Loop()

    def make(of: Path = folder, **told: Any) -> httpx.Client:
        said = settings(of, **told)
        model = _of_session(of) if of == folder else load(said)
        app = Application(said, said.secret("127.0.0.1"), model, Journal())
        transport = loop.transport(app)
        made.append(app)
        return httpx.Client(transport=transport, base_url="http://server")

    yield make
    for app in made:
        loop.run(app.close())
    loop.close()


@functools.cache
def _of_session(folder: Path) -> Any:
    """The model that most tests ask, loaded once."""
    from lakeline.serving.model import load

    return load(folder)


class Loop:
    """An event loop in a thread of its own, which outlives single requests as a server's does."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def transport(self, app: Any) -> httpx.BaseTransport:
        inner = httpx.ASGITransport(app=app)
        loop = self

        class Transport(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                async def answer() -> httpx.Response:
                    response = await inner.handle_async_request(request)
                    return httpx.Response(response.status_code, headers=response.headers, content=await response.aread())

                return loop.run(answer())

        return Transport()


@dataclass
class Started:
    """A server process."""

    process: subprocess.Popen[bytes]
    url: str
    report: dict[str, Any]
    log: Path

    def end(self) -> int:
        """Tell it to end, as Kubernetes does, and wait."""
        self.process.terminate()
        return self.process.wait(60)


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts servers as processes, as a supervisor does: on a socket of its own, with a pipe to report on."""
    started: list[Started] = []
    sockets: list[socket.socket] = []

    def make(of: Path = folder, listening: socket.socket | None = None, *, inherits: bool = True, **told: Any) -> Started:
        said: ServerSettings = settings(of)
        release = Release(NAME, said.version, said.digest)
        variables = environment(release, of) | {f"{PREFIX}{name.upper()}": str(value) for name, value in told.items()}
        if listening is None:
            listening = socket.create_server(("127.0.0.1", 0))
            sockets.append(listening)
        log = tmp_path / f"server{len(started)}.log"
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "lakeline.serving.server", "--report-fd", str(writing)]
        port, passed = listening.getsockname()[1], [writing]
        if inherits:
            command += ["--fd", str(listening.fileno())]
            passed.append(listening.fileno())
        else:
            listening.close()
            variables[f"{PREFIX}PORT"] = str(port)
        with log.open("wb") as file:
            process = subprocess.Popen(command, env=os.environ | variables, pass_fds=passed, stderr=file)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            line = pipe.readline()
        made = Started(process, f"http://127.0.0.1:{port}", json.loads(line) if line else {}, log)
        started.append(made)
        return made

    yield make
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
    for listening in sockets:
        listening.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Waits until something is true, and gives what it is."""

    def wait(condition: Callable[[], Any], seconds: float = 20) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it didn't become true"
            time.sleep(0.02)
        return found

    return wait
