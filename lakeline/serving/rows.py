"""Rows of a request's body: read column by column, and held to the model's signature before the model sees them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeline.data.csvfile import broken_quote
from lakeline.serving.values import KINDS, Column, Refused, check, from_text, quoted, to_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

__all__ = ["CSV", "JSON", "KINDS", "Column", "Refused", "Rows", "content_kind", "frame_of", "parse", "parse_csv", "parse_json"]

JSON, CSV = "application/json", "text/csv"
FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_NAMED = 5
"""Columns that a message names at most."""


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows that the model takes.

    Attributes
    ----------
    columns
        A list of n checked values for each column; a null is None.
    absent
        Columns that were left out and must stay so, for they can't be null.
    """

    n: int
    columns: dict[str, list[Any]]
    absent: frozenset[str] = frozenset()


def content_kind(content_type: str | None, encoding: str | None = None) -> str:
    """What a body is, JSON or CSV.

    Parameters
    ----------
    content_type, encoding
        Headers Content-Type and Content-Encoding.

    Raises
    ------
    Refused
        415, if it is neither, or not UTF-8, or compressed.
    """
    kind, _, parameters = (content_type or "").partition(";")
    kind = kind.strip().lower()
    if kind not in (JSON, CSV):
        was = f"not {quoted(kind)}" if kind else "and it must be said"
        raise Refused(f"the body may be {JSON} or {CSV} (header Content-Type), {was}.", 415, "content_type")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise Refused(f"the body must be UTF-8, not {quoted(value.strip())}.", 415, "content_type")
    if encoding and encoding.strip().lower() != "identity":
        raise Refused(f"the body must not be compressed ({quoted(encoding)}).", 415, "content_type")
    return kind


def parse(body: bytes, kind: str, columns: Sequence[Column], most: int) -> Rows:
    """Rows of a body.

    Parameters
    ----------
    body
        As it came.
    kind
        From `content_kind`.
    columns
        What the model takes.
    most
        Rows that a request may have.

    Raises
    ------
    Refused
        If it isn't what it should be: says what, and in which column and row (counted from 0) that can be said of.
    """
    return (parse_csv if kind == CSV else parse_json)(body, columns, most)


def parse_json(body: bytes, columns: Sequence[Column], most: int) -> Rows:
    """Rows of a JSON body in one of MLflow's four formats; the rest is as with `parse`."""
    try:
        told = _DECODER.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused(f"the body is not UTF-8 (byte {error.start}).", kind="json") from None
    except json.JSONDecodeError as error:
        raise Refused(f"the body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).", kind="json") from None
    except RecursionError:
        raise Refused("the body is nested too deeply.", kind="json") from None
    except ValueError as error:  # Infinity, and an integer of thousands of digits
        raise Refused(f"the body is not valid JSON: {error}", kind="json") from None
    if not isinstance(told, dict):
        raise Refused(f"the body must be a JSON object with one of {', '.join(FORMATS)}.")
    form = [name for name in FORMATS if name in told]
    others = [name for name in told if name not in FORMATS and (name != "params" or told[name])]
    if len(form) != 1 or others:
        found = f"It has {_names(told)}." if told else "It is empty."
        raise Refused(f"the body must have exactly one of {', '.join(FORMATS)}, and nothing else. {found}")
    given = told[form[0]]
    if form[0] == "dataframe_split":
        return _split(given, columns, most)
    if form[0] == "inputs" and isinstance(given, dict):
        return _by_column(given, columns, most)
    return _records(form[0], given, columns, most)


def parse_csv(body: bytes, columns: Sequence[Column], most: int) -> Rows:
    """Rows of a CSV body with a header; an empty field is a null; the rest is as with `parse`."""
    import csv
    import io

    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"the body is not UTF-8 (byte {error.start}).", kind="csv") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        lines = [line for line in reader if line]
    except csv.Error as error:
        raise Refused(f"the body is not valid CSV: {broken_quote(str(error), reader.line_num)}", kind="csv") from None
    if not header:
        raise Refused("the body is empty: its first line must name the columns.")
    if "" in header:
        raise Refused("the first line has a column without a name. Where it is pandas' index, write with to_csv(index=False).")
    made = _from_lines(header, lines, columns, most, "line")
    kinds = {column.name: column.kind for column in columns}
    return _checked(len(lines), {name: [from_text(kinds[name], text) for text in texts] for name, texts in made.items()}, columns)


def frame_of(requests: Sequence[Rows], columns: Sequence[Column]) -> pd.DataFrame:
    """Rows of several requests, which have left out the same columns, as one DataFrame, in their order, typed as the model takes them."""
    import itertools

    import pandas as pd

    there = [column for column in columns if column.name not in requests[0].absent]
    if len(requests) == 1:
        made = {column.name: to_array(column, requests[0].columns[column.name]) for column in there}
    else:
        made = {
            column.name: to_array(column, list(itertools.chain.from_iterable(rows.columns[column.name] for rows in requests)))
            for column in there
        }
    return pd.DataFrame(made, copy=False)


