"""Rows of a file in any of the forms that people keep them in, as bodies of requests."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.data.csvfile import TOO_LONG, open_batches, prove_csv
from lakeline.errors import DataError, UsageError
from lakeline.files import Unreadable, not_parquet, prove_text

if TYPE_CHECKING:
    from collections.abc import Generator

    import pyarrow as pa

ROWS = 5000
"""Rows of a request, unless the server takes fewer: enough that the way there costs little."""

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_NAMED = 8


@dataclass(frozen=True)
class Source:
    """Rows of a file, and how some of them become the body of a request: the body, and its content type."""

    rows: Iterator[Any]
    body: Callable[[Sequence[Any]], tuple[bytes, str]]


def open_rows(file: Path, columns: list[str] | None) -> Source:
    """Open a file of rows; columns that aren't among those named stay here (None: none does).

    Raises
    ------
    UsageError
        If its name says nothing of a form that is known.
    DataError
        If it can't be read, or has none of the columns.
    """
    openers = {".csv": _open_csv, ".parquet": _open_parquet, ".json": _open_json, ".jsonl": _open_lines, ".ndjson": _open_lines}
    if file.suffix.lower() not in openers:
        raise UsageError(f"{file}: rows are read from a file whose name ends with {', '.join(openers)}.")
    with _reading(file):
        return openers[file.suffix.lower()](file, columns)


def next_rows(file: Path, source: Source, most: int) -> list[Any]:
    """Give the next rows of an open file, so many at most; none at its end.

    Raises
    ------
    DataError
        If they can't be read.
    """
    import itertools

    with _reading(file):
        return list(itertools.islice(source.rows, most))


@contextmanager
def _reading(file: Path) -> Generator[None]:
    """Say what is wrong with a file that can't be read."""
    import pyarrow as pa

    try:
        yield
    except Unreadable as error:
        raise DataError(f"{file} {error}") from None
    except pa.ArrowException:
        # Whatever was read of a CSV before was proved, so that only a line's length is left to go wrong.
        raise DataError(f"{file} {TOO_LONG if file.suffix.lower() == '.csv' else not_parquet(file)}") from None


def _open_csv(file: Path, columns: list[str] | None) -> Source:
    """Fields go as they are: what is a number, the server knows from the model."""
    proved = prove_csv(file)
    known = _known(file, proved.names, columns, " Is another character than the comma between them?")
    kept = [number for number, name in enumerate(proved.names) if name in known]

    def rows() -> Iterator[list[str]]:
        for batch in open_batches(proved):
            yield from map(list, zip(*(batch.column(number).to_pylist() for number in kept), strict=True))

    def body(lines: Sequence[list[str]]) -> tuple[bytes, str]:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([[proved.names[number] for number in kept], *lines])
        return text.getvalue().encode(), "text/csv"

    return Source(rows(), body)


def _open_parquet(file: Path, columns: list[str] | None) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowException, OSError):
        raise Unreadable(not_parquet(file)) from None
    kept = _known(file, table.schema_arrow.names, columns)

    def rows() -> Iterator[list[Any]]:
        with table:
            for batch in table.iter_batches(ROWS, columns=kept):
                yield from map(list, zip(*(_plain_values(name, batch.column(name)) for name in kept), strict=True))

    return Source(rows(), lambda data: _json({"dataframe_split": {"columns": kept, "data": list(data)}}))


def _known(file: Path, names: Sequence[str], columns: list[str] | None, hint: str = "") -> list[str]:
    """Those of a file's columns that the model takes."""
    known = [name for name in names if columns is None or name in columns]
    if names and not known:
        raise DataError(f"{file} has no column that the model takes. It has {_some(names)}; the model takes {_some(columns or [])}.{hint}")
    return known


def _some(names: Sequence[str]) -> str:
    return ", ".join([*map(repr, names[:_NAMED]), *(["..."] if len(names) > _NAMED else [])])


def _json(body: object) -> tuple[bytes, str]:
    return json.dumps(body).encode(), "application/json"


def _plain_values(name: str, column: pa.Array) -> list[Any]:
    """Values of a column as JSON can hold them."""
    try:
        return [_plain(value) for value in column.to_pylist()]
    except (ValueError, TypeError, OverflowError):
        raise Unreadable(f"can't be read: column {name!r} has values of the type {column.type}, which a request can't hold.") from None


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN, which it can't, is a value that isn't there."""
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return None
    return value if isinstance(value, str | int | float) else value.isoformat() if hasattr(value, "isoformat") else float(value)


def _open_json(file: Path, columns: list[str] | None) -> Source:
    prove_text(file)
    return _records(iter(_listed(_loaded(file.read_text(encoding="utf-8-sig")))), columns)


def _open_lines(file: Path, columns: list[str] | None) -> Source:
    prove_text(file)

    def rows() -> Iterator[Any]:
        with file.open(encoding="utf-8-sig") as lines:
            yield from (_loaded(line.rstrip("\r\n"), number) for number, line in enumerate(lines) if line.strip())

    return _records(rows(), columns)


def _loaded(text: str, before: int = 0) -> Any:
    """Parse JSON; `before` is how many lines of the file are before it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"is no valid JSON: {error.msg} (line {before + error.lineno}, column {error.colno}).") from None
    except RecursionError:
        raise Unreadable("can't be read: it is nested too deeply.") from None
    except ValueError:  # an integer of thousands of digits
        raise Unreadable(f"can't be read: a number has too many digits (from line {before + 1} on).") from None


def _listed(told: Any) -> list[Any]:
    """Rows of a list, or of one of the four forms of MLflow's protocol."""
    form = next(iter(told)) if isinstance(told, dict) and len(told) == 1 else None
    rows = told[form] if form in FORMS else told
    if form == "dataframe_split":
        return _split(rows)
    if form == "inputs" and isinstance(rows, dict):
        return _by_column(rows)
    if not isinstance(rows, list):
        raise Unreadable(f"can't be read: it holds no list of rows, and none of {', '.join(FORMS)}.")
    return rows


def _split(given: Any) -> list[dict[str, Any]]:
    columns, data = (given.get(key) if isinstance(given, dict) else None for key in ("columns", "data"))
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns) or not isinstance(data, list):
        raise Unreadable("can't be read: dataframe_split must have a list of names, columns, and a list of rows, data.")
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            raise Unreadable(f"can't be read: row {number} (counted from 0) of data is no list of {len(columns)} values, one a column.")
    return [dict(zip(columns, row, strict=True)) for row in data]


def _by_column(given: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [values for values in given.values() if isinstance(values, list)]
    if len(lists) != len(given) or len({len(values) for values in lists}) > 1:
        raise Unreadable("can't be read: each column of inputs must be a list of values, all of one length.")
    return [dict(zip(given, row, strict=True)) for row in zip(*lists, strict=True)]


def _records(given: Iterator[Any], columns: list[str] | None) -> Source:
    def rows() -> Iterator[Any]:
        for number, row in enumerate(given):
            if not isinstance(row, dict):
                raise Unreadable(f"can't be read: row {number} (counted from 0) is no object with a value for each column.")
            yield row if columns is None else {name: value for name, value in row.items() if name in columns}

    return Source(rows(), lambda data: _json({"dataframe_records": list(data)}))
