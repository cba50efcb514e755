"""A registry that is away for a while is no verdict on a model: the step asks again, and if it fails, nothing was decided."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lakeline.errors import PlaceTrouble, RegistryUnavailable
from lakeline.registry import files, production, version_info
from lakeline.registry.production import load_production
from lakeline.settings import get_settings
from tests.ports import free_port

from .conftest import NAME, World

FILES = b"mlflow-artifacts/artifacts"
"""What a request for files of a model has in its first line."""


class Server:
    """A real MLflow server that has the files too."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.log = (folder / "log").open("wb")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["-m", "mlflow", "server", f"--port={self.port}", "--workers=1", f"--backend-store-uri=sqlite:///{self.folder}/runs.db"]
        command += [f"--artifacts-destination={self.folder}/files", "--allowed-hosts=*"]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=self.log, stderr=self.log, start_new_session=True
        )
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            assert self.process.poll() is None, Path(self.log.name).read_text(encoding="utf-8")
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5).raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError(Path(self.log.name).read_text(encoding="utf-8"))

    def kill(self) -> None:
        """Kill it and its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Way:
    """The way to a server: a port that passes on what it gets, until it is told to be away from the first request for files on."""

    def __init__(self, server: Server) -> None:
        self.server, self.port = server, free_port()
        self.trap = False
        self.gone = threading.Event()
        self.sockets: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        """Be there."""
        self.gone.clear()
        listener = socket.create_server(("127.0.0.1", self.port))
        self.sockets.append(listener)
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def close(self) -> None:
        """Be away: nothing is passed on, and who asks is refused."""
        self.trap = False
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.sockets.clear()
        self.gone.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                client.close()
                continue
            self.sockets += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=[source, target], daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                if self.trap and FILES in data:
                    self.close()
                    return
                target.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, target):
                each.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("server"))
    yield found
    found.kill()
    found.log.close()


@pytest.fixture
def way(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    found = Way(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{found.port}")
    monkeypatch.setenv("_KFP_RUNTIME", "true")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    get_settings.cache_clear()
    yield found
    found.close()


def test_registry_that_is_away_is_asked_again_and_one_that_stays_away_decides_nothing(
    way: Way, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert world.run().verdict == "promoted"
    version = world.train().version
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "8", "a step asks for four minutes"

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    way.trap = True
    with pytest.raises(RegistryUnavailable, match=r"MLflow at http://127.0.0.1:\d+: the server does not answer as it should"):
        world.promote(version)
    assert way.gone.is_set()
    with pytest.raises(RegistryUnavailable):
        load_production(NAME)
    assert "does not answer. Asking it again, for some minutes at most." in capsys.readouterr().err
    way.open()
    assert version_info(NAME, version).verdict is None
    assert world.aliases() == {"staging": 2, "production": 1}
    assert "model/2" not in world.lake.tags(), "the delivery is due still"

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "8")
    way.trap = True
    threading.Thread(target=lambda: way.gone.wait() and (time.sleep(1), way.open()), daemon=True).start()
    assert world.promote(version).verdict == "promoted"
    assert world.aliases() == {"staging": 2, "production": 2, "previous": 1}


@pytest.mark.nightly
def test_server_that_is_killed_while_a_model_is_promoted_and_comes_back(way: Way, server: Server, world: World):
    assert world.run().verdict == "promoted"
    version = world.train().version

    def kill() -> None:
        way.gone.wait()
        server.kill()
        way.open()
        time.sleep(20)
        server.start()

    way.trap = True
    killer = threading.Thread(target=kill)
    killer.start()
    assert world.promote(version).verdict == "promoted"
    killer.join()
    assert world.aliases() == {"staging": 2, "production": 2, "previous": 1}


@pytest.mark.parametrize(
    "trouble", [MemoryError(), OSError(28, "No space left on device"), ConnectionResetError(), PermissionError(13, "no")]
)
def test_want_of_memory_disk_or_network_is_no_verdict(trouble: Exception, world: World, monkeypatch: pytest.MonkeyPatch):
    import mlflow.pyfunc

    world.run()
    version = world.train().version

    def fail(*_: Any, **__: Any) -> None:
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.pyfunc, "load_model", fail)
        with pytest.raises(PlaceTrouble, match=r"^ferries version 2 could not be tried: .+ That says nothing of the model"):
            world.promote(version)
        patch.setattr(production, "load", fail)
        with pytest.raises(PlaceTrouble, match=r"^ferries version 1, in production, could not be loaded: "):
            load_production(NAME)

    assert version_info(NAME, version).verdict is None
    assert world.promote(version).verdict == "promoted"


def test_files_of_production_that_are_gone_are_told(world: World, monkeypatch: pytest.MonkeyPatch, store: Path):
    import shutil

    world.run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}?timeout=5")
    get_settings.cache_clear()
    shutil.rmtree(files.download(NAME, 1))

    rival = load_production(NAME)

    assert rival is not None
    assert rival.reason is not None
    assert rival.reason.startswith("ferries version 1: MLflow's artifact store has none of its files.")
