"""Rows of a file to a server, and its predictions back, in requests that it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeline.errors import DataError, ServingError, UsageError
from lakeline.serving.reading import ROWS, next_rows, open_rows
from lakeline.serving.release import VERSION_HEADER

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    import httpx

    from lakeline.serving.reading import Source

_TIMEOUT = 120.0
_TOO_LARGE, _UNAUTHORIZED, _OK = 413, 401, 200
_ROW = re.compile(r"\brow (\d+)\b")


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


def predict(model: str, url: str, headers: Mapping[str, str], file: Path) -> Generator[Answered]:
    """Have a server predict the rows of a file, in their order.

    Columns that the model doesn't take, such as the target, stay here.

    Parameters
    ----------
    model
        Name of the model that must answer, where the server says what it serves.
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
        If the file isn't there, or is of another kind; or if the server is another model's.
    DataError
        If it can't be read, has no rows or no column of the model's, or the server refuses rows of it: says which, and why.
    ServingError
        If the server doesn't answer, or not as it should.
    """
    import httpx

    if not file.is_file():
        raise UsageError(f"there is no file {file}.")
    with _speaking(url), httpx.Client(base_url=url, headers=dict(headers), timeout=_TIMEOUT, trust_env=False) as client:
        _check_model(client, model, url)
        takes = _takes(client)
        source = open_rows(file, takes.columns)
        first = 0
        while rows := next_rows(file, source, takes.rows):
            for answered in _ask(client, source, rows, file, first):
                yield answered
                first += len(answered.predictions)
        if first == 0:
            raise DataError(f"there are no rows in {file}.")


def _check_model(client: httpx.Client, model: str, url: str) -> None:
    """Columns may have the same names in two models."""
    answer = client.get("/version")
    try:
        served = str(answer.json()["model"])
    except (ValueError, TypeError, KeyError):
        return  # MLflow's own server says nothing of the kind
    if served != model:
        raise UsageError(f"{url} serves {served}, not {model}. For its predictions: lakeline predict {served} FILE --url {url}")


def _ask(client: httpx.Client, source: Source, rows: Sequence[Any], file: Path, first: int) -> Iterator[Answered]:
    body, kind = source.body(rows)
    answer = client.post("/invocations", content=body, headers={"Content-Type": kind})
    if answer.status_code == _TOO_LARGE and len(rows) > 1:
        half = len(rows) // 2
        yield from _ask(client, source, rows[:half], file, first)
        yield from _ask(client, source, rows[half:], file, first + half)
        return
    if answer.status_code == _UNAUTHORIZED:
        raise ServingError(f"{client.base_url} wants another token than LAKELINE_SERVING_TOKEN is here, or one at all.")
    if answer.is_client_error:
        raise DataError(_refusal(file, first, _message(answer)))
    if answer.status_code != _OK:
        raise ServingError(f"{client.base_url} answers with status {answer.status_code}: {_message(answer)}")
    try:
        predictions = [float(value) for value in answer.json()["predictions"]]
    except (ValueError, TypeError, KeyError):
        predictions = []
    if len(predictions) != len(rows):
        raise ServingError(f"{client.base_url} doesn't answer as MLflow's protocol has it, with one number a row: {answer.text[:200]}")
    yield Answered(predictions, answer.headers.get(VERSION_HEADER))


def _refusal(file: Path, first: int, message: str) -> str:
    """Say why rows were refused, with a row's number in the file, not in the request."""
    said, named = _ROW.subn(lambda row: f"row {first + int(row[1])} (counted from 0)", message, count=1)
    return f"{file}: {said}" if named else f"{file}, from row {first} (counted from 0): {said}"


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, TypeError, KeyError):
        return answer.text[:500].strip() or answer.reason_phrase


@contextmanager
def _speaking(url: str) -> Generator[None]:
    """Say what is wrong with a server that can't be spoken to."""
    import httpx

    if "://" not in url:
        raise UsageError(f"{url} is no address of a server: http:// is missing. Do: --url http://{url}")
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
