"""The processes that import ahead, and make steps' processes by forking themselves."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.warm import SOCKET
from pipelines.warm.generations import GENERATIONS, MODULE, Generation

STARTED = b"+"
"""Answer to who asked for a step: its process is there, and its exit code will follow. No answer: ask again."""

_SIGNALLED = 128


@dataclass(frozen=True)
class _Request:
    """What a step's process is to be: arguments, environment, folder, and the files that it reads and writes."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    files: list[int]

    def close(self) -> None:
        """Let go of the files, in a process that is not the step's."""
        for file in self.files:
            os.close(file)


def main(folder: str, generations: Sequence[Generation] = GENERATIONS) -> None:
    """Serve until stdin is closed.

    Parameters
    ----------
    folder
        Where the socket goes.
    generations
        What to have ready.
    """
    os.chdir(folder)  # a socket's path may have 108 characters at most: its name alone always has fewer
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen()
    listener.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what ends the runner ends this as well, by its stdin
    warnings.simplefilter("ignore")
    request = _serve(listener, generations)
    if request:
        _become(request)
    os._exit(0)  # nothing here needs to be torn down; the libraries would take their time for it


def prepare(name: str) -> None:
    """Import `module`, or call `module:function`, if there is such a function."""
    path, _, function = name.partition(":")
    module = importlib.import_module(path)
    if function:
        getattr(module, function, _nothing)()


def _nothing() -> None:
    pass


def _serve(listener: socket.socket, generations: Sequence[Generation]) -> _Request | None:
    """Load a generation, have a fork serve it, load the next one, and serve the last; in a step's process, what it was asked for."""
    tell, served = -1, list[int]()
    for number, generation in enumerate(generations, start=1):
        for name in generation.load:
            prepare(name)
        if threading.active_count() > 1:  # a fork would lack the other threads: what serves so far goes on
            return None
        gc.collect()
        gc.freeze()  # pages that the collector doesn't touch stay shared
        if tell != -1:
            os.write(tell, b"!")
            os.close(tell)
        ready, tell = os.pipe()
        later = frozenset[str]().union(*(other.steps for other in generations[number:]))
        if not later:
            return _Server(listener, None, later, served).serve()
        served.append(os.fork())
        if not served[-1]:
            os.close(tell)
            return _Server(listener, ready, later).serve()
        os.close(ready)
    return None


class _Server:
    """Makes steps' processes until the next generation takes over or the runner is gone."""

    def __init__(self, listener: socket.socket, ready: int | None, later: frozenset[str], predecessors: Sequence[int] = ()) -> None:
        self._accepting = True
        self._listener = listener
        self._ready = ready
        self._later = later
        self._waiting: list[tuple[_Request, socket.socket]] = []  # for the next generation
        self._running: dict[int, tuple[int, socket.socket | None]] = {}  # by the descriptor that tells of its end: a step, who waits for it
        self._poll = select.poll()
        for process in predecessors:
            self._watch(process, None)

    def serve(self) -> _Request | None:
        """Serve; in a step's process, return what it was asked for."""
        for descriptor in (sys.stdin.fileno(), self._listener.fileno(), self._ready):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)
        while self._accepting or self._running:
            for descriptor, _ in self._poll.poll():
                request = None
                if descriptor == sys.stdin.fileno():
                    return None
                if descriptor == self._listener.fileno():
                    request = self._accept()
                elif descriptor == self._ready:
                    request = self._hand_over(descriptor)
                else:
                    self._end(descriptor)
                if request:
                    return request
        return None

    def _accept(self) -> _Request | None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # another generation was quicker
            return None
        request = _receive(connection)
        if request.arguments[-1] in self._later:
            self._waiting.append((request, connection))
            return None
        return self._fork(request, connection)

    def _hand_over(self, ready: int) -> _Request | None:
        self._poll.unregister(ready)
        if os.read(ready, 1):
            self._accepting = False
            self._poll.unregister(self._listener)
            for request, connection in self._waiting:
                request.close()
                connection.close()  # unanswered: it will ask again
        else:  # the next generation failed: this one goes on
            self._later = frozenset()
            for request, connection in self._waiting:
                if self._fork(request, connection):
                    return request
        self._waiting.clear()
        return None

    def _fork(self, request: _Request, connection: socket.socket) -> _Request | None:
        with contextlib.suppress(OSError):
            connection.sendall(STARTED)
        process = os.fork()
        if process == 0:
            # What it kept open of another step's would keep that one's reader waiting.
            for waiting, _ in self._waiting:
                if waiting is not request:
                    waiting.close()
            for _, other in [*self._running.values(), *self._waiting, (None, connection)]:
                if other:
                    other.close()
            self._listener.close()
            return request
        request.close()
        self._watch(process, connection)
        return None

    def _watch(self, process: int, connection: socket.socket | None) -> None:
        end = os.pidfd_open(process)
        self._running[end] = process, connection
        self._poll.register(end, select.POLLIN)

    def _end(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        os.close(descriptor)
        process, connection = self._running.pop(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if connection:
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
    main(sys.argv[1])
