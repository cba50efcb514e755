"""MLflow's user interface, as a child process on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from lakeline.errors import RegistryError, UsageError
from lakeline.interpreter import python
from lakeline.settings import get_settings

_HOST = "127.0.0.1"
_FIRST, _TRIED = 5000, 50
_PATIENCE = 120.0
_GRACE = 5.0


def serve(port: int | None, ready: Callable[[str], None]) -> None:
    """Run MLflow's user interface until it is interrupted (SIGINT or SIGTERM), which is its proper end.

    Parameters
    ----------
    port
        Port on 127.0.0.1; None for 5000 or the next free one.
    ready
        Called with the address once it answers. If the settings name an MLflow server, that is its own user interface:
        then nothing is started.

    Raises
    ------
    UsageError
        If the port is taken, or there is nothing to show yet.
    RegistryError
        If it doesn't start, or ends by itself.
    """
    from lakeline.registry.location import follow_and_say
    from lakeline.registry.peek import sqlite_path

    settings = get_settings()
    if settings.mlflow_uri.startswith(("http://", "https://")):
        ready(settings.mlflow_uri)
        return
    store = sqlite_path(settings.mlflow_uri)
    if store is not None and not store.is_file():
        raise UsageError(
            f"there is no MLflow store at {store} yet. The first training run makes it: lakeline run training, or lakeline demo."
        )
    if store is not None:
        follow_and_say(store)
    chosen = _port(port)
    address, log = f"http://{_HOST}:{chosen}", settings.home.resolve() / "mlflow-ui.log"
    interrupted = False

    def interrupt(_: int, __: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as said:
        child = _start(settings.mlflow_uri, store, chosen, said.fileno())
        try:
            told, began = False, time.monotonic()
            while child.poll() is None and not interrupted:
                if not told and _answers(chosen):
                    told = True
                    ready(address)
                elif not told and time.monotonic() - began > _PATIENCE:
                    raise RegistryError(f"MLflow's user interface did not answer within {_PATIENCE:.0f} s. Its log: {log}")
                time.sleep(0.1)
        finally:
            ended = child.poll()
            _end(child)
            for number, handler in before.items():
                signal.signal(number, handler)
    if not interrupted:
        raise RegistryError(f"MLflow's user interface ended with code {ended}: {_last_line(log)} Its log: {log}")


def _start(uri: str, store: Path | None, port: int, log: int) -> subprocess.Popen[bytes]:
    hosts = ",".join(f"{host}:{port}" for host in (_HOST, "localhost"))
    command = [*python("-m", "mlflow"), "server", "--backend-store-uri", uri, "--host", _HOST, "--port", str(port)]
    command += ["--workers", "1", "--allowed-hosts", hosts]
    if store is not None:
        from lakeline.registry.location import artifact_root

        command += ["--no-serve-artifacts", "--default-artifact-root", artifact_root(store)]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=quiet | os.environ,
        start_new_session=True,  # Ctrl-C is ours to pass on; the group is ended as a whole
    )


def _port(asked: int | None) -> int:
    for port in [asked] if asked is not None else range(_FIRST, _FIRST + _TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return port
    which = f"port {asked} is" if asked is not None else f"ports {_FIRST} to {_FIRST + _TRIED - 1} are"
    raise UsageError(f"{which} taken, or not yours to use. Give another: lakeline ui --port NUMBER")


def _answers(port: int) -> bool:
    """Whether the server answers; its own health check, without a proxy in between."""
    import http.client

    connection = http.client.HTTPConnection(_HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the server and its workers: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].rstrip(".") + "." if lines else "it said nothing."
