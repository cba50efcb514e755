"""A small data set of its own for each test, delivered through the real steps."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakeline.data.ingest import Ingested, ingest
from lakeline.data.publish import Published, publish
from lakeline.data.specfile import push
from lakeline.data.transform import Transformed, transform
from lakeline.data.validate import validate
from lakeline.lake import Lake, open_lake
from lakeline.settings import get_settings

SPEC = """\
name: toy
title: Numbers with a trend
source:
  kind: url
  url: https://example.invalid/{part}.csv
  local: toy/{part:02d}.csv
  format: csv
  "null": NA
arrival:
  id: "{part:02d}"
  parameters:
    part: { type: integer, minimum: 1, maximum: 99 }
raw:
  columns:
    moment: { type: timestamp }
    kind: { type: text }
    x: { type: number, nullable: true }
    y: { type: number, minimum: -1000, maximum: 1000 }
clean:
  columns:
    moment: { type: timestamp }
    kind: { type: text, one_of: [a, b, c, d] }
    x: { type: number }
    y: { type: number }
target: { column: y }
features: { categorical: [kind], numeric: [x] }
split: { kind: random, seed: 42, holdout: 0.2, validation: 0.25 }
search:
  estimators:
    - name: linear_regression
slices: [kind]
"""
SQL = "-- x is needed\nSELECT moment, kind, x, y\nFROM raw\nWHERE x IS NOT NULL\n"


@dataclass(frozen=True)
class Delivery:
    """A delivery, as far as the steps before publish bring it."""

    ingested: Ingested
    transformed: Transformed
    reports: Sequence[Mapping[str, Any]]

    @property
    def arguments(self) -> tuple[str, str, str, list[str]]:
        return ("toy", self.ingested.branch, self.transformed.commit, self.ingested.arrivals)

    def publish(self) -> Published:
        return publish(*self.arguments, self.reports)


class Toy:
    """The data set's folders, and the steps on it."""

    def __init__(self, folder: Path) -> None:
        self.datasets, self.source = folder / "datasets" / "toy", folder / "source" / "toy"
        self.datasets.mkdir(parents=True)
        self.source.mkdir(parents=True)

    @property
    def lake(self) -> Lake:
        return open_lake("toy")

    def define(self, spec: str = SPEC, sql: str = SQL) -> None:
        (self.datasets / "dataset.yaml").write_text(spec)
        (self.datasets / "transform.sql").write_text(sql)
        push("toy")

    def write(self, part: int, rows: int = 40, change: Callable[[int, dict[str, Any]], None] | None = None) -> None:
        """Write one arrival's source: every tenth row has no x. `change` may alter a row, given its number from 1."""
        with (self.source / f"{part:02d}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["moment", "kind", "x", "y"])
            writer.writeheader()
            for number in range(1, rows + 1):
                moment = f"2024-{part:02d}-{1 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00"
                row: dict[str, Any] = {
                    "moment": moment,
                    "kind": "abc"[number % 3],
                    "x": "NA" if number % 10 == 0 else 100 * part + number / 8,
                    "y": number,
                }
                if change:
                    change(number, row)
                writer.writerow(row)

    def ingest(self, *parts: int, run: str = "") -> Ingested:
        return ingest("toy", [f"{part:02d}" for part in parts], run)

    def prepare(self, *parts: int, run: str = "") -> Delivery:
        """Run all steps before publish; reports go through JSON, as they do between tasks."""
        ingested = self.ingest(*parts, run=run)
        place = ("toy", ingested.branch)
        raw = validate(*place, ingested.commit, ingested.arrivals, "raw").to_dict()
        transformed = transform(*place, ingested.commit, ingested.arrivals)
        clean = validate(*place, transformed.commit, ingested.arrivals, "clean").to_dict()
        return Delivery(ingested, transformed, [json.loads(json.dumps(report)) for report in (raw, clean)])

    def deliver(self, *parts: int) -> Published:
        return self.prepare(*parts).publish()

    def put(self, arrival: str, table: pa.Table, folder: Path) -> str:
        """Commit clean rows to main past all checks."""
        path = folder / f"{arrival}.parquet"
        pq.write_table(table, path)
        return self.lake.commit("main", {f"clean/{arrival}.parquet": path}, f"Put {arrival}")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A defined data set with two arrivals at its source."""
    made = Toy(tmp_path)
    monkeypatch.setenv("LAKELINE_DATASETS", str(made.datasets.parent))
    monkeypatch.setenv("LAKELINE_DATA", str(made.source.parent))
    get_settings.cache_clear()
    made.define()
    made.write(1)
    made.write(2)
    return made
