"""Make raw Parquet files of source files: proved whole, typed where every value allows it, and otherwise as they came."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeline.data.arrivals import arrival_parameters
from lakeline.data.csvfile import TOO_LONG, open_batches, prove_csv
from lakeline.data.quoting import literal, quote
from lakeline.errors import SourceError
from lakeline.files import Unreadable, looks_like, not_parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from lakeline.data.source import Fetched
    from lakeline.data.spec import Column, ColumnType, DatasetSpec

_BATCH = 1 << 16  # rows
_SHOWN, _SHOWN_COLUMNS = 40, 4  # characters of a value, columns of a row
_MEMORY = "1GB"  # of DuckDB; what is more goes to the disk
CASTS: dict[ColumnType, str] = {
    # TRY_CAST alone rounds 1.5 to 2, reads 1_000 and inf, and drops the offset of a time.
    "integer": "CASE WHEN TRY_CAST({0} AS BIGINT) = TRY_CAST({0} AS DOUBLE) AND NOT contains({0}, '_') THEN TRY_CAST({0} AS BIGINT) END",
    "number": "CASE WHEN isfinite(TRY_CAST({0} AS DOUBLE)) AND NOT contains({0}, '_') THEN TRY_CAST({0} AS DOUBLE) END",
    "timestamp": "CASE WHEN isfinite(TRY_CAST({0} AS TIMESTAMPTZ)) THEN TRY_CAST({0} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END",
    "boolean": "TRY_CAST({0} AS BOOLEAN)",
}


class NoRows(SourceError):
    """A source file has no rows of an arrival."""

    def __init__(self, message: str, arrival: str) -> None:
        super().__init__(message)
        self.arrival = arrival


@dataclass(frozen=True)
class RawFile:
    """One arrival's raw Parquet file.

    Attributes
    ----------
    rows
        Number of rows.
    schema_digest
        Digest of the column names and types.
    left_out
        Rows of the source file that are of none of the arrivals asked for, because `source.where` is null for them.
    """

    path: Path
    rows: int
    schema_digest: str
    left_out: int = 0


def to_parquet(spec: DatasetSpec, fetched: Fetched, arrivals: Sequence[str], folder: Path) -> dict[str, RawFile]:
    """Make the raw Parquet file of each arrival that a source file has.

    A Parquet source that is one arrival keeps its bytes. Of a CSV, a column whose every value is of the declared type
    gets that type; another stays text, for the validation to say which rows are wrong.

    Parameters
    ----------
    spec
        Spec of the data set.
    fetched
        The source file.
    arrivals
        Ids of the arrivals that are in it.
    folder
        Where the files are made.

    Returns
    -------
    dict
        Raw file by arrival id.

    Raises
    ------
    SourceError
        If the file is empty, cut short, damaged, not in the format that the spec says, or has no rows of an arrival; also if
        `source.where` is null for rows that no other of the arrivals has, unless the spec says that they are dropped.
    """
    import duckdb

    if fetched.path.stat().st_size == 0:
        raise SourceError(f"{spec.name} {', '.join(arrivals)}: {fetched.url} is empty (0 bytes). Get the file again.")
    if spec.source.member is None and looks_like(fetched.path) == "a zip archive":
        what = f"{spec.name} {', '.join(arrivals)}: {fetched.url}"
        raise SourceError(f"{what} is a zip archive. Name the file to read in it by source.member in the spec.")
    if spec.source.format == "parquet":
        _prove_parquet(spec, fetched, arrivals)
        if spec.source.where is None:
            file = _measured(fetched.path)
            if file.rows == 0:
                raise _no_rows(spec, fetched, arrivals[0])
            return dict.fromkeys(arrivals, file)
    with tempfile.TemporaryDirectory(dir=folder) as spill, duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": spill}) as db:
        try:
            return dict(_separate(db, spec, fetched, arrivals, folder))
        except duckdb.IOException as error:
            if "No space left" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
            raise


def _prove_parquet(spec: DatasetSpec, fetched: Fetched, arrivals: Sequence[str]) -> None:
    """Decode every value, for a footer that can be read says nothing of the pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    what = f"{spec.name} {', '.join(arrivals)}: {fetched.url} ({fetched.size:,} bytes)"
    try:
        with pq.ParquetFile(fetched.path, page_checksum_verification=True) as file:
            rows = sum(batch.num_rows for batch in file.iter_batches(_BATCH))
            whole = rows == file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{what} {not_parquet(fetched.path)} Get the file again, or correct source.format in the spec.") from error
    if not whole:
        raise SourceError(f"{what} has fewer rows than its footer says. Get the file again.")


