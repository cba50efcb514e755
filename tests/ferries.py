"""Versions of a small model, fitted and registered as runs do it, for tests of what serves them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lakeline.data.spec import DatasetSpec
from lakeline.lake import open_lake
from lakeline.registry import register
from lakeline.registry.files import fetch_version
from lakeline.serving.release import Release
from lakeline.settings import get_settings
from lakeline.training.fit import fit_best
from lakeline.training.search import TrialResult

NAME = "ferries"
_COLUMNS = {"route": {"type": "text"}, "load": {"type": "integer"}, "minutes": {"type": "number"}}
_SPEC: dict[str, Any] = {
    "name": NAME,
    "title": "Ferries",
    "source": {"kind": "url", "format": "csv", "url": "https://example.org/{year}.csv"},
    "arrival": {"id": "{year}", "parameters": {"year": {}}},
    "raw": {"columns": _COLUMNS},
    "clean": {"columns": _COLUMNS},
    "target": {"column": "minutes", "unit": "min"},
    "features": {"categorical": ["route"], "numeric": ["load"]},
    "split": {"kind": "random"},
    "search": {"trials": 2, "estimators": [{"name": "linear_regression"}, {"name": "decision_tree", "parameters": {"max_depth": 1}}]},
}

BROKEN = 3
"""Version whose recorded predictions are not its own: no server may get ready with it."""


@dataclass(frozen=True)
class Ferries:
    """A store with three versions: 1 and 2 predict differently, 3 is broken. None has an alias.

    Attributes
    ----------
    uri
        MLflow's.
    releases
        By version.
    predictions
        What versions 1 and 2 predict for `ROWS`.
    """

    uri: str
    releases: Mapping[int, Release]
    predictions: Mapping[int, list[float]]


ROWS = pd.DataFrame({"route": ["a", "b", "c"], "load": [0.0, 1.0, 4.0]})


def make(home: Path) -> Ferries:
    """Fit and register them, in the store of a home of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKELINE_HOME", str(home))
        get_settings.cache_clear()
        made = _make(home)
    get_settings.cache_clear()
    return made


def _make(home: Path) -> Ferries:
    open_lake(NAME, create=True)  # where registering looks for what an earlier run has left
    chance = np.random.default_rng(0)
    route, load = chance.choice(["a", "b", "c"], 400), chance.integers(0, 5, 400)
    minutes = pd.Series(route).map({"a": 10.0, "b": 20.0, "c": 35.0}) + 2.0 * load + chance.normal(0, 1, 400)
    train = home / "train.parquet"
    pd.DataFrame({"route": route, "load": load, "minutes": minutes}).to_parquet(train, index=False)
    releases: dict[int, Release] = {}
    predictions: dict[int, list[float]] = {}
    for version, (estimator, parameters) in enumerate(
        [("linear_regression", {}), ("decision_tree", {"max_depth": 1}), ("linear_regression", {})], start=1
    ):
        model = home / f"model{version}"
        result = TrialResult(0, estimator, parameters, {"rmse": 1.0}, 0.1, time.time())
        fit_best(DatasetSpec.model_validate(_SPEC), f"c0ffee{version}", train, [result], model)
        if version == BROKEN:
            card = json.loads((model / "model.json").read_text())
            card["example"]["predictions"] = [value + 1 for value in card["example"]["predictions"]]
            (model / "model.json").write_text(json.dumps(card))
        evaluation = {"candidate": {"rmse": 1.0}, "production": None, "metric": "rmse", "rows": 40}
        register(NAME, f"c0ffee{version}", model, evaluation, [result.to_json()], {}, f"training-{version}", time.time())
        files = home / f"files{version}"
        releases[version] = Release(NAME, version, fetch_version(NAME, version, files))
        predictions[version] = _predict(files)
    return Ferries(get_settings().mlflow_uri, releases, predictions)


def _predict(files: Path) -> list[float]:
    from lakeline.training.model import load

    model, _ = load(files)
    return [float(value) for value in model.predict(ROWS)]


def end_all(model: str = NAME) -> None:
    """Leave no process behind, whatever a test has done to them."""
    from lakeline.serving.local.folder import Folder
    from lakeline.serving.local.processes import send, wait

    state = Folder(model).read()
    supervisor = [state.supervisor] if state.supervisor else []
    for process in supervisor:
        send(process, signal.SIGTERM)
        wait(process, 30)
    state = Folder(model).read()
    servers = [server.process for arm in state.arms.values() for server in arm.servers]
    for process in [*supervisor, *servers, *state.trials]:
        send(process, signal.SIGKILL)
        assert wait(process, 10)
