"""Whole commands, as a person starts them, and the processes that each is made of."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.campaign import processes
from tests.campaign.place import Place
from tests.campaign.processes import LIMIT, Ended
from tests.campaign.rows import NAME

STEPS = 13
"""Steps of a run that has everything to do."""

_OURS = ("_KFP_RUNTIME", "LAKELINE_TERMINATION_LOG")
"""What the environment of a step has, and that of a command has not."""


class Command:
    """`lakeline run continuous`, under way."""

    def __init__(self, place: Place, arrival: str) -> None:
        self._place = place
        self._before = set(self._runs())
        self._said = place.logs / "command.log"
        environment = {name: value for name, value in place.environment.items() if name not in _OURS} | {"COLUMNS": "500"}
        command = [str(Path(sys.executable).with_name("lakeline")), "run", "continuous", "--dataset", NAME, "--arrival", arrival]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=place.folder / "user",
                start_new_session=True,
            )

    def reached(self, steps: int, delay: float) -> None:
        """Wait until so many steps are done, and then so many seconds; or until the command's end."""
        deadline = time.monotonic() + LIMIT
        while self._process.poll() is None and self._done() < steps and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(delay)

    def strike(self, target: str, number: int, chance: random.Random) -> str:
        """Send a signal; returns to what.

        Parameters
        ----------
        target
            "all" that this run is made of; "one" of it; or "command": the process that was started (Ctrl-C in a terminal: only it
            is in the foreground's group).
        number
            The signal.
        chance
            Which one.
        """
        home = self._place.home
        if target == "command":
            processes.kill([self._process.pid], number)
            return "the command alone"
        pids = sorted(processes.of_home(home))
        if target == "all":
            for _ in range(50 if number == signal.SIGKILL else 1):
                processes.kill(pids, number)
                pids = [pid for pid in processes.of_home(home) if pid != self._process.pid or self._process.poll() is None]
                if not pids:
                    break
                time.sleep(0.01)
            return "all of its processes"
        if not pids:
            return "nothing: it had ended"
        pid = chance.choice(pids)
        what = processes.command_line(pid)
        processes.kill([pid], number)
        return f"one process ({_short(what)})"

    def wait(self) -> Ended:
        """Wait for the end. What was said is that of the command, and the last lines of its run's log."""
        try:
            code: int | None = self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = None
        return Ended(code, self._said.read_text(encoding="utf-8", errors="replace"), self._tail())

    def _tail(self) -> str:
        logs = [folder / "run.log" for folder in sorted(set(self._runs()) - self._before)]
        texts = [log.read_text(encoding="utf-8", errors="replace") for log in logs if log.is_file()]
        return "\n".join("\n".join(text.splitlines()[-40:]) for text in texts)

    def _runs(self) -> list[Path]:
        return list((self._place.home / "runs").glob("*-*"))

    def _done(self) -> int:
        new = set(self._runs()) - self._before
        return sum(name == "executor_output.json" for run in new for _, _, names in os.walk(run / "steps") for name in names)


def _short(command: str) -> str:
    words = [Path(word).name for word in command.split()]
    return " ".join(words[:4])[:80]
