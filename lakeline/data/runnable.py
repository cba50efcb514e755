"""What a run would refuse of a spec, found before it is pushed: values that can't be, and templates that can't be filled in."""

from __future__ import annotations

import datetime as dt
import math
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from lakeline.data.arrivals import ID, NEXT, arrival_id, arrival_parameters, examples
from lakeline.data.consistency import Flaw, templates, uses
from lakeline.data.names import alike
from lakeline.errors import UsageError

if TYPE_CHECKING:
    from lakeline.data.spec import ArrivalParameter, Column, DatasetSpec, Scalar, Table

OPTIONS = frozenset({"arrival", "dataset", "help", "json", "lake", "most", "ref", "timeout", "trials", "version", "wait"})
"""Options of `lakeline run` and `lakeline submit`, which no arrival parameter can be asked for by."""

_LONGEST_ID = 150  # it names files and branches
_LAST_PORT = 65_535
_SEEDS = 2**32 - 1  # numpy's; a split takes the next one as well
_Path = tuple[str | int, ...]


def obstacles(spec: DatasetSpec) -> Iterator[Flaw]:
    """Find what keeps a run from using a spec whose parts fit together.

    A spec that was pushed before one of these checks was made may have such a flaw: it is still read, and a run says what it can't do.
    """
    yield from _values(spec.model_dump(), ())
    impossible = list(_parameters(spec))
    yield from impossible
    if not impossible:
        yield from _templates(spec)
    yield from _source(spec)
    for part, table in (("raw", spec.raw), ("clean", spec.clean)):
        yield from _table((part, "columns"), table)
    yield from _uses(spec)
    yield from _numbers(spec)


