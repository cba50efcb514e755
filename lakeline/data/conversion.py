"""The one Arrow type of each declared type, and the exact conversion of a column to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute

from lakeline.data.names import declared, spelled
from lakeline.data.rules import family, plainly

if TYPE_CHECKING:
    from pathlib import Path

    from lakeline.data.spec import ColumnType, Table

pc: Any = pyarrow.compute  # its functions are made when it is imported

ROWS = 122_880
"""Rows of a row group, and of what is converted at once."""

ARROW: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "timestamp": pa.timestamp("us"),
    "boolean": pa.bool_(),
    "any": pa.string(),
}
FITS: dict[ColumnType, str] = {
    "integer": "a whole number of 64 bits",
    "number": "a number within ±3.4e38",
    "text": "text",
    "timestamp": "a time between the years 1 and 9999",
    "boolean": "true or false",
    "any": "a value that can be written as text",
}
"""What each value of a column must be to have a place in the type."""

LARGEST = 3.4028234663852886e38
"""The largest 32-bit float, in which scikit-learn's trees compare numbers."""

_SECONDS = -62_135_596_800, 253_402_300_800  # since 1970, of the beginning of the year 1, and of 10000
_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_LEAST, _MOST = -(2**63), 2**63 - 1


def converted(column: pa.Array, kind: ColumnType) -> pa.Array:
    """Convert a column to the Arrow type of a declared type; what does not fit becomes null.

    Whole numbers are exact. Decimals and whole numbers that are to be a `number` become the nearest 64-bit float, and NaN a null.
    Times are of UTC, without what is finer than a microsecond; a date is its midnight. `any` becomes text, as DuckDB writes it.

    Parameters
    ----------
    column
        Of any type.
    kind
        As the spec declares it.

    Returns
    -------
    Array
        Of type `ARROW[kind]`.
    """
    column = plainly(column)
    wanted, found = ARROW[kind], family(column.type)
    if pa.types.is_floating(column.type):
        column = column if kind == "any" and pa.types.is_float32(column.type) else column.cast(pa.float64())
        column = _where(pc.invert(pc.is_nan(column)), column)
    if kind == "any":
        return _as_text(column)
    if kind == "integer" and found in {"integer", "number"}:
        return _whole(column)
    if kind == "number" and found in {"integer", "number"}:
        numbers = column.cast(wanted, safe=False)
        return _where(pc.less_equal(pc.abs(numbers), LARGEST), numbers)
    if kind == "timestamp" and found == "timestamp":
        return _times(column)
    return column.cast(wanted) if found == kind else pa.nulls(len(column), wanted)


def lost(column: pa.Array, result: pa.Array) -> pa.Array:
    """Mask of the values of a column that `converted` has no place for."""
    there = pc.invert(pc.is_null(plainly(column), nan_is_null=True))
    return pc.and_(there, pc.is_null(result))


def write_converted(source: Path, target: Path, table: Table) -> None:
    """Write a Parquet file anew, with the names, the order and the types that a spec declares, streaming.

    A column with a value that its type has no place for stays as it is, for the validation to say which rows are wrong. Columns that
    the spec does not name come last, as they are.

    Parameters
    ----------
    source, target
        The files.
    table
        What the rows are to be.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(source, pre_buffer=False) as file:
        names = spelled(file.schema_arrow.names, table.columns)
        order = [*table.columns, *names]
        kinds: dict[str, ColumnType] = {name: column.type for name, column in declared(table, names).items()}
        columns = [_Column(place, name, kinds.get(name)) for place, name in enumerate(names)]
        columns.sort(key=lambda column: order.index(column.name))
        while (unfit := _write(file, target, columns)) is not None:
            columns[unfit] = replace(columns[unfit], kind=None)


@dataclass(frozen=True)
class _Column:
    """A column to write: its place in the file that is read, its name, and its declared type (None: as it is)."""

    place: int
    name: str
    kind: ColumnType | None


def _write(file: Any, target: Path, columns: Sequence[_Column]) -> int | None:
    """Write the file; the number of the column that does not fit, if one doesn't."""
    import pyarrow.parquet as pq

    stored: pa.Schema = file.schema_arrow
    # Nulls are allowed in each, so that arrivals with and without any have one schema.
    types = [stored.field(column.place).type if column.kind is None else ARROW[column.kind] for column in columns]
    schema = pa.schema([pa.field(column.name, kind) for column, kind in zip(columns, types, strict=True)])
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in file.iter_batches(ROWS):
            arrays: list[pa.Array] = []
            for number, column in enumerate(columns):
                values: Any = batch.column(column.place)
                arrays.append(values if column.kind is None else converted(values, column.kind))
                if column.kind is not None and pc.any(lost(values, arrays[-1])).as_py():
                    return number
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return None


def _where(mask: Any, values: Any) -> pa.Array:
    return pc.if_else(mask, values, pa.scalar(None, values.type))


def _whole(column: pa.Array) -> pa.Array:
    if pa.types.is_decimal(column.type):
        values: Iterator[Any] = (value.as_py() for value in column)
        fitting = (int(v) if v is not None and v == v.to_integral_value() and _LEAST <= v <= _MOST else None for v in values)
        return pa.array(fitting, pa.int64())
    if pa.types.is_uint64(column.type):
        column = _where(pc.less_equal(column, pa.scalar(_MOST, pa.uint64())), column)
    elif pa.types.is_floating(column.type):
        # 2**63 itself is a double, the largest whole number of 64 bits is none.
        there = pc.and_(pc.greater_equal(column, float(_LEAST)), pc.less(column, float(2**63)))
        column = _where(pc.and_(there, pc.equal(pc.floor(column), column)), column)
    return column.cast(pa.int64())


def _times(column: Any) -> pa.Array:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    unit: Any = column.type.unit
    column = column.cast(pa.timestamp(unit))
    since = column.cast(pa.int64())
    first, end = (second * _A_SECOND[unit] for second in _SECONDS)
    if first >= _LEAST:
        column = _where(pc.and_(pc.greater_equal(since, first), pc.less(since, end)), column)
    elif unit == "ns":
        whole = pc.divide(since, 1000)  # towards 1970
        column = pc.if_else(pc.greater(pc.multiply(whole, 1000), since), pc.subtract(whole, 1), whole)
    return column.cast(pa.timestamp("us"))


def _as_text(column: Any) -> pa.Array:
    import duckdb

    if family(column.type) in {"text", "null"}:
        return column.cast(pa.string())
    with duckdb.connect(config={"threads": 1}) as connection:
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("stored", pa.table({"v": column}))
            texts: Any = connection.sql("SELECT v::VARCHAR AS v FROM stored").to_arrow_table()
        except (duckdb.Error, pa.ArrowException):  # no type of DuckDB's
            return pa.nulls(len(column), pa.string())
    return texts.column("v").cast(pa.string()).combine_chunks()
