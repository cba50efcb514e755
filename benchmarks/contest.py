"""The same pipeline as the plain script of the field and as Lakeline, from raw months to a tracked model."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Cost, measure

PROJECT = Path(__file__).resolve().parent.parent
LAKELINE = [sys.executable, "-m", "pipelines.cli"]
DATASET = "nyc-taxi"

WORKLOADS = {
    "1 month": ["2021-03"],
    "14 months": [f"2022-{month:02d}" for month in range(1, 13)] + ["2023-01", "2023-02"],
}


@dataclass(frozen=True)
class Outcome:
    """What came out of a run, to see that the sides did the same."""

    rows: int
    rmse: float


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    name: str
    command: Callable[[Path, Path, Sequence[str]], list[str]]
    """From home, data and months to the command."""
    outcome: Callable[[str], Outcome]


@dataclass
class Result:
    """All rounds of one side on one workload."""

    workload: str
    side: str
    costs: list[Cost] = field(default_factory=list)
    outcome: Outcome | None = None

    def middle(self, name: str) -> float:
        """Median of a cost over the rounds."""
        return median(getattr(cost, name) for cost in self.costs)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        names = Cost.__dataclass_fields__
        return {
            "workload": self.workload,
            "side": self.side,
            "outcome": asdict(self.outcome) if self.outcome else None,
            "median": {name: round(self.middle(name), 3) for name in names},
            "rounds": [{name: round(getattr(cost, name), 3) for name in names} for cost in self.costs],
        }


def _script(home: Path, data: Path, months: Sequence[str]) -> list[str]:
    files = [str(data / DATASET / f"green_tripdata_{month}.parquet") for month in months]
    return [sys.executable, str(PROJECT / "benchmarks" / "script.py"), f"sqlite:///{home / 'mlflow.db'}", *files]


def _lakeline(*options: str) -> Callable[[Path, Path, Sequence[str]], list[str]]:
    def command(_home: Path, _data: Path, months: Sequence[str]) -> list[str]:
        arrivals = ",".join(f"green-{month}" for month in months)
        return [*LAKELINE, "run", "continuous", "--dataset", DATASET, "--arrival", arrivals, "--json", *options]

    return command


def _script_outcome(printed: str) -> Outcome:
    match = re.search(r"rows=(\d+) rmse=([\d.]+)", printed)
    if match is None:
        raise ValueError(f"the script printed no result: {printed[-500:]}")
    return Outcome(int(match[1]), float(match[2]))


def _lakeline_outcome(printed: str) -> Outcome:
    result = json.loads(printed)
    if result["verdict"] != "promoted":
        raise ValueError(f"Lakeline promoted no model: {result['reasons']}")
    return Outcome(result["rows_clean"], round(result["metrics"]["rmse"], 4))


SIDES = (
    Side("script", _script, _script_outcome),
    Side("lakeline, same model", _lakeline("--trials", "1"), _lakeline_outcome),
    Side("lakeline, whole search", _lakeline(), _lakeline_outcome),
)


def contest(data: Path, workloads: Sequence[str], rounds: int, say: Callable[[str], None]) -> list[Result]:
    """Let the sides take turns, so that what else the machine does falls on all of them.

    Parameters
    ----------
    data
        Folder of local copies, LAKELINE_DATA: the network is not part of the comparison.
    workloads
        Keys of WORKLOADS.
    rounds
        Measured runs a side and workload. One more before them, which isn't counted, warms caches of files up.
    say
        Told about each run.

    Returns
    -------
    list[Result]
        By workload, then side.
    """
    with tempfile.TemporaryDirectory(prefix="lakeline-bench-") as scratch:
        bench = Bench(Path(scratch), data)
        for side in SIDES:
            bench.run(side, WORKLOADS["1 month"])
        results: list[Result] = []
        for workload in workloads:
            of_workload = [Result(workload, side.name) for side in SIDES]
            for number in range(1, rounds + 1):
                for side, result in zip(SIDES, of_workload, strict=True):
                    cost, result.outcome = bench.run(side, WORKLOADS[workload])
                    result.costs.append(cost)
                    say(f"{workload} {number}/{rounds}, {side.name}: {cost.seconds:.1f} s, {cost.tree_mib:.0f} MiB; {result.outcome}")
            counted = {result.outcome.rows for result in of_workload if result.outcome}
            if len(counted) != 1:
                raise ValueError(f"{workload}: the sides learned from different rows: {counted}")
            results += of_workload
        return results


class Bench:
    """Fresh homes with stores that are set up already: MLflow's first migration of its database is on nobody's bill."""

    def __init__(self, scratch: Path, data: Path) -> None:
        self._scratch = scratch
        self._data = data
        self._template = scratch / "template"
        self._template.mkdir()
        with self.home() as home:
            store = f"sqlite:///{self._template / 'mlflow.db'}"
            migrate = f"import mlflow; mlflow.set_tracking_uri({store!r}); mlflow.search_experiments()"
            measure([sys.executable, "-c", migrate], environment=self.environment(home), folder=home)
            measure([*LAKELINE, "dataset", "push", DATASET], environment=self.environment(home), folder=home)
            shutil.copytree(home, self._template, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mlflow.db", "std*.txt"))

    def run(self, side: Side, months: Sequence[str]) -> tuple[Cost, Outcome]:
        """Run a side in a fresh home."""
        with self.home() as home:
            cost, printed = self.measure(side, months, home)
            return cost, side.outcome(printed)

    def measure(self, side: Side, months: Sequence[str], home: Path, extra: Mapping[str, str] | None = None) -> tuple[Cost, str]:
        """Run a side in this home; what it cost and printed."""
        environment = self.environment(home) | dict(extra or {})
        return measure(side.command(home, self._data, months), environment=environment, folder=home)

    @contextmanager
    def home(self) -> Generator[Path]:
        """Give a fresh home, with stores as they are before a first run."""
        home = self._scratch / "home"
        shutil.copytree(self._template, home)
        try:
            yield home
        finally:
            shutil.rmtree(home)

    def environment(self, home: Path) -> dict[str, str]:
        """Environment of a stranger, the same for all sides."""
        user = self._scratch / "user"
        user.mkdir(exist_ok=True)
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "HOME": str(user),
            "LANG": "C.UTF-8",
            "LAKELINE_HOME": str(home),
            "LAKELINE_DATA": str(self._data),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