def _split(given: Any, columns: Sequence[Column], most: int) -> Rows:
    """`{"columns": [...], "data": [[...], ...]}`; the `index` that pandas writes is not looked at."""
    if not isinstance(given, dict) or not {"columns", "data"} <= given.keys() <= {"columns", "data", "index"}:
        raise Refused('dataframe_split must be an object with "columns" and "data".')
    header, data = given["columns"], given["data"]
    if not isinstance(header, list) or not all(isinstance(name, str) for name in header):
        raise Refused("dataframe_split: columns must be a list of names.")
    if not isinstance(data, list):
        raise Refused("dataframe_split: data must be a list of rows.")
    for number, row in enumerate(data) if set(map(type, data)) - {list} else ():
        if not isinstance(row, list):
            raise Refused(f"dataframe_split: row {number} must be a list of values.")
    return _checked(len(data), _from_lines(header, data, columns, most, "row"), columns)


def _from_lines(header: list[str], data: list[list[Any]], columns: Sequence[Column], most: int, what: str) -> dict[str, list[Any]]:
    """Columns of rows whose values are in the order of a header."""
    _count(len(data), most)
    if len(set(header)) < len(header):
        raise Refused(f"these columns are there twice: {_names({name: 0 for name in header if header.count(name) > 1})}.")
    _named(header, columns)
    if set(map(len, data)) != {len(header)}:
        number, row = next((number, row) for number, row in enumerate(data) if len(row) != len(header))
        raise Refused(f"{what} {number + 2 if what == 'line' else number} has {len(row)} values, and there are {len(header)} columns.")
    return {name: list(values) for name, values in zip(header, zip(*data, strict=True), strict=True)}


def _records(form: str, given: Any, columns: Sequence[Column], most: int) -> Rows:
    """`[{"a": 1, ...}, ...]`."""
    if not isinstance(given, list):
        raise Refused(f"{form} must be a list of objects, one for each row.")
    _count(len(given), most)
    if set(map(type, given)) != {dict}:
        number = next(number for number, row in enumerate(given) if not isinstance(row, dict))
        raise Refused(f"{form}: row {number} must be an object with a value for each column.")
    names = dict.fromkeys(column.name for column in columns).keys()
    there: set[str] = set()
    for number, row in enumerate(given):
        if row.keys() != names:
            _named(row, columns, f" in row {number}")
        if len(there) < len(names):
            there |= row.keys()
    return _checked(len(given), {name: [row.get(name) for row in given] for name in names if name in there}, columns)


def _by_column(given: dict[str, Any], columns: Sequence[Column], most: int) -> Rows:
    """`{"a": [1, ...], ...}`."""
    _named(given, columns)
    for name, values in given.items():
        if not isinstance(values, list):
            raise Refused(f"column {quoted(name)} must be a list with a value for each row.")
    lengths = {len(values) for values in given.values()}
    if len(lengths) != 1:
        raise Refused(
            "the columns have different numbers of rows: "
            + ", ".join(f"{quoted(name)}: {len(given[name])}" for name in list(given)[:_NAMED])
            + "."
        )
    n = lengths.pop()
    _count(n, most)
    return _checked(n, given, columns)


def _count(n: int, most: int) -> None:
    if n == 0:
        raise Refused("there are no rows.")
    if n > most:
        raise Refused(f"there are {n:,} rows, and a request may have {most:,}. Send them in several requests.", 413, "too_large")


def _named(given: Iterable[str], columns: Sequence[Column], where: str = "") -> None:
    """Refuse columns that the model doesn't know, and the lack of those that it needs."""
    there = dict.fromkeys(given)
    known = {column.name for column in columns}
    unknown = {name: 0 for name in there if name not in known}
    missing = {column.name: 0 for column in columns if column.name not in there and not column.optional}
    if unknown:
        raise Refused(f"unknown column{where}: {_names(unknown)}. The model takes {', '.join(column.name for column in columns)}.")
    if missing:
        raise Refused(f"missing column{where}: {_names(missing)}.")


def _checked(n: int, given: dict[str, list[Any]], columns: Sequence[Column]) -> Rows:
    made: dict[str, list[Any]] = {}
    for column in columns:
        values = given.get(column.name)
        made[column.name] = [None] * n if values is None else check(column, values)
    return Rows(n, made, frozenset(column.name for column in columns if column.name not in given and not column.nullable))


def _names(names: dict[str, Any]) -> str:
    listed = ", ".join(quoted(name) for name in list(names)[:_NAMED])
    return listed if len(names) <= _NAMED else f"{listed} and {len(names) - _NAMED} more"


def _constant(name: str) -> None:
    """A null for NaN, which is what MLflow's own client writes for a missing number."""
    if name != "NaN":
        raise ValueError(f"{name} is no JSON value; a value that isn't there is null.")


_DECODER = json.JSONDecoder(parse_constant=_constant)
