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

from lakeline.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

ROWS = 5000
"""Rows of a request, unless the server takes fewer: enough that the way there costs little."""

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
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 (byte {error.start}).") from None
    except csv.Error as error:
        raise DataError(f"{file} is no valid CSV: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is no valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    except ValueError as error:  # pyarrow's errors are ValueErrors too
        raise DataError(f"{file} can't be read: {str(error).splitlines()[0]}") from None


def _open_csv(file: Path, columns: list[str] | None) -> Source:
    """Fields go as they are: what is a number, the server knows from the model."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream, strict=True), [])
    known = _known(file, header, columns, " Is another character than the comma between them?")
    kept = [number for number, name in enumerate(header) if name in known]

    def rows() -> Iterator[list[str]]:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            next(reader, None)
            for line in reader:
                if line:
                    if len(line) != len(header):
                        raise ValueError(f"line {reader.line_num} has {len(line)} fields, and the first one {len(header)}")
                    yield [line[number] for number in kept]

    def body(lines: Sequence[list[str]]) -> tuple[bytes, str]:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([[header[number] for number in kept], *lines])
        return text.getvalue().encode(), "text/csv"

    return Source(rows(), body)


def _open_parquet(file: Path, columns: list[str] | None) -> Source:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    kept = _known(file, table.schema_arrow.names, columns)

    def rows() -> Iterator[list[Any]]:
        with table:
            for batch in table.iter_batches(ROWS, columns=kept):
                values = [batch.column(name).to_pylist() for name in kept]
                yield from ([_plain(value) for value in row] for row in zip(*values, strict=True))

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


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN, which it can't, is a value that isn't there."""
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return None
    return value if isinstance(value, str | int | float) else value.isoformat() if hasattr(value, "isoformat") else float(value)


def _open_json(file: Path, columns: list[str] | None) -> Source:
    return _records(iter(_listed(json.loads(file.read_text(encoding="utf-8")))), columns)


def _open_lines(file: Path, columns: list[str] | None) -> Source:
    def rows() -> Iterator[Any]:
        with file.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines if line.strip())

    return _records(rows(), columns)


def _listed(told: Any) -> list[Any]:
    """Rows of a list, or of one of the four forms of MLflow's protocol."""
    if isinstance(told, dict) and len(told) == 1:
        form, told = next(iter(told.items()))
        if form == "dataframe_split":
            return [dict(zip(told["columns"], row, strict=True)) for row in told["data"]]
        if form == "inputs" and isinstance(told, dict):
            return [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)]
    if not isinstance(told, list):
        raise ValueError("it holds no list of rows, and none of dataframe_split, dataframe_records, instances, inputs")
    return told


def _records(given: Iterator[Any], columns: list[str] | None) -> Source:
    def rows() -> Iterator[Any]:
        for number, row in enumerate(given):
            if not isinstance(row, dict):
                raise ValueError(f"row {number} is no object with a value for each column")
            yield row if columns is None else {name: value for name, value in row.items() if name in columns}

    return Source(rows(), lambda data: _json({"dataframe_records": list(data)}))
