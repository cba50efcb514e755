"""Make raw Parquet files of source files: proved whole, typed where every value allows it, and otherwise as they came."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeline.data.arrivals import arrival_parameters
from lakeline.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from lakeline.data.source import Fetched
    from lakeline.data.spec import Column, ColumnType, DatasetSpec

_BATCH = 1 << 16  # rows
_MEMORY = "1GB"  # of DuckDB; what is more goes to the disk
CASTS: dict[ColumnType, str] = {
    # TRY_CAST alone rounds 1.5 to 2, reads 1_000 and inf, and drops the offset of a time.
    "integer": "CASE WHEN TRY_CAST({0} AS BIGINT) = TRY_CAST({0} AS DOUBLE) AND NOT contains({0}, '_') THEN TRY_CAST({0} AS BIGINT) END",
    "number": "CASE WHEN isfinite(TRY_CAST({0} AS DOUBLE)) AND NOT contains({0}, '_') THEN TRY_CAST({0} AS DOUBLE) END",
    "timestamp": "CASE WHEN isfinite(TRY_CAST({0} AS TIMESTAMPTZ)) THEN TRY_CAST({0} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END",
    "boolean": "TRY_CAST({0} AS BOOLEAN)",
}


_CHOSEN = "_lakeline_chosen_"


class NoRows(SourceError):
    """A source file has no rows of an arrival."""

    def __init__(self, message: str, arrival: str) -> None:
        super().__init__(message)
        self.arrival = arrival


@dataclass(frozen=True)
class RawFile:
    """One arrival's raw Parquet file: number of rows and digest of the column names and types."""

    path: Path
    rows: int
    schema_digest: str


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
        If the file is empty, cut short, damaged, not in the format that the spec says, or has no rows of an arrival.
    """
    import duckdb

    if fetched.path.stat().st_size == 0:
        raise SourceError(f"{spec.name} {', '.join(arrivals)}: {fetched.url} is empty (0 bytes). Get the file again.")
    if spec.source.format == "parquet":
        _prove(spec, fetched, arrivals)
        if spec.source.where is None:
            return {arrival: _measured(spec, arrival, fetched, fetched.path) for arrival in arrivals}
    with tempfile.TemporaryDirectory(dir=folder) as spill, duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": spill}) as db:
        try:
            return dict(_separate(db, spec, fetched, arrivals, folder))
        except duckdb.IOException as error:
            if "No space left" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
            raise


def _prove(spec: DatasetSpec, fetched: Fetched, arrivals: Sequence[str]) -> None:
    """Decode every value, for a footer that can be read says nothing of the pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(fetched.path, page_checksum_verification=True) as file:
            rows = sum(batch.num_rows for batch in file.iter_batches(_BATCH))
            whole = rows == file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        what = f"{spec.name} {', '.join(arrivals)}: {fetched.url} ({fetched.size:,} bytes)"
        raise SourceError(f"{what} is no whole Parquet file: {reason}. Get the file again.") from error
    if not whole:
        raise SourceError(f"{spec.name} {', '.join(arrivals)}: {fetched.url} has fewer rows than its footer says. Get the file again.")


def _measured(spec: DatasetSpec, arrival: str, fetched: Fetched, path: Path) -> RawFile:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows, schema = file.metadata.num_rows, file.schema_arrow
    if rows == 0:
        condition = f" where {spec.source.where.format(**arrival_parameters(spec, arrival))}" if spec.source.where else ""
        raise NoRows(f"{spec.name} {arrival}: {fetched.url} has no rows{condition}. Nothing was ingested; check the source.", arrival)
    names = "\n".join(f"{field.name}: {field.type}" for field in schema)
    return RawFile(path, rows, hashlib.sha256(names.encode()).hexdigest())


def _separate(
    db: duckdb.DuckDBPyConnection, spec: DatasetSpec, fetched: Fetched, arrivals: Sequence[str], folder: Path
) -> Iterator[tuple[str, RawFile]]:
    """Read the file once, and write the rows of each arrival in the order that they have in it."""
    import duckdb

    what = f"{spec.name} {', '.join(arrivals)}: {fetched.url}"
    conditions = [f"({(spec.source.where or 'true').format(**arrival_parameters(spec, arrival))})" for arrival in arrivals]
    try:
        db.execute("SET TimeZone = 'UTC'")
        columns: list[_CsvColumn] = []
        if spec.source.format == "csv":
            columns = _read_csv(db, spec, fetched.path, conditions, what)
        for number, (arrival, condition) in enumerate(zip(arrivals, conditions, strict=True)):
            target = folder / f"{arrival}.parquet"
            parquet = f"FROM read_parquet({_text(str(fetched.path))}) WHERE {condition}"
            query = _typed_where_all_fits(db, columns, f"{_CHOSEN}{number}") if columns else parquet
            db.execute(f"COPY ({query}) TO {_text(str(target))} (FORMAT parquet, COMPRESSION zstd)")
            yield arrival, _measured(spec, arrival, fetched, target)
    except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException, duckdb.ConversionException) as error:
        reason = " ".join(re.split(r"\n+LINE", str(error))[0].split())
        raise SourceError(f"{what}: source.where ({spec.source.where}) does not fit the file: {reason}") from error


