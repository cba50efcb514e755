"""Rows of a file to a server, and its predictions back, in requests that it takes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.errors import DataError, ServingError, UsageError
from lakeline.serving.release import VERSION_HEADER

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import httpx

ROWS = 5000
"""Rows of a request, unless the server takes fewer: enough that the way there costs little."""

_TIMEOUT = 120.0
_TOO_LARGE, _UNAUTHORIZED, _OK = 413, 401, 200


@dataclass(frozen=True)
class Takes:
    """What a server takes: names of columns (None: it doesn't say), and rows of a request at most."""

    columns: list[str] | None
    rows: int


@dataclass(frozen=True)
class Answered:
    """Predictions for the next rows of a file, and the version that made them, as far as the server says so."""

    predictions: list[float]
    version: str | None


@dataclass(frozen=True)
class _Source:
    """Rows of a file, and how some of them become the body of a request: the body, and its content type."""

    rows: Iterator[Any]
    body: Callable[[Sequence[Any]], tuple[bytes, str]]


def predict(url: str, headers: Mapping[str, str], file: Path) -> Generator[Answered]:
    """Have a server predict the rows of a file, in their order.

    Columns that the model doesn't take, such as the target, stay here.

    Parameters
    ----------
    url
        Address of the server, without a slash at its end.
    headers
        `lakeline.serving.site.authorization()`.
    file
        CSV with a header (.csv), Parquet (.parquet), JSON (.json: a list of objects, or a body of MLflow's protocol) or an object a line
        (.jsonl).

    Yields
    ------
    Answered
        For one request.

    Raises
    ------
    UsageError
        If the file isn't there, or is of another kind.
    DataError
        If it can't be read, or the server refuses rows of it: says which, and why.
    ServingError
        If the server doesn't answer, or not as it should.
    """
    import httpx

    if not file.is_file():
        raise UsageError(f"there is no file {file}.")
    with _speaking(url), httpx.Client(base_url=url, headers=dict(headers), timeout=_TIMEOUT, trust_env=False) as client:
        takes = _takes(client)
        with _reading(file):
            source = _open(file, takes.columns)
        first = 0
        while rows := _next(file, source, takes.rows):
            for answered in _ask(client, source, rows, f"{file}, from row {first} (counted from 0)"):
                yield answered
                first += len(answered.predictions)


def _ask(client: httpx.Client, source: _Source, rows: Sequence[Any], where: str) -> Iterator[Answered]:
    body, kind = source.body(rows)
    answer = client.post("/invocations", content=body, headers={"Content-Type": kind})
    if answer.status_code == _TOO_LARGE and len(rows) > 1:
        half = len(rows) // 2
        yield from _ask(client, source, rows[:half], where)
        yield from _ask(client, source, rows[half:], where)
        return
    if answer.status_code == _UNAUTHORIZED:
        raise ServingError(f"{client.base_url} wants another token than LAKELINE_SERVING_TOKEN is here, or one at all.")
    if answer.is_client_error:
        raise DataError(f"{where}: {_message(answer)}")
    if answer.status_code != _OK:
        raise ServingError(f"{client.base_url} answers with status {answer.status_code}: {_message(answer)}")
    try:
        predictions = [float(value) for value in answer.json()["predictions"]]
    except (ValueError, TypeError, KeyError):
        predictions = []
    if len(predictions) != len(rows):
        raise ServingError(f"{client.base_url} doesn't answer as MLflow's protocol has it, with one number a row: {answer.text[:200]}")
    yield Answered(predictions, answer.headers.get(VERSION_HEADER))


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, TypeError, KeyError):
        return answer.text[:500].strip() or answer.reason_phrase


@contextmanager
def _speaking(url: str) -> Generator[None]:
    """Say what is wrong with a server that can't be spoken to."""
    import httpx

    try:
        yield
    except httpx.InvalidURL as error:
        raise UsageError(f"{url} is no address of a server, such as http://127.0.0.1:8080: {error}") from None
    except httpx.TransportError as error:
        why = f"{type(error).__name__}{f': {error}' if str(error) else ''}"
        raise ServingError(f"{url} doesn't answer ({why}). Is it running? See: lakeline serve MODEL --status") from None


def _takes(client: httpx.Client) -> Takes:
    """What a server says in its OpenAPI document, if it is one of ours."""
    answer = client.get("/openapi.json")
    try:
        schema = answer.json()["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        records = next(form["properties"]["dataframe_records"] for form in schema["oneOf"] if "dataframe_records" in form["properties"])
        return Takes(list(records["items"]["properties"]), min(ROWS, int(records["maxItems"])))
    except (ValueError, TypeError, KeyError, StopIteration):
        return Takes(None, ROWS)


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


def _next(file: Path, source: _Source, most: int) -> list[Any]:
    import itertools

    with _reading(file):
        return list(itertools.islice(source.rows, most))


def _open(file: Path, columns: list[str] | None) -> _Source:
    openers = {".csv": _open_csv, ".parquet": _open_parquet, ".json": _open_json, ".jsonl": _open_lines, ".ndjson": _open_lines}
    if file.suffix.lower() not in openers:
        raise UsageError(f"{file}: rows are read from a file whose name ends with {', '.join(openers)}.")
    return openers[file.suffix.lower()](file, columns)


def _open_csv(file: Path, columns: list[str] | None) -> _Source:
    """Fields go as they are: what is a number, the server knows from the model."""
    stream = file.open(encoding="utf-8-sig", newline="")
    reader = csv.reader(stream, strict=True)
    header = next(reader, [])
    kept = [number for number, name in enumerate(header) if columns is None or name in columns]

    def rows() -> Iterator[list[str]]:
        with stream:
            for line in reader:
                if line:
                    if len(line) != len(header):
                        raise ValueError(f"line {reader.line_num} has {len(line)} fields, and the first one {len(header)}")
                    yield [line[number] for number in kept]

    def body(lines: Sequence[list[str]]) -> tuple[bytes, str]:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([[header[number] for number in kept], *lines])
        return text.getvalue().encode(), "text/csv"

    return _Source(rows(), body)


def _open_parquet(file: Path, columns: list[str] | None) -> _Source:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    kept = [name for name in table.schema_arrow.names if columns is None or name in columns]

    def rows() -> Iterator[list[Any]]:
        with table:
            for batch in table.iter_batches(ROWS, columns=kept):
                values = [batch.column(name).to_pylist() for name in kept]
                yield from ([_plain(value) for value in row] for row in zip(*values, strict=True))

    return _Source(rows(), lambda data: _json({"dataframe_split": {"columns": kept, "data": list(data)}}))


def _json(body: object) -> tuple[bytes, str]:
    return json.dumps(body).encode(), "application/json"


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN, which it can't, is a value that isn't there."""
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return None
    return value if isinstance(value, str | int | float) else value.isoformat() if hasattr(value, "isoformat") else float(value)


def _open_json(file: Path, columns: list[str] | None) -> _Source:
    return _records(iter(_listed(json.loads(file.read_text(encoding="utf-8")))), columns)


def _open_lines(file: Path, columns: list[str] | None) -> _Source:
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


def _records(given: Iterator[Any], columns: list[str] | None) -> _Source:
    def rows() -> Iterator[Any]:
        for number, row in enumerate(given):
            if not isinstance(row, dict):
                raise ValueError(f"row {number} is no object with a value for each column")
            yield row if columns is None else {name: value for name, value in row.items() if name in columns}

    return _Source(rows(), lambda data: _json({"dataframe_records": list(data)}))
