"""How long the command line takes to say what it can do, against those of the tools it stands on."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Cost, measure

PROJECT = Path(__file__).resolve().parent.parent
COMMANDS = ("lakeline", "kfp", "mlflow")


def startup(rounds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Time `--help` of each command, in turns.

    Parameters
    ----------
    rounds
        Measured runs a command. One more before them, which isn't counted, warms caches of files up.
    say
        Told about each command.

    Returns
    -------
    list[dict]
        By command: the median seconds and MiB, and its seconds as a multiple of the first one's.
    """
    programs = {name: Path(sys.executable).parent / name for name in COMMANDS}
    costs: dict[str, list[Cost]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="lakeline-bench-") as home:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "HOME": home, "LANG": "C.UTF-8"}
        for number in range(rounds + 1):
            for name, program in programs.items():
                command = [program, "--help"] if program.exists() else [sys.executable, "-m", "pipelines.cli", "--help"]
                cost, _ = measure(command, environment=environment, folder=Path(home))
                if number:
                    costs[name].append(cost)
    rows: list[dict[str, Any]] = [
        {
            "command": f"{name} --help",
            "seconds": round(median(cost.seconds for cost in costs[name]), 3),
            "mib": round(median(cost.largest_mib for cost in costs[name]), 1),
        }
        for name in COMMANDS
    ]
    for row in rows:
        row["times"] = round(row["seconds"] / rows[0]["seconds"], 1)
        say(f"{row['command']}: {row['seconds']:.2f} s")
    return rows