def _measured(path: Path, left_out: int = 0) -> RawFile:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
    names = "\n".join(f"{field.name}: {field.type}" for field in schema)
    return RawFile(path, rows, hashlib.sha256(names.encode()).hexdigest(), left_out)


def _no_rows(spec: DatasetSpec, fetched: Fetched, arrival: str, left_out: int = 0) -> NoRows:
    condition = f" where {spec.source.where.format(**arrival_parameters(spec, arrival))}" if spec.source.where else ""
    unclear = f", and {left_out:,} for which that is null" if left_out else ""
    return NoRows(f"{spec.name} {arrival}: {fetched.url} has no rows{condition}{unclear}. Nothing was ingested; check the source.", arrival)


def _separate(
    db: duckdb.DuckDBPyConnection, spec: DatasetSpec, fetched: Fetched, arrivals: Sequence[str], folder: Path
) -> Iterator[tuple[str, RawFile]]:
    """Read the file once, and write the rows of each arrival in the order that they have in it."""
    import duckdb

    what = f"{spec.name} {', '.join(arrivals)}: {fetched.url}"
    try:
        db.execute("SET TimeZone = 'UTC'")
        source = (_csv_source if spec.source.format == "csv" else _parquet_source)(db, spec, fetched.path, arrivals, what)
        left_out = _count(db, spec, fetched, arrivals, source, what)
        for number, arrival in enumerate(arrivals):
            target = folder / f"{arrival}.parquet"
            query = _typed_where_all_fits(db, source, source.chosen[number])
            db.execute(f"COPY ({query}) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)")
            yield arrival, _measured(target, left_out)
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:  # What was proved can be read: it is the condition that can't be applied.
        reason = " ".join(re.split(r"\n+LINE", str(error))[0].split())
        raise SourceError(f"{what}: source.where ({spec.source.where}) does not fit the file: {reason}") from error


@dataclass(frozen=True)
class _Column:
    """A column of a source: its quoted name, that of its text in our table, and the cast to its declared type (None: as it is)."""

    name: str
    text: str
    cast: str | None


@dataclass(frozen=True)
class _Rows:
    """Rows of a source file in the database: the relation, its columns, and an expression for each arrival: true, false or null."""

    relation: str
    columns: Sequence[_Column]
    chosen: Sequence[str]


def _parquet_source(db: duckdb.DuckDBPyConnection, spec: DatasetSpec, path: Path, arrivals: Sequence[str], what: str) -> _Rows:
    del db, what
    return _Rows(f"read_parquet({literal(path)})", [], _conditions(spec, arrivals))


def _conditions(spec: DatasetSpec, arrivals: Sequence[str]) -> list[str]:
    where = spec.source.where or "true"
    return [f"CAST(({where.format(**arrival_parameters(spec, arrival))}) AS BOOLEAN)" for arrival in arrivals]


def _csv_source(db: duckdb.DuckDBPyConnection, spec: DatasetSpec, path: Path, arrivals: Sequence[str], what: str) -> _Rows:
    """Read those rows of a CSV that may be of an arrival, as text, into a table with what each arrival's condition says of them.

    The conditions speak of the declared types: a text that isn't of its type is null to them.
    """
    import duckdb

    known = [name for name, column in spec.raw.columns.items() if not column.regex and not column.optional]
    try:
        file = prove_csv(path, spec.source.delimiter, () if any(column.regex for column in spec.raw.columns.values()) else known)
        batches = open_batches(file, ["", *([spec.source.null] if spec.source.null is not None else [])])
    except Unreadable as error:
        raise SourceError(f"{what} {error} Nothing was ingested.") from error
    own = "_lakeline"  # begins the names of our columns, and none of the file's
    while any(name.lower().startswith(own) for name in file.names):
        own += "_"
    columns: list[_Column] = []
    for number, name in enumerate(file.names):
        text, column = f"{own}_{number}", _declared(spec.raw.columns, name)
        cast = CASTS[column.type].format(text) if column and column.type in CASTS else None
        columns.append(_Column(quote(name), text, cast))
    texts = ", ".join(column.text for column in columns)
    typed = ", ".join(f"{column.cast or column.text} AS {column.name}" for column in columns)
    chosen = [f"{own}_chosen_{number}" for number in range(len(arrivals))]
    conditions = ", ".join(f"{condition} AS {name}" for condition, name in zip(_conditions(spec, arrivals), chosen, strict=True))
    file_rows = f"SELECT *, {typed} FROM batches AS t({texts})"  # noqa: S608
    wanted = " OR ".join(f"coalesce({name}, true)" for name in chosen)
    db.register("batches", batches)
    try:
        db.execute(f"CREATE TABLE source AS SELECT {texts}, {conditions} FROM ({file_rows}) WHERE {wanted}")  # noqa: S608
    except duckdb.Error as error:
        if "straddling" in str(error):  # Arrow's word for it
            raise SourceError(f"{what} {TOO_LONG} Nothing was ingested.") from error
        raise
    return _Rows("source", columns, chosen)


