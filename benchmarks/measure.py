"""Wall time and peak memory of a command and all that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.05
"""Seconds between two looks at the process tree."""

_KIB = 1024


class CommandFailed(Exception):
    """A measured command ended with an error: its time means nothing."""


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    Attributes
    ----------
    seconds
        From start to end, as a clock on the wall has it.
    cpu_seconds
        User and system time of all processes.
    tree_mib
        Peak of the memory of all processes alive at one moment, sampled every INTERVAL. On Linux a page that processes share
        is counted once (proportional set size); elsewhere once for each (resident set size), which overstates many processes.
    largest_mib
        Peak resident memory of the largest single process, as the kernel recorded it.
    """

    seconds: float
    cpu_seconds: float
    tree_mib: float
    largest_mib: float


def measure(command: Sequence[str | Path], *, environment: Mapping[str, str], folder: Path) -> tuple[Cost, str]:
    """Run a command and measure it with its whole process tree.

    Parameters
    ----------
    command
        Program and arguments.
    environment
        All of its environment.
    folder
        Where it runs.

    Returns
    -------
    tuple[Cost, str]
        What it cost, and its standard output.

    Raises
    ------
    CommandFailed
        If it ends with another code than 0; with the end of what it wrote to standard error.
    """
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        began = time.perf_counter()
        child = subprocess.Popen([str(word) for word in command], env=dict(environment), cwd=folder, stdout=stdout, stderr=stderr)
        sampler = _Sampler(child.pid)
        sampler.start()
        _, status, usage = os.wait4(child.pid, 0)  # the child's usage alone: getrusage would mix all children so far
        seconds = time.perf_counter() - began
        sampler.end()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        printed = err.read_text(encoding="utf-8")[-3000:] + out.read_text(encoding="utf-8")[-1000:]
        raise CommandFailed(f"{child.args} ended with {child.returncode}:\n{printed}")
    unit = 1 if sys.platform == "darwin" else _KIB  # ru_maxrss: bytes on macOS, KiB on Linux
    cost = Cost(seconds, usage.ru_utime + usage.ru_stime, sampler.peak / 2**20, usage.ru_maxrss * unit / 2**20)
    return cost, out.read_text(encoding="utf-8")


class _Sampler(threading.Thread):
    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._root = root
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.peak = max(self.peak, _tree_bytes(self._root))

    def end(self) -> None:
        self._ended.set()
        self.join()


def _tree_bytes(root: int) -> int:
    """Bytes of memory of a process and its descendants."""
    linux = Path("/proc/self/smaps_rollup").exists()
    processes = {pid: (parent, size) for pid, parent, size in (_proc() if linux else _ps())}
    family, grown = {root}, True
    while grown:
        more = {pid for pid, (parent, _) in processes.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(_proportional(pid) if linux else processes[pid][1] for pid in family if pid in processes)


def _proc() -> Iterable[tuple[int, int, int]]:
    for name in os.listdir("/proc"):  # noqa: PTH208 (a Path for each process, many times a second, would cost more than the rest)
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                    yield int(name), int(stat.read().rpartition(b")")[2].split()[1]), 0
            except OSError:  # it ended meanwhile
                continue


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:  # noqa: PTH123
            return next((int(line.split()[1]) * _KIB for line in rollup if line.startswith(b"Pss:")), 0)
    except OSError:
        return 0


def _ps() -> Iterable[tuple[int, int, int]]:
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,rss="], capture_output=True, encoding="utf-8", check=True).stdout
    for line in listed.splitlines():
        pid, parent, size = line.split()
        yield int(pid), int(parent), int(size) * _KIB
