"""One type for each declared type, whatever a column is stored as: what becomes of each value, and which have no place."""

import datetime as dt
import decimal
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakeline.data.conversion import ARROW, converted, lost, write_converted
from lakeline.data.spec import Column, ColumnType, Table

D = decimal.Decimal


def utc(*parts: int) -> dt.datetime:
    """Time of UTC that says nothing of a zone, as clean rows have it."""
    return dt.datetime(*parts, tzinfo=dt.UTC).replace(tzinfo=None)


NOON = utc(2024, 2, 29, 12)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("integer", pa.array([0, 255], pa.uint8()), [0, 255]),
        ("integer", pa.array([2**63 - 1, 2**63, None], pa.uint64()), [2**63 - 1, "lost", None]),
        ("integer", pa.array([3.0, 2.5, -(2.0**63), 2.0**63, math.nan, math.inf]), [3, "lost", -(2**63), "lost", None, "lost"]),
        ("integer", pa.array([D("7.00"), D("7.50")], pa.decimal128(9, 2)), [7, "lost"]),
        ("integer", pa.array([D(2**53 + 1), D(2**63)], pa.decimal128(38, 0)), [2**53 + 1, "lost"]),
        ("integer", pa.array(["1"]), ["lost"]),
        ("number", pa.array([1, -2], pa.int8()), [1.0, -2.0]),
        ("number", pa.array([D("0.1"), None], pa.decimal128(9, 1)), [0.1, None]),
        ("number", pa.array([1.5, math.nan, math.inf, 1e39, -3e38]), [1.5, None, "lost", "lost", -3e38]),
        ("number", pa.array([1.5], pa.float16()), [1.5]),
        ("number", pa.array([True]), ["lost"]),
        ("text", pa.array(["", "ß", None]).dictionary_encode(), ["", "ß", None]),
        ("text", pa.array(["a"], pa.large_string()), ["a"]),
        ("text", pa.array([b"a"]), ["lost"]),
        ("boolean", pa.array([True, None]), [True, None]),
        ("boolean", pa.array([1]), ["lost"]),
        ("timestamp", pa.array([dt.date(2024, 2, 29)]), [utc(2024, 2, 29)]),
        ("timestamp", pa.array([NOON], pa.timestamp("s", "Europe/Paris")), [NOON]),
        ("timestamp", pa.array([1999], pa.int64()).cast(pa.timestamp("ns")), [utc(1970, 1, 1, 0, 0, 0, 1)]),
        ("timestamp", pa.array([-1], pa.int64()).cast(pa.timestamp("ns")), [utc(1969, 12, 31, 23, 59, 59, 999_999)]),
        ("timestamp", pa.array([-(2**63) + 1, 2**63 - 1], pa.int64()).cast(pa.timestamp("us")), ["lost", "lost"]),
        ("timestamp", pa.array([2**31 - 1, None], pa.int32()).cast(pa.date32()), ["lost", None]),
        ("timestamp", pa.array([dt.time(12)]), ["lost"]),
        ("any", pa.array([1.0, 0.1, None]), ["1.0", "0.1", None]),
        ("any", pa.array([0.1, math.nan], pa.float32()), ["0.1", None]),
        ("any", pa.array([NOON], pa.timestamp("us")), ["2024-02-29 12:00:00"]),
        ("any", pa.array([[1, None]]), ["[1, NULL]"]),
        ("any", pa.array([b"\x00a"]), ["\\x00a"]),
    ],
)  # fmt: skip
def test_value_is_converted_exactly_or_has_no_place(kind: ColumnType, values: pa.Array, expected: list[Any]):
    result = converted(values, kind)

    assert result.type == ARROW[kind]
    assert result.to_pylist() == [None if value == "lost" else value for value in expected]
    assert lost(values, result).to_pylist() == [value == "lost" for value in expected]


@pytest.mark.parametrize("kind", ARROW)
def test_column_without_any_value_is_of_every_type(kind: ColumnType):
    nothing = pa.nulls(2)

    assert converted(nothing, kind).type == ARROW[kind]
    assert not any(lost(nothing, converted(nothing, kind)).to_pylist())


TABLE = Table(columns={"size": Column(type="integer"), "at": Column(type="timestamp"), "kind": Column(type="text")}, strict=False)


def written(folder: Path, table: pa.Table) -> pa.Table:
    pq.write_table(table, folder / "in.parquet")
    write_converted(folder / "in.parquet", folder / "out.parquet", TABLE)
    return pq.read_table(folder / "out.parquet")


def test_clean_files_of_all_arrivals_have_one_schema(tmp_path: Path):
    never_null = pa.schema([pa.field("kind", pa.string(), nullable=False), ("at", pa.date32()), ("Size", pa.uint8())])
    first = written(tmp_path, pa.table({"kind": ["a"], "at": [dt.date(2024, 1, 1)], "Size": [3]}, never_null))
    at = pa.array([NOON] * 2, pa.timestamp("ns", "UTC"))
    second = written(tmp_path, pa.table({"size": [4.0, None], "kind": pa.array(["b", None]).dictionary_encode(), "at": at}))

    assert first.schema.equals(second.schema)
    assert first.schema == pa.schema({"size": pa.int64(), "at": pa.timestamp("us"), "kind": pa.string()})
    assert second.to_pylist()[0] == {"size": 4, "at": NOON, "kind": "b"}


def test_column_that_does_not_fit_stays_for_the_validation_to_see(tmp_path: Path):
    table = written(
        tmp_path, pa.table({"more": [1, 2], "kind": ["a", "b"], "size": [1.0, 2.5], "at": pa.array([NOON] * 2, pa.timestamp("s"))})
    )

    assert table.schema == pa.schema({"size": pa.float64(), "at": pa.timestamp("us"), "kind": pa.string(), "more": pa.int64()})
    assert table.column("size").to_pylist() == [1.0, 2.5]


def test_file_of_many_row_groups_is_written_by_the_same_bytes(tmp_path: Path):
    table = pa.table({"size": range(300_000), "kind": ["a"] * 300_000, "at": pa.array([NOON] * 300_000, pa.timestamp("us"))})
    contents: set[bytes] = set()
    for size in (1_000, 300_000):
        pq.write_table(table, tmp_path / "in.parquet", row_group_size=size)
        write_converted(tmp_path / "in.parquet", tmp_path / "out.parquet", TABLE)
        contents.add((tmp_path / "out.parquet").read_bytes())

    assert len(contents) == 1