@dataclass(frozen=True)
class _CsvColumn:
    """A column of a CSV: its quoted name, that of its text in our tables, and the cast to its declared type (None: text)."""

    name: str
    text: str
    cast: str | None


def _read_csv(db: duckdb.DuckDBPyConnection, spec: DatasetSpec, path: Path, conditions: Sequence[str], what: str) -> list[_CsvColumn]:
    """Read those rows of a CSV that a condition picks, as text, into a table with a boolean column for each condition.

    The conditions speak of the declared types: a text that isn't of its type is null to them.
    """
    import duckdb

    columns: list[_CsvColumn] = []
    for number, name in enumerate(_header(path, spec.source.delimiter, what)):
        text = f"_lakeline_{number}"
        column = _declared(spec.raw.columns, name)
        cast = CASTS[column.type].format(text) if column and column.type in CASTS else None
        columns.append(_CsvColumn(f'"{name.replace(chr(34), chr(34) * 2)}"', text, cast))
    kinds = ", ".join(f"{column.text}: 'VARCHAR'" for column in columns)
    nulls = ", ".join(_text(null) for null in ("", spec.source.null) if null is not None)
    file = (
        f"read_csv({_text(str(path))}, auto_detect = false, header = true, strict_mode = true, delim = {_text(spec.source.delimiter)}, "
        f"quote = '\"', escape = '\"', nullstr = [{nulls}], columns = {{{kinds}}})"
    )
    texts = ", ".join(column.text for column in columns)
    typed = ", ".join(f"{column.cast or column.text} AS {column.name}" for column in columns)
    chosen = ", ".join(f"coalesce({condition}, false) AS {_CHOSEN}{number}" for number, condition in enumerate(conditions))
    wanted = " OR ".join(f"{_CHOSEN}{number}" for number in range(len(conditions)))
    try:
        db.execute(f"CREATE TABLE source AS SELECT {texts}, {chosen} FROM (SELECT *, {typed} FROM {file}) WHERE {wanted}")  # noqa: S608
    except duckdb.InvalidInputException as error:
        raise SourceError(f"{what} {_csv_mistake(str(error))} Nothing was ingested; correct the file.") from error
    return columns


def _header(path: Path, delimiter: str, what: str) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # what follows line 1 is DuckDB's to judge
            names = next(csv.reader(file, delimiter=delimiter, strict=True), [])
        "".join(names).encode()
    except (UnicodeError, csv.Error) as error:
        raise SourceError(f"{what} is no CSV that can be read: line 1: {error}. The format is UTF-8 text with a line of names.") from error
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise SourceError(f"{what} has no name for column {number} in line 1. Name it, or write the file without it.")
        if name.lower() in seen:
            raise SourceError(f"{what} has two columns named {name!r} in line 1. Rename or remove one.")
        seen.add(name.lower())
    if not names:
        raise SourceError(f"{what} has no line of column names. Get the file again.")
    return names


def _declared(columns: dict[str, Column], name: str) -> Column | None:
    return columns.get(name) or next((c for pattern, c in columns.items() if c.regex and re.fullmatch(pattern, name)), None)


def _csv_mistake(message: str) -> str:
    """Say what DuckDB's page-long message says, in a sentence."""
    line = re.search(r"CSV Error on Line: (\d+)", message)
    where = f"line {line[1]} " if line else ""
    fields = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if fields:
        return f"{where}has {fields[2]} fields; the line of names has {fields[1]}."
    if "unterminated quote" in message:
        return f"{where}has a quote that does not end or stands in the middle of a field."
    if "unicode" in message or "utf-8" in message:
        return f"{where}is not UTF-8 text."
    lines = [text for text in message.splitlines() if text and not text.startswith(("Invalid Input Error: CSV", "Original Line"))]
    return f"{where}can't be read: {lines[0] if lines else message}"


def _typed_where_all_fits(db: duckdb.DuckDBPyConnection, columns: Sequence[_CsvColumn], chosen: str) -> str:
    """Write the query that casts the columns of one arrival, but for those with a value that doesn't fit: they stay text."""
    misfits = [f"count(*) FILTER ({column.text} IS NOT NULL AND ({column.cast}) IS NULL)" if column.cast else "0" for column in columns]
    counts = db.execute(f"SELECT {', '.join(misfits)} FROM source WHERE {chosen}").fetchall()[0]  # noqa: S608
    fitting = (column.cast if column.cast and not count else column.text for column, count in zip(columns, counts, strict=True))
    kept = ", ".join(f"{value} AS {column.name}" for value, column in zip(fitting, columns, strict=True))
    return f"SELECT {kept} FROM source WHERE {chosen}"  # noqa: S608


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