def _declared(columns: dict[str, Column], name: str) -> Column | None:
    return columns.get(name) or next((c for pattern, c in columns.items() if c.regex and re.fullmatch(pattern, name)), None)


def _count(db: duckdb.DuckDBPyConnection, spec: DatasetSpec, fetched: Fetched, arrivals: Sequence[str], source: _Rows, what: str) -> int:
    """Count the rows of each arrival, and those that may be of one of them but no condition says so.

    Returns
    -------
    int
        How many the latter are, if the spec has them dropped.

    Raises
    ------
    NoRows
        If an arrival has none.
    SourceError
        If there are such, and the spec doesn't.
    """
    of_none = " AND ".join(f"NOT coalesce({name}, false)" for name in source.chosen)
    null = " OR ".join(f"({name}) IS NULL" for name in source.chosen)
    counts = [f"count(*) FILTER ({name})" for name in source.chosen]
    query = f"SELECT count(*) FILTER (({null}) AND {of_none}), {', '.join(counts)} FROM {source.relation}"  # noqa: S608
    unclear, *rows = db.execute(query).fetchall()[0]
    for arrival, count in zip(arrivals, rows, strict=True):
        if count == 0:
            raise _no_rows(spec, fetched, arrival, unclear)
    if unclear and spec.source.where_null == "refuse":
        rows_are = f"{unclear:,} rows, which are" if unclear > 1 else "1 row, which is"
        first = _example(db, spec, source, f"({null}) AND {of_none}")
        raise SourceError(
            f"{what}: source.where ({spec.source.where}) is null for {rows_are} therefore of no arrival (first: {first}). Nothing was "
            "ingested. Correct what it asks for, in the file or in the spec; or have such rows left out: `where_null: drop` under source."
        )
    return unclear


def _example(db: duckdb.DuckDBPyConnection, spec: DatasetSpec, source: _Rows, condition: str) -> str:
    """Show the first row that a condition holds for, in those of its columns that source.where seems to name."""
    shown = ", ".join(f"{column.text} AS {column.name}" for column in source.columns) or "*"
    found = db.execute(f"SELECT {shown} FROM {source.relation} WHERE {condition} LIMIT 1")  # noqa: S608
    values = dict(zip((str(column[0]) for column in found.description), found.fetchall()[0], strict=True))
    words = set(re.findall(r"\w+", (spec.source.where or "").lower()))
    named = [name for name in values if name.lower() in words] or list(values)
    return ", ".join(f"{name} {'null' if values[name] is None else repr(str(values[name])[:_SHOWN])}" for name in named[:_SHOWN_COLUMNS])


def _typed_where_all_fits(db: duckdb.DuckDBPyConnection, source: _Rows, chosen: str) -> str:
    """Write the query that casts the columns of one arrival, but for those with a value that doesn't fit: they stay text."""
    columns = source.columns
    if not columns:
        return f"SELECT * FROM {source.relation} WHERE {chosen}"  # noqa: S608
    misfits = [f"count(*) FILTER ({column.text} IS NOT NULL AND ({column.cast}) IS NULL)" if column.cast else "0" for column in columns]
    counts = db.execute(f"SELECT {', '.join(misfits)} FROM {source.relation} WHERE {chosen}").fetchall()[0]  # noqa: S608
    fitting = (column.cast if column.cast and not count else column.text for column, count in zip(columns, counts, strict=True))
    kept = ", ".join(f"{value} AS {column.name}" for value, column in zip(fitting, columns, strict=True))
    return f"SELECT {kept} FROM {source.relation} WHERE {chosen}"  # noqa: S608
