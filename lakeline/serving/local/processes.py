"""Processes known by more than a number, so that none is ended that only has the number of one of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_POLL = 0.05


@dataclass(frozen=True)
class Identity:
    """A process: its number, and when it was started, for numbers are used again.

    Attributes
    ----------
    started
        Opaque; of one boot of one machine.
    """

    pid: int
    started: str


def identify(pid: int) -> Identity | None:
    """Identity of the process that has a number now; None if there is none, or nothing but its exit code."""
    started = _started_linux(pid) if sys.platform == "linux" else _started(pid)
    return Identity(pid, started) if started else None


def alive(process: Identity) -> bool:
    """Whether a process is still there."""
    return identify(process.pid) == process


def send(process: Identity, number: signal.Signals) -> bool:
    """Send a signal to a process, and to no other that has its number by now; False if it isn't there."""
    handle = _handle(process.pid)
    try:
        if not alive(process):  # asked while the handle, where there is one, keeps the number from being given away
            return False
        if handle is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True


def _handle(pid: int) -> int | None:
    """Descriptor that stands for a process; None where the kernel has none, or lets us have none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def wait(process: Identity, seconds: float) -> bool:
    """Wait until a process is gone; False if it is still there after so many seconds."""
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def _started_linux(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    state, ticks = fields[0], fields[19]  # the 3rd and the 22nd of proc(5), counted from after the name
    return "" if state in "ZX" else f"{ticks}@{boot}"


def _started(pid: int) -> str:
    done = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, encoding="utf-8", check=False)
    state, _, when = done.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else when.strip()
