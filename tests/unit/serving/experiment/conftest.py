"""A lake whose clean rows have a key, a prediction log that is written as servers write it, and a test under way."""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakeline.data.spec import DatasetSpec
from lakeline.data.specfile import pinned_spec
from lakeline.lake import CommitId, Lake, open_lake
from lakeline.registry.store import connect
from lakeline.serving.experiment import running
from lakeline.serving.experiment.assessment import Units
from lakeline.serving.experiment.join import units_of
from lakeline.serving.experiment.state import State
from lakeline.serving.experiment.truth import truth_since
from lakeline.serving.release import variant_of
from lakeline.serving.smoke import Smoke
from tests.ferries import NAME as FERRIES
from tests.ferries import Ferries, make
from tests.unit.serving.experiment.standin import StandIn

NAME = "parcels"
COLUMNS = {"parcel": {"type": "integer"}, "load": {"type": "number"}, "minutes": {"type": "number"}}
SPEC: dict[str, Any] = {
    "name": NAME,
    "title": "Parcels",
    "source": {"kind": "url", "format": "csv", "url": "https://example.org/{year}.csv"},
    "arrival": {"id": "{year}", "parameters": {"year": {}}},
    "raw": {"columns": COLUMNS},
    "clean": {"columns": COLUMNS},
    "target": {"column": "minutes", "unit": "min"},
    "features": {"numeric": ["load"]},
    "split": {"kind": "random"},
    "search": {"trials": 1, "estimators": [{"name": "linear_regression"}]},
    "experiment": {"key": "parcel", "minimum": 20, "maximum": 1000},
}
HOUR = 3600.0


def table(entries: list[dict[str, Any]]) -> pa.Table:
    """Rows of the log."""
    kinds = {
        "request_id": pa.string(),
        "row": pa.int32(),
        "key": pa.string(),
        "time": pa.timestamp("us", "UTC"),
        "model": pa.string(),
        "version": pa.int32(),
        "variant": pa.string(),
        "experiment": pa.string(),
        "prediction": pa.float64(),
        "feature_load": pa.float64(),
    }
    return pa.table({name: pa.array([each.get(name) for each in entries], kind) for name, kind in kinds.items()})


@dataclass
class Trial:
    """A test of version 2 against version 1 that began an hour ago."""

    lake: Lake
    log: Path
    state: State
    entries: list[dict[str, Any]] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def spec(self) -> DatasetSpec:
        """As the lake has it."""
        return pinned_spec(self.lake, self.lake.resolve("main")).spec

    def answer(self, prediction: float, **said: Any) -> str:
        """Log a row, half an hour after the start unless `time` says otherwise; who answers is who must, unless `version` says."""
        request = said.setdefault("request_id", f"request-{next(self.numbers)}")
        key = said.get("key")
        variant = variant_of(key or request, self.state.id, self.state.weight)
        entry = {"row": 0, "model": NAME, "experiment": self.state.id, "prediction": prediction, "feature_load": 1.0, "variant": variant}
        entry |= {"version": {"production": 1, "challenger": 2}[variant], "time": self.at(HOUR / 2)} | said
        self.entries.append(entry)
        return request

    def at(self, seconds: float) -> datetime:
        """So long after the start."""
        return datetime.fromtimestamp((self.state.started or 0) + seconds, UTC)

    def deliver(self, rows: dict[str, list[Any]], arrival: str = "2024") -> CommitId:
        """Commit clean rows, now."""
        return self._commit(f"clean/{arrival}.parquet", rows)

    def bring(self, rows: dict[str, list[Any]], name: str = "brought") -> CommitId:
        """Commit truth, now."""
        return self._commit(f"truth/{name}.parquet", rows)

    def _commit(self, path: str, rows: dict[str, list[Any]]) -> CommitId:
        local = self.log.parent / "rows.parquet"
        pd.DataFrame(rows).to_parquet(local, index=False)
        return self.lake.commit("main", {path: local}, path)

    def units(self, metric: str = "mae") -> Units:
        """What is judged, of all that was logged."""
        self.flush()
        truth = truth_since(self.lake, self.spec, self.state.started or 0)
        return units_of(self.state, metric, str(self.log), NAME, truth)

    def flush(self) -> None:
        """Write the log: a file a day and variant, as servers do."""
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for each in self.entries:
            groups.setdefault((each["time"].date().isoformat(), each["variant"]), []).append(each)
        for (day, variant), entries in groups.items():
            folder = self.log / NAME / f"date={day}"
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table(entries), folder / f"{variant}-{next(self.numbers)}.parquet")
        self.entries.clear()


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A test, with an empty log, in a lake with one earlier arrival."""
    lake = open_lake(NAME, create=True)
    files = {"_lakeline/dataset.yaml": json.dumps(SPEC).encode(), "_lakeline/transform.sql": b"SELECT * FROM raw"}
    commit = lake.commit("main", files, "spec")
    started = datetime.now(UTC).timestamp() - HOUR
    return Trial(lake, tmp_path / "predictions", State("test-1", 1, 2, 0.5, True, commit, "ann", started))


@pytest.fixture
def judged() -> Callable[..., Units]:
    """Units with losses drawn for both variants."""

    def draw(production: int, challenger: int, better: float = 0.0, seed: int = 1) -> Units:
        chance = np.random.default_rng(seed)
        owner = chance.permutation(np.arange(production + challenger) < challenger)
        losses = chance.exponential(size=len(owner)) * np.where(owner, (1 - better) ** 2, 1)
        return Units(losses, owner, len(owner))

    return draw


@pytest.fixture(scope="session")
def ferries(tmp_path_factory: pytest.TempPathFactory) -> Ferries:
    """Versions of a model: 1 is better than 2."""
    return make(tmp_path_factory.mktemp("ferries"))


@pytest.fixture
def site(ferries: Ferries, home: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Version 2 serves, and has the alias."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(ferries.uri.removeprefix("sqlite:///"), home / "mlflow.db")
    columns = {"route": {"type": "text"}, "load": {"type": "integer"}, "minutes": {"type": "number"}}
    tables = {"raw": {"columns": columns}, "clean": {"columns": columns}}
    spec = SPEC | {"name": FERRIES, "features": {"numeric": ["load"]}, "experiment": {"minimum": 20, "weight": 0.3}} | tables
    files = {"_lakeline/dataset.yaml": json.dumps(spec).encode(), "_lakeline/transform.sql": b"SELECT * FROM raw"}
    commit = open_lake(FERRIES, create=True).commit("main", files, "spec")
    for version in ferries.releases:
        connect().set_model_version_tag(FERRIES, str(version), "data_commit", commit)
    connect().set_registered_model_alias(FERRIES, "production", "2")
    stand_in = StandIn(arms={"production": ferries.releases[2]})
    monkeypatch.setattr(running, "open_site", lambda: stand_in)
    # Nothing serves at a stand-in's trial, so there is nothing to try.
    monkeypatch.setattr(running, "smoke", lambda *_: Smoke(1, 0, 1.0, 1.0, []))
    return stand_in