def _values(value: Any, path: _Path) -> Iterator[Flaw]:
    """Numbers that aren't finite, and texts that no file or query can hold."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _unwritable(key):
                yield Flaw(path, f"{key!r} has a character that can't be written")
            yield from _values(inner, (*path, key))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _values(inner, (*path, number))
    elif isinstance(value, float) and not math.isfinite(value):
        yield Flaw(path, "should be a finite number" + (", or be left out" if path[-1] in {"minimum", "maximum"} else ""))
    elif isinstance(value, int) and abs(value) >= 2**63:
        yield Flaw(path, "is too large: 64 bits hold the numbers up to 9,223,372,036,854,775,807")
    elif isinstance(value, str) and _unwritable(value):
        yield Flaw(path, f"{value!r} has a character that can't be written")


def _unwritable(text: object) -> bool:
    return isinstance(text, str) and ("\0" in text or any("\ud800" <= character <= "\udfff" for character in text))


def _parameters(spec: DatasetSpec) -> Iterator[Flaw]:
    path, seen = ("arrival", "parameters"), dict[str, str]()
    for name, parameter in spec.arrival.parameters.items():
        if not name.isidentifier():
            yield Flaw((*path, name), "a parameter's name is of letters, digits and _, and doesn't begin with a digit")
        elif name in OPTIONS:
            yield Flaw((*path, name), f"--{name} is an option of `lakeline run` already: choose another name")
        elif name.casefold() in seen:
            yield Flaw((*path, name), f"differs from {seen[name.casefold()]!r} in case only, which SQL doesn't tell apart")
        seen.setdefault(name.casefold(), name)
        yield from _possible((*path, name), parameter)


def _possible(path: _Path, parameter: ArrivalParameter) -> Iterator[Flaw]:
    low, high = parameter.minimum, parameter.maximum
    if parameter.type == "text" and (low is not None or high is not None):
        yield Flaw(path, "minimum and maximum: only whole numbers have them; the type is 'text'")
    elif low is not None and high is not None and low > high:
        yield Flaw(path, f"minimum ({low}) is more than maximum ({high})")
    if parameter.choices is None:
        return
    if not parameter.choices:
        yield Flaw((*path, "choices"), "is empty: no value would do")
    for choice in parameter.choices:
        item, whole = str(choice), isinstance(choice, int)
        if whole != (parameter.type == "integer"):
            hint = "" if parameter.type == "integer" else ": put it in quotes"
            yield Flaw(
                (*path, "choices"), f"{choice!r} is {'a whole number' if whole else 'text'}; the type is {parameter.type!r}{hint}", item
            )
        elif not ID.fullmatch(item):
            yield Flaw((*path, "choices"), f"{choice!r} may hold letters, digits, - and _ only", item)
        elif isinstance(choice, int) and ((low is not None and choice < low) or (high is not None and choice > high)):
            yield Flaw((*path, "choices"), f"{choice} is not between minimum and maximum", item)
        elif parameter.choices.count(choice) > 1:
            yield Flaw((*path, "choices"), f"{choice!r} is there twice", item)


def _templates(spec: DatasetSpec) -> Iterator[Flaw]:
    """Fill the templates in for possible arrivals, as a run would; the first that fails is said of each."""
    for path, template in templates(spec):
        wide = next((form for _, _, form, _ in string.Formatter().parse(template) if form and re.search(r"\d{5,}", form)), None)
        flaw = f"{wide!r} is too wide a format" if wide else None
        for parameters in [] if flaw else examples(spec):
            try:
                text = template.format(**parameters)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                flaw = f"{template!r} can't be filled in: {error}"
            else:
                flaw = _unusable(path[-1], text) if path[0] == "source" else _no_id(spec, text, parameters)
            if flaw:
                break
        if flaw:
            yield Flaw(path, flaw)
            if path == ("arrival", "id"):
                return


def _no_id(spec: DatasetSpec, text: str, parameters: Mapping[str, int | str]) -> str | None:
    if not ID.fullmatch(text):
        return f"an id is of letters, digits, - and _ only; this makes {text!r}"
    if len(text) > _LONGEST_ID:
        return f"an id has {_LONGEST_ID} characters at most; this makes one of {len(text)}"
    if text == NEXT:
        return f"makes {text!r}, which stands for the arrivals that follow: choose another id"
    try:
        again = arrival_parameters(spec, text)
    except UsageError:
        again = {}
    if again != parameters or arrival_id(spec, parameters) != text:
        said = ", ".join(f"{name} {value}" for name, value in parameters.items())
        return f"makes {text!r} of {said}, which can't be read back: give numbers a width ({{month:02d}}), or put - between the parameters"
    return None


def _unusable(key: str | int, text: str) -> str | None:
    """Say why a filled-in template of the source can't be used; a condition is left to the check of the SQL."""
    if key == "url":
        import httpx

        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as error:
            return f"{text!r} is no URL: {error}"
        if not url.host:
            return f"{text!r} names no host"
        return None if url.port is None or 0 < url.port <= _LAST_PORT else f"{text!r} is no URL: there is no port {url.port}"
    if key in {"local", "path", "member"}:
        path = PurePosixPath(text)
        if not text.strip():
            return "is empty: leave the key out"
        if key != "member" and (path.is_absolute() or ".." in path.parts):
            return f"{text!r} leads out of its folder: a path begins there, without / at the front or .. in it"
    return "is empty: leave the key out" if key == "where" and not text.strip() else None


def _source(spec: DatasetSpec) -> Iterator[Flaw]:
    source = spec.source
    if source.kind == "package" and not source.package.isidentifier():
        yield Flaw(("source", "package"), f"{source.package!r} is no name that a package is imported by")
    for arrival in source.sha256:
        try:
            arrival_parameters(spec, arrival)
        except UsageError as error:
            yield Flaw(("source", "sha256", arrival), str(error))
        except (ValueError, LookupError, TypeError, re.error):
            return  # of the id, which has been said


def _table(path: _Path, table: Table) -> Iterator[Flaw]:
    if not table.columns:
        yield Flaw(path, "name at least one column")
    for name, column in table.columns.items():
        if not name:
            yield Flaw(path, "a column has a name")
        yield from _column((*path, name), column, table.minimum_rows)
    for name, others in alike(name for name, column in table.columns.items() if not column.regex).items():
        yield Flaw((*path, others[0]), f"differs from {name!r} in case only, which SQL doesn't tell apart")


