"""A lake with a small data set, and an MLflow store of its own for each test: MLflow takes seconds to make one, so it is copied."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lakeline.lake import CommitId, Lake, open_lake
from lakeline.registry import Decision, Registered, promote, register
from lakeline.registry.store import connect
from lakeline.settings import get_settings
from lakeline.training.search import TrialResult

NAME = "ferries"
ARRIVALS = ("2023", "2024")
COLUMNS = {"route": {"type": "text"}, "load": {"type": "integer"}, "minutes": {"type": "number"}}
SPEC: dict[str, Any] = {
    "name": NAME,
    "title": "Ferries",
    "source": {"kind": "url", "format": "csv", "url": "https://example.org/{year}.csv"},
    "arrival": {"id": "{year}", "parameters": {"year": {}}},
    "raw": {"columns": COLUMNS},
    "clean": {"columns": COLUMNS},
    "target": {"column": "minutes", "unit": "min"},
    "features": {"categorical": ["route"], "numeric": ["load"]},
    "split": {"kind": "random"},
    "slices": ["route"],
    "gates": {"bounds": {"rmse": {"maximum": 4}}, "slice_rows": 20},
    "search": {"trials": 2, "estimators": [{"name": "linear_regression"}, {"name": "decision_tree", "parameters": {"max_depth": 1}}]},
}


def _rows(seed: int) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    route, load = chance.choice(["a", "b", "c"], 400), chance.integers(0, 5, 400)
    minutes = pd.Series(route).map({"a": 10.0, "b": 20.0, "c": 35.0}) + 2.0 * load + chance.normal(0, 1, 400)
    return pd.DataFrame({"route": route, "load": load, "minutes": minutes})


@dataclass
class World:
    """A lake with two arrivals, and runs of the training steps on it, in this process."""

    lake: Lake
    folder: Path
    commit: CommitId
    runs: int = 0
    last: dict[str, Any] = field(default_factory=dict)

    def push(self, **parts: Any) -> CommitId:
        """Commit the spec with some of its parts replaced; runs then learn from that commit."""
        self.commit = self.lake.commit("main", {"_lakeline/dataset.yaml": json.dumps(SPEC | parts).encode()}, "spec")
        return self.commit

    def train(self, trial: int = 0, run_id: str | None = None) -> Registered:
        """Split, try, fit and evaluate one trial, and register it."""
        self.fit(trial, run_id)
        return self.register()

    def fit(self, trial: int = 0, run_id: str | None = None) -> None:
        """Split, try, fit and evaluate one trial."""
        from lakeline.data.split import split
        from lakeline.training.evaluate import evaluate
        from lakeline.training.fit import fit
        from lakeline.training.search import run_trial

        self.runs += 1
        here = self.folder / f"run{self.runs}"
        here.mkdir()
        train, holdout, model = here / "train.parquet", here / "holdout.parquet", here / "model"
        made = split(NAME, self.commit, "*", train, holdout)
        results = [run_trial(NAME, self.commit, train, trial).to_json()]
        fit(NAME, self.commit, train, results, model)
        evaluation = evaluate(NAME, self.commit, model, holdout).to_dict()
        results.append(TrialResult(9, "ridge", {"alpha": 1.0}, {}, 2.5, time.time() - 60, "it rained").to_json())
        self.last = {
            "model": model,
            "evaluation": evaluation,
            "results": results,
            "lineage": made.lineage,
            "run_id": run_id or f"training-{self.runs}",
            "started": time.time() - 100,
        }

    def register(self) -> Registered:
        """Register what was trained last, as the step does, and as a retry of the step does."""
        return register(NAME, self.commit, **self.last)

    def settle(self, version: int) -> None:
        """Tag the commit of a version, as the last write of its candidacy does: a run made alike makes another one then."""
        self.lake.tag(f"model/{version}", self.commit)

    def promote(self, version: int) -> Decision:
        """Promote, as the step does after the last training."""
        return promote(NAME, version, self.last["evaluation"])

    def run(self, trial: int = 0) -> Decision:
        """Train and promote: all that a run does."""
        return self.promote(self.train(trial).version)

    def aliases(self) -> dict[str, int]:
        """Where the aliases stand."""
        return {alias: int(version) for alias, version in self.client.get_registered_model(NAME).aliases.items()}

    @property
    def client(self) -> Any:
        """MLflow's client of this world's store."""
        from lakeline.registry.store import connect

        return connect()

    def tags(self, version: int) -> dict[str, str]:
        """Tags of a version."""
        return self.client.get_model_version(NAME, str(version)).tags


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite file with nothing in it."""
    home = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKELINE_HOME", str(home))
        get_settings.cache_clear()
        connect()
    get_settings.cache_clear()
    return home / "mlflow.db"


@pytest.fixture
def store(home: Path, empty_store: Path) -> Path:
    """The store of this test."""
    home.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(empty_store, home / "mlflow.db"))


@pytest.fixture
def world(store: Path, tmp_path: Path) -> World:
    """A lake with two arrivals and a spec, and an empty store."""
    lake = open_lake(NAME, create=True)
    for seed, arrival in enumerate(ARRIVALS):
        _rows(seed).to_parquet(tmp_path / f"{arrival}.parquet", index=False)
    files: dict[str, Path | bytes] = {f"clean/{arrival}.parquet": tmp_path / f"{arrival}.parquet" for arrival in ARRIVALS}
    files |= {"_lakeline/dataset.yaml": json.dumps(SPEC).encode(), "_lakeline/transform.sql": b"SELECT * FROM raw"}
    return World(lake, tmp_path, lake.commit("main", files, "two arrivals"))


@pytest.fixture
def alone(home: Path) -> Callable[[str], str]:
    """Run Python code in a fresh process of this test's home, and give what it prints."""

    def run(code: str) -> str:
        import subprocess
        import sys
        import textwrap

        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
