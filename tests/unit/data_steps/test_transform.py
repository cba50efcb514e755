"""Clean rows on the branch: once, however often the step is tried."""

import contextlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lakeline.data.transform import transform
from lakeline.data.validate import validate
from lakeline.errors import DataError, LakeConflict, ValidationFailed
from tests.unit.data_steps.conftest import SPEC, SQL, Toy


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


def test_clean_columns_have_the_names_the_order_and_the_types_of_the_spec(toy: Toy, tmp_path: Path):
    """`X AS x` is called X by DuckDB where a table has it so; a column has no nulls in one arrival, and some in another."""
    toy.define(sql="SELECT Y AS y, X AS x, KIND AS kind, moment::DATE AS moment FROM raw WHERE x IS NOT NULL OR getvariable('part') = 2")
    got = toy.ingest(1, 2)

    result = transform("toy", got.branch, got.commit, got.arrivals)

    paths = [toy.lake.download(result.commit, f"clean/{arrival}.parquet", tmp_path / arrival) for arrival in ("01", "02")]
    first, second = (pq.read_schema(path) for path in paths)
    assert first.equals(second)
    assert [(field.name, str(field.type), field.nullable) for field in first] == [
        ("moment", "timestamp[us]", True),
        ("kind", "string", True),
        ("x", "double", True),
        ("y", "double", True),
    ]


def test_sum_of_whole_numbers_stays_whole(toy: Toy, tmp_path: Path):
    """DuckDB adds up in 128 bits, which it would write to Parquet as a 64-bit float."""
    toy.define(
        spec=SPEC.replace("x: { type: number }", "x: { type: integer }"),
        sql="SELECT moment, kind, sum(CASE WHEN y = 1 THEN 9007199254740993 ELSE 0 END) OVER () AS x, y FROM raw ORDER BY y DESC",
    )
    got = toy.ingest(1)

    result = transform("toy", got.branch, got.commit, got.arrivals)

    clean = pq.read_table(toy.lake.download(result.commit, "clean/01.parquet", tmp_path / "clean.parquet"))
    assert set(clean.column("x").to_pylist()) == {2**53 + 1}
    assert clean.column("y").to_pylist() == [float(y) for y in range(40, 0, -1)]