def _column(path: _Path, column: Column, rows: int) -> Iterator[Flaw]:
    low = -math.inf if column.minimum is None else column.minimum
    high = math.inf if column.maximum is None else column.maximum
    if column.type == "integer" and math.isfinite(low) and math.isfinite(high) and math.ceil(low) > math.floor(high):
        yield Flaw(path, f"no whole number lies between {low:g} and {high:g}")
    if column.one_of is None:
        return
    wrong = next((value for value in column.one_of if not _of_type(value, column.type)), None)
    if not column.one_of:
        yield Flaw((*path, "one_of"), "is empty: no value would do")
    elif wrong is not None:
        hint = {"text": ": put it in quotes", "boolean": ": write true or false without quotes"}.get(column.type, "")
        yield Flaw((*path, "one_of"), f"{_written(wrong)} is {_kind(wrong)}; the type is {column.type!r}{hint}", str(wrong))
    elif not any(_passes(value, low, high, column.pattern) for value in column.one_of):
        yield Flaw((*path, "one_of"), "none of the values passes the other checks of this column")
    elif column.unique and not column.nullable and len(set(column.one_of)) < rows:
        yield Flaw((*path, "unique"), f"an arrival has at least {rows:,} rows, and here are {len(set(column.one_of))} values")


def _of_type(value: Scalar, kind: str) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "timestamp":
        try:
            return isinstance(value, str) and bool(dt.datetime.fromisoformat(value))
        except ValueError:
            return False
    fits = {
        "integer": number and float(value).is_integer(),
        "number": number,
        "text": isinstance(value, str),
        "boolean": isinstance(value, bool),
    }
    return fits.get(kind, True)


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "a whole number" if isinstance(value, int) else "a number"


def _written(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _passes(value: Scalar, low: float, high: float, pattern: str | None) -> bool:
    if pattern is not None:
        return re.fullmatch(pattern, str(value)) is not None
    return isinstance(value, (str, bool)) or low <= value <= high


def _uses(spec: DatasetSpec) -> Iterator[Flaw]:
    clean = spec.clean.columns
    key = spec.experiment.key
    for path, name in [*uses(spec), *([(("experiment", "key"), key)] if key is not None else [])]:
        if clean[name].regex:
            yield Flaw(path, f"{name!r} is an expression in clean.columns: name the column that it is to be", name)
        elif path == ("features", "categorical") and clean[name].type == "timestamp":
            yield Flaw(path, f"{name!r} is a timestamp: derive numbers or text from it in transform.sql", name)


def _numbers(spec: DatasetSpec) -> Iterator[Flaw]:
    seeds = [(("search", "seed"), spec.search.seed)]
    seeds += [(("split", "seed"), spec.split.seed)] if spec.split.kind == "random" else []
    for path, seed in seeds:
        if not 0 <= seed < _SEEDS:
            yield Flaw(path, f"should be 0 to {_SEEDS - 1:,} (it is {seed})")
    for name, bound in spec.gates.bounds.items():
        path, low, high = ("gates", "bounds", name), bound.minimum, bound.maximum
        if low is not None and high is not None and low > high:
            yield Flaw(path, f"minimum ({low:g}) is more than maximum ({high:g})")
        if name == "r2" and low is not None and low > 1:
            yield Flaw((*path, "minimum"), f"r2 is never more than 1 (it is {low:g})")
        if name != "r2" and high is not None and high < 0:
            yield Flaw((*path, "maximum"), f"{name} is never less than 0 (it is {high:g})")
    for field, quantity in (("cpu", spec.serving.cpu), ("memory", spec.serving.memory)):
        amount = re.fullmatch(r"(\d+(?:\.\d+)?)(m|Mi|Gi)?", quantity)
        if amount is None or not float(amount[1]) or ("." in amount[1] and amount[2]):
            yield Flaw(
                ("serving", field),
                f"{quantity!r} is no amount that Kubernetes takes, such as {'500m or 0.5' if field == 'cpu' else '512Mi'}",
            )
