"""Where the time of a run goes: seconds of each step, and what its imports take of them."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.contest import SIDES, WORKLOADS, Bench, Side

_BEGAN = re.compile(r"([\d:.]{12}) - INFO - Executing task \x1b\[96m'([^']+)'")
_ENDED = re.compile(r"([\d:.]{12}) - INFO - Task \x1b\[96m'([^']+)'\x1b\[0m finished")
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")
_SLOWEST = 4


@dataclass
class Step:
    """One step of a run; tasks that run beside each other (trials) are one.

    Attributes
    ----------
    seconds
        From its start to its end, measured without the profile of its imports.
    imports
        Seconds spent on importing, in all its processes; measuring them makes them slower by about a fifth.
    slowest
        Packages with the costliest imports, with all that they import in turn.
    """

    name: str
    seconds: float = 0.0
    tasks: int = 0
    imports: float = 0.0
    packages: dict[str, float] = field(default_factory=dict)

    @property
    def slowest(self) -> list[tuple[str, float]]:
        """Top-level packages with the costliest imports."""
        return sorted(self.packages.items(), key=lambda item: -item[1])[:_SLOWEST]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {key: value for key, value in asdict(self).items() if key != "packages"} | {"slowest": dict(self.slowest)}


def profile(data: Path, workload: str, side: Side = SIDES[-1]) -> list[Step]:
    """Run Lakeline twice, once for the times of its steps and once for their imports.

    Parameters
    ----------
    data
        Folder of local copies, LAKELINE_DATA.
    workload
        Key of WORKLOADS.
    side
        Which Lakeline.

    Returns
    -------
    list[Step]
        In order of their start; the last one, "outside", is the command line and the runner.
    """
    with tempfile.TemporaryDirectory(prefix="lakeline-bench-") as scratch:
        bench = Bench(Path(scratch), data)
        bench.run(side, WORKLOADS[workload])
        seconds, log = _run(bench, side, workload, {})
        steps = _times(log)
        steps["outside"] = Step("outside", seconds - sum(step.seconds for step in steps.values()), 1)
        _, log = _run(bench, side, workload, {"PYTHONPROFILEIMPORTTIME": "1", "LAKELINE_WARM": "0"})
        _imports(log, steps)
    return list(steps.values())


def _run(bench: Bench, side: Side, workload: str, extra: dict[str, str]) -> tuple[float, Sequence[str]]:
    with bench.home() as home:
        cost, printed = bench.measure(side, WORKLOADS[workload], home, extra)
        return cost.seconds, Path(json.loads(printed)["log"]).read_text(encoding="utf-8").splitlines()


def _times(log: Sequence[str]) -> dict[str, Step]:
    steps: dict[str, Step] = {}
    began: dict[str, datetime] = {}
    running: dict[str, set[str]] = {}
    for line in log:
        if match := _BEGAN.search(line):
            time, task = datetime.strptime(match[1], "%H:%M:%S.%f"), match[2]  # noqa: DTZ007 (only differences are of interest)
            name = _step(task)
            step = steps.setdefault(name, Step(name))
            step.tasks += 1
            if not running.setdefault(name, set()):
                began[name] = time
            running[name].add(f"{task} {step.tasks}")
        elif match := _ENDED.search(line):
            time, name = datetime.strptime(match[1], "%H:%M:%S.%f"), _step(match[2])  # noqa: DTZ007
            running[name].pop()
            if not running[name]:
                steps[name].seconds += (time - began[name]).total_seconds()
    return steps


def _imports(log: Sequence[str], steps: dict[str, Step]) -> None:
    step = steps["outside"]
    for line in log:
        if match := _BEGAN.search(line):
            step = steps[_step(match[2])]
        elif _ENDED.search(line):
            step = steps["outside"]
        elif match := _IMPORT.search(line):
            own, cumulative, indent, module = match.groups()
            step.imports += int(own) / 1e6
            if not indent:
                package = module.partition(".")[0]
                step.packages[package] = step.packages.get(package, 0.0) + int(cumulative) / 1e6


def _step(task: str) -> str:
    """Name of a task without the number of its copy."""
    return re.sub(r"-\d+$", "", task)
