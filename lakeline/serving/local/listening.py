"""The sockets that servers of this machine listen to: loopback only, held by the supervisor, so that a swap closes none."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from lakeline.errors import ServingError

HOST = "127.0.0.1"
"""Nobody but this machine can call."""

BACKLOG = 2048

_FIRST, _LAST = 1024, 65536
"""Ports of users."""


def listen(port: int, model: str) -> socket.socket:
    """Listen to a port that nobody else listens to; 0: any.

    Raises
    ------
    ServingError
        If it is taken, not for this user, or can't be had for another reason: says what to do.
    """
    listener = _socket()
    try:
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise ServingError(f"{model}: port {port} of this machine can't be listened to: {error.strerror}.") from error
        why = (
            "is in use by another program, or by the servers of another model"
            if error.errno == errno.EADDRINUSE
            else "is not for this user"
        )
        other = _free(port)
        raise ServingError(
            f"{model}: port {port} of this machine {why}. Free it, or choose another: lakeline serve {model} --port {other}, "
            f"or LAKELINE_SERVING_PORT={other} for what pipelines start. It is remembered."
        ) from error
    # From here on the port can be shared, by processes of this user that ask for it: a supervisor that comes after this one, see `join`.
    # Set before, two supervisors that start at the same time would share it without knowing.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return listener


def _free(port: int) -> int:
    """Next port that would do now."""
    for other in range(max(port + 1, _FIRST), _LAST):
        with _socket() as tried, contextlib.suppress(OSError):
            tried.bind((HOST, other))
            return other
    return _FIRST


def join(port: int) -> socket.socket | None:
    """Get a socket for a port that servers of an earlier supervisor still listen to, which they go on doing; None where that can't be.

    It doesn't listen yet: the first server that is ready does that. Otherwise requests would wait for it that the old ones could answer.
    """
    listener = _socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        return None
    return listener


def control(folder: str) -> socket.socket:
    """Listen to a Unix socket in a private folder, or in one with a shorter name: a socket's path may have 103 characters at most.

    Parameters
    ----------
    folder
        Where nobody else may look, and where no other process does this.
    """
    listener = socket.socket(socket.AF_UNIX)
    path = f"{folder}/control"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 (left by a supervisor that was killed; this process holds the lock)
    try:
        listener.bind(path)
    except OSError as error:
        if error.errno is not None:  # Python itself says that a path is too long, without a number
            raise
        import tempfile

        listener.bind(tempfile.mkdtemp(prefix="lakeline-", dir="/tmp") + "/control")  # the usual one may be as long
    listener.listen()
    return listener


def _socket() -> socket.socket:
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener
