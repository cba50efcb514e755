"""Clean rows on the branch: once, however often the step is tried."""

import contextlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lakeline.data.transform import transform
from lakeline.data.validate import validate
from lakeline.errors import DataError, LakeConflict, ValidationFailed
from tests.unit.data_steps.conftest import SQL, Toy


def test_rows_are_kept_in_order_and_counted(toy: Toy, tmp_path: Path):
    got = toy.ingest(1, 2)

    result = transform("toy", got.branch, got.commit, got.arrivals)

    assert (result.rows_raw, result.rows_clean, result.per_arrival) == (80, 72, {"01": (40, 36), "02": (40, 36)})
    clean = pq.read_table(toy.lake.download(result.commit, "clean/02.parquet", tmp_path / "clean.parquet"))
    assert clean.column("y").to_pylist() == [number for number in range(1, 41) if number % 10]
    said = toy.lake.log(got.branch, 1)[0]
    assert said.parents == (got.commit,)
    assert said.metadata.items() >= {"arrivals": "01,02", "rows_raw": "80", "rows_clean": "72"}.items()


def test_retry_returns_the_commit_of_the_first_try(toy: Toy):
    got = toy.ingest(1)
    first = transform("toy", got.branch, got.commit, got.arrivals)

    assert transform("toy", got.branch, got.commit, got.arrivals) == first
    toy.lake.commit(got.branch, {"_lakeline/reports/01.json": b"{}"}, "A report on top of it")
    assert transform("toy", got.branch, got.commit, got.arrivals) == first


def test_branch_that_went_on_is_left_alone(toy: Toy):
    got = toy.ingest(1)
    toy.lake.commit(got.branch, {"raw/01.parquet": b"other"}, "Somebody else's")

    with pytest.raises(LakeConflict):
        transform("toy", got.branch, got.commit, got.arrivals)


def test_no_rows_left_is_an_error(toy: Toy):
    toy.define(sql="SELECT * FROM raw WHERE y > 1000")
    got = toy.ingest(1, 2)

    with pytest.raises(
        DataError, match=r"^toy 01: all 40 rows were filtered out by transform\.sql\. Nothing was merged\. .*dataset push toy"
    ):
        transform("toy", got.branch, got.commit, got.arrivals)

    assert toy.lake.resolve(got.branch) == got.commit


def test_value_that_sql_stumbles_over_is_said_with_its_arrival(toy: Toy):
    toy.define(sql=SQL.replace("x, y", "x, kind::INTEGER + y AS y"))
    got = toy.ingest(1)

    with pytest.raises(DataError, match=r"^toy 01: transform\.sql.*'b'.* Nothing was merged\. Put datasets/toy/transform\.sql right"):
        transform("toy", got.branch, got.commit, got.arrivals)


def test_sql_reads_parameters_of_the_arrival(toy: Toy, tmp_path: Path):
    toy.define(sql="SELECT moment, kind, x, y + 100 * getvariable('part') AS y FROM raw WHERE getvariable('arrival') = '02' AND x < 204")
    got = toy.ingest(2)

    result = transform("toy", got.branch, got.commit, got.arrivals)

    clean = pq.read_table(toy.lake.download(result.commit, "clean/02.parquet", tmp_path / "clean.parquet"))
    assert clean.column("y").to_pylist()[:2] == [201, 202]


def test_transform_after_a_refused_layer_finds_its_commit_below_the_report(toy: Toy):
    toy.write(1, change=lambda number, row: row.update(kind="zebra"))
    got = toy.ingest(1)
    first = transform("toy", got.branch, got.commit, got.arrivals)
    with contextlib.suppress(ValidationFailed):
        validate("toy", got.branch, first.commit, got.arrivals, "clean")

    assert toy.lake.resolve(got.branch) != first.commit
    assert transform("toy", got.branch, got.commit, got.arrivals).commit == first.commit
