"""A lock between processes that waits for a bounded time, says who holds it, and dies with its holder."""

import contextlib
import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path

from lakeline.errors import LakeUnavailable

WAIT = 60.0
"""Seconds to wait for a lock. Writers hold it for milliseconds."""

_POLL = 0.02


@contextlib.contextmanager
def locked(path: Path, what: str, wait: float = WAIT) -> Generator[None]:
    """Hold the exclusive lock on a file.

    The lock (flock) is the kernel's: a holder that is killed holds it no more, so there is nothing to clean up.
    Threads exclude each other as processes do.

    Parameters
    ----------
    path
        The lock file; made if it isn't there. The holder's name is in a file beside it.
    what
        What is locked, for the message.
    wait
        Seconds to wait for another holder.

    Raises
    ------
    LakeUnavailable
        Another process holds it for longer than `wait` (the message names it), or the file can't be made.
    """
    note = path.with_name(path.name + ".holder")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise LakeUnavailable(f"{what} can't be written: {error.strerror} ({path}). See who owns the folder, then try again.") from error
    try:
        _wait(descriptor, note, what, wait)
        with contextlib.suppress(OSError):
            note.write_text(
                f"process {os.getpid()} ({_command()}) on {socket.gethostname()} since {time.strftime('%H:%M:%S')}", encoding="utf-8"
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                note.unlink()
    finally:
        os.close(descriptor)


def _wait(descriptor: int, note: Path, what: str, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LakeUnavailable(
                    f"{what} is locked by {_holder(note)}. Waited {wait:g} s; nothing was changed. "
                    "Let it finish, or end it if it hangs, and run the same command again."
                ) from None
            time.sleep(_POLL)
        else:
            return


def _holder(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"


def _command() -> str:
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return " ".join([name, *sys.argv[1:3]])[:80]
