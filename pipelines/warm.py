"""Start the steps of a local run from a process that has imported their libraries already.

Each step is a process of its own, as on a cluster, and importing pandas, scikit-learn and MLflow in each of a dozen
would take most of a short run's time. So a process beside the runner imports them once, while the first steps are at work,
and makes a step's process by forking itself. The runner is given a stand-in for the Python interpreter, which asks
that process; if it doesn't answer, the stand-in becomes the interpreter, and the step only starts later.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

MODULE = "kfp.dsl.executor_main"
"""What the runner has an interpreter run for a step."""

GENERATIONS = (
    (MODULE, "lakeline.data.specfile", "lakeline.lake.git", "duckdb", "pyarrow.parquet"),
    ("pandas", "pandera.pandas"),
    ("scipy.sparse", "sklearn.pipeline", "sklearn.linear_model", "sklearn.compose"),
    ("mlflow.sklearn", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
)
"""Modules, in the order in which steps want them. Each generation is forked from the one before, and takes over when it is ready."""

_SOCKET = "warm.socket"
_SIGNALLED = 128


@contextlib.contextmanager
def warm_interpreter(folder: Path) -> Generator[str]:
    """Have a stand-in for the Python interpreter while the context lasts.

    Parameters
    ----------
    folder
        Private folder, made for this. Whoever can write there can run code as this user.

    Yields
    ------
    str
        Path of the stand-in; of the interpreter itself where a process with such libraries can't be forked safely (macOS).
    """
    if sys.platform != "linux":
        yield sys.executable
        return
    folder.mkdir(mode=0o700, parents=True)
    stand_in = folder / "python"
    # -I -S: the stand-in needs the standard library only, and starts in a few milliseconds without the rest.
    client = [sys.executable, "-I", "-S", str(Path(__file__).with_name("warm_client.py")), sys.executable, MODULE, str(folder / _SOCKET)]
    stand_in.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
    stand_in.chmod(0o700)
    command = [sys.executable, "-m", "pipelines.warm", str(folder)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {"_KFP_RUNTIME": "true"})
    try:
        yield str(stand_in)
    finally:
        server.communicate()  # closes its stdin, which all generations watch: they end when nobody is there to ask them


@dataclass(frozen=True)
class _Request:
    """What a step's process is to be: arguments, environment, folder, and the files that it reads and writes."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    files: list[int]


def _main(folder: str) -> None:
    os.chdir(folder)  # a socket's path may have 108 characters at most: its name alone always has fewer
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(_SOCKET)
    listener.listen()
    listener.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what ends the runner ends this as well, by its stdin
    warnings.simplefilter("ignore")
    request = _generation(listener, GENERATIONS, None)
    if request:
        _become(request)
    os._exit(0)  # nothing here needs to be torn down; the libraries would take their time for it


def _generation(listener: socket.socket, generations: Sequence[Sequence[str]], predecessor: int | None) -> _Request | None:
    """Import, take over from the predecessor, fork a successor, serve; in a forked step's process, what it was asked for."""
    for module in generations[0]:
        importlib.import_module(module)
    if threading.active_count() > 1:  # a fork would lack the other threads: the predecessor goes on
        return None
    gc.collect()
    gc.freeze()  # pages that the collector doesn't touch stay shared
    if predecessor is not None:
        os.write(predecessor, b"!")
        os.close(predecessor)
    if not generations[1:]:
        return _Server(listener, None).serve()
    ready, tell = os.pipe()
    successor = os.fork()
    if successor == 0:
        os.close(ready)
        return _generation(listener, generations[1:], tell)
    os.close(tell)
    server = _Server(listener, ready)
    request = server.serve()
    if request is None:
        if server.accepting:  # the runner is gone before the successor was ready
            os.kill(successor, signal.SIGTERM)
        os.waitpid(successor, 0)
    return request


class _Server:
    """Makes steps' processes until the successor takes over or the runner is gone."""

    def __init__(self, listener: socket.socket, ready: int | None) -> None:
        self.accepting = True
        self._listener = listener
        self._ready = ready
        self._running: dict[int, tuple[int, socket.socket]] = {}  # by the descriptor that tells of its end: a step, and who waits for it
        self._poll = select.poll()

    def serve(self) -> _Request | None:
        """Serve; in a step's process, return what it was asked for."""
        for descriptor in (sys.stdin.fileno(), self._listener.fileno(), self._ready):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)
        while self.accepting or self._running:
            for descriptor, _ in self._poll.poll():
                if descriptor == sys.stdin.fileno():
                    return None
                if descriptor == self._ready:
                    self._take_notice(descriptor)
                elif descriptor == self._listener.fileno():
                    request = self._fork()
                    if request:
                        return request
                else:
                    self._end(descriptor)
        return None

    def _take_notice(self, ready: int) -> None:
        self._poll.unregister(ready)
        if os.read(ready, 1):  # nothing to read: the successor failed, and this one goes on
            self.accepting = False
            self._poll.unregister(self._listener)

    def _fork(self) -> _Request | None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # the predecessor or the successor was quicker
            return None
        request = _receive(connection)
        process = os.fork()
        if process == 0:
            for _, other in self._running.values():
                other.close()
            connection.close()
            self._listener.close()
            return request
        for file in request.files:
            os.close(file)
        end = os.pidfd_open(process)
        self._running[end] = process, connection
        self._poll.register(end, select.POLLIN)
        return None

    def _end(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        os.close(descriptor)
        process, connection = self._running.pop(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with connection, contextlib.suppress(OSError):
            connection.sendall(bytes([code if code >= 0 else _SIGNALLED - code]))


def _receive(connection: socket.socket) -> _Request:
    connection.setblocking(True)
    head, files, _, _ = socket.recv_fds(connection, 8, 3)
    length, body = int.from_bytes(head, "big"), b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return _Request(**json.loads(body), files=list(files))


def _become(request: _Request) -> None:
    """Do in this process what a new interpreter would have been asked to do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(request.files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.argv = [MODULE, *request.arguments]
    code = 1
    try:
        importlib.import_module(MODULE).executor_main()
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        # What a forked process inherited is not its to tear down: it only does what was asked for at its end.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _main(sys.argv[1])
