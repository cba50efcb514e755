"""A spec and rows to learn from, small and made up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lakeline.data.spec import DatasetSpec

LINEAR_THEN_TREES: list[dict[str, Any]] = [
    {"name": "linear_regression"},
    {"name": "ridge", "parameters": {"alpha": {"low": 0.01, "high": 10, "log": True}}},
    {"name": "hist_gradient_boosting", "parameters": {"max_iter": 20, "max_leaf_nodes": {"choices": [7, 15]}}},
]


@pytest.fixture
def make_spec() -> Callable[..., DatasetSpec]:
    """Spec of a made-up data set; arguments replace its parts."""

    def make(**parts: Any) -> DatasetSpec:
        columns = {
            "route": {"type": "text"},
            "wet": {"type": "boolean"},
            "load": {"type": "integer"},
            "at": {"type": "timestamp"},
            "minutes": {"type": "number"},
        }
        base: dict[str, Any] = {
            "name": "ferries",
            "title": "Ferries",
            "source": {"kind": "url", "format": "csv", "url": "https://example.org/{year}.csv"},
            "arrival": {"id": "{year}", "parameters": {"year": {}}},
            "raw": {"columns": columns},
            "clean": {"columns": columns},
            "target": {"column": "minutes", "unit": "min"},
            "features": {"categorical": ["route", "wet"], "numeric": ["load"]},
            "split": {"kind": "random"},
            "slices": ["route"],
            "search": {"trials": 5, "estimators": LINEAR_THEN_TREES},
        }
        return DatasetSpec.model_validate(base | parts)

    return make


@pytest.fixture
def make_rows() -> Callable[..., pd.DataFrame]:
    """Rows of it: minutes depend on route, rain and load, and on chance."""

    def make(rows: int = 2000, seed: int = 0) -> pd.DataFrame:
        chance = np.random.default_rng(seed)
        route = chance.choice(np.array(["a", "b", "c", None], dtype=object), rows, p=[0.5, 0.3, 0.15, 0.05])
        wet = chance.random(rows) < 0.3
        load = pd.array(chance.integers(0, 4, rows), dtype="Int64")
        load[chance.random(rows) < 0.1] = pd.NA
        base = pd.Series(route).map({"a": 10.0, "b": 20.0, "c": 35.0}).fillna(15.0)
        minutes = base + 4.0 * wet + 2.0 * pd.Series(load).fillna(1).astype(float) + chance.normal(0, 1.5, rows)
        valid = chance.random(rows) < 0.25
        at = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows), unit="min")
        return pd.DataFrame({"route": route, "wet": wet, "load": load, "at": at, "minutes": minutes, "_validation": valid})

    return make


@pytest.fixture
def train(tmp_path: Path, make_rows: Callable[..., pd.DataFrame]) -> Path:
    """Training rows as the step `split` writes them."""
    path = tmp_path / "train.parquet"
    make_rows().to_parquet(path)
    return path


@pytest.fixture
def holdout(tmp_path: Path, make_rows: Callable[..., pd.DataFrame]) -> Path:
    """Held-out rows as the step `split` writes them."""
    path = tmp_path / "holdout.parquet"
    make_rows(700, seed=1).drop(columns="_validation").to_parquet(path)
    return path
