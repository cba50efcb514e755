"""Values of one column: which ones a signature's type takes, and how they become the array that a model takes."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

KINDS = {
    "string": "text",
    "double": "a number",
    "float": "a number",
    "long": "a whole number",
    "integer": "a whole number",
    "boolean": "true or false",
    "datetime": "a time (ISO 8601)",
}
"""MLflow's types that are served, and what each is called."""

_TYPES: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "double": frozenset({float, int}),
    "float": frozenset({float, int}),
    "long": frozenset({float, int}),
    "integer": frozenset({float, int}),
    "boolean": frozenset({bool}),
    "datetime": frozenset({str}),
}
_WHOLE = frozenset({"long", "integer"})
_BOUNDS = {"float": (-3.4028234663852886e38, 3.4028234663852886e38), "long": (-(2**63), 2**63 - 1), "integer": (-(2**31), 2**31 - 1)}
_YEARS = range(1678, 2262)
"""What 64 bits of nanoseconds hold."""
_NULL = type(None)
_SHOWN = 60
"""Characters of a name or value that a message shows at most."""


class Refused(Exception):
    """A request can't be answered for what it is.

    Attributes
    ----------
    status
        HTTP's.
    kind
        What the metrics count it as.
    """

    def __init__(self, message: str, status: int = 400, kind: str = "schema") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a model takes.

    Attributes
    ----------
    kind
        Key of KINDS.
    optional
        Whether it may be left out.
    """

    name: str
    kind: str
    optional: bool = False

    @property
    def nullable(self) -> bool:
        """Whether it may be null in single rows: among whole numbers MLflow has no null, and such a column is given or left out."""
        return self.optional and self.kind not in _WHOLE

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}{', or null' if self.nullable else ', or left out' if self.optional else ''}"


def check(column: Column, values: list[Any]) -> list[Any]:
    """Values of a column, if its type takes them all.

    Parameters
    ----------
    column
        Whose they are.
    values
        As JSON has them.

    Returns
    -------
    list[Any]
        Texts of times are times in UTC; all else is as it was.

    Raises
    ------
    Refused
        If one isn't: names column, row and value.
    """
    wanted = _TYPES[column.kind]
    found = set(map(type, values))
    if not found <= wanted:
        takes = wanted | {_NULL} if column.nullable else wanted
        if not found <= takes:
            _refuse(column, values, lambda value: type(value) not in takes, "")
    present = [value for value in values if value is not None] if _NULL in found else values
    if column.kind == "string":
        try:
            "".join(present).encode()
        except UnicodeEncodeError:
            _refuse(column, values, _no_unicode, "is no valid Unicode")
    elif column.kind == "datetime":
        return [None if value is None else _time(column, row, value) for row, value in enumerate(values)]
    elif column.kind != "boolean":
        _check_numbers(column, values, present)
    return values


def from_text(kind: str, text: str) -> Any:
    """Value that a field of a CSV file means; the text itself where it means none, which `check` then refuses."""
    if text == "":
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind not in ("double", "float", "long", "integer") or "_" in text:  # Python reads 1_000
        return text
    for read in (int, float) if kind in _WHOLE else (float,):  # 2.0 is whole too, and what pandas writes where another row has no number
        with contextlib.suppress(ValueError):
            return read(text)
    return text


def to_array(column: Column, values: list[Any]) -> np.ndarray:
    """Values that `check` passed as an array; nulls are None among texts, NaN among numbers, NaT among times."""
    import numpy as np

    if column.kind == "double":
        return np.array(values, dtype=np.float64)
    if column.kind == "float":
        return np.array(values, dtype=np.float32)
    if column.kind == "datetime":
        return np.array(values, dtype="datetime64[ns]")
    if column.kind == "string":
        return np.array(values, dtype=object)
    if column.kind == "boolean" and None in values:  # booleans have no null
        return np.array(values, dtype=object)
    return np.array(values, dtype={"long": np.int64, "integer": np.int32, "boolean": np.bool_}[column.kind])


def quoted(value: Any) -> str:
    """Name or value as a message shows it: its beginning only, for nobody knows how long it is."""
    text = value.encode(errors="backslashreplace").decode() if isinstance(value, str) else repr(value)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"'{text}'" if isinstance(value, str) else text


def _check_numbers(column: Column, values: list[Any], present: list[Any]) -> None:
    least, most = _BOUNDS.get(column.kind, (-math.inf, math.inf))
    try:
        # A sum is finite if all are; where it isn't, or a type is bounded, each is looked at.
        if most == math.inf and math.isfinite(sum(present)):
            return
    except OverflowError:
        pass
    whole = column.kind in _WHOLE

    def wrong(value: Any) -> bool:
        try:
            number = float(value) if isinstance(value, float) else value
            return not math.isfinite(number) or not least <= number <= most or (whole and number != int(number))
        except OverflowError:
            return True

    if any(map(wrong, present)):
        _refuse(
            column,
            values,
            lambda value: value is not None and wrong(value),
            "is too large, or has decimals" if whole else "is too large, or no number",
        )


def _time(column: Column, row: int, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        time = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError):
        time = None
    if time is None or time.year not in _YEARS:
        raise Refused(f"column {quoted(column.name)}, row {row}: {quoted(text)} is no time (ISO 8601, 1678 to 2261).")
    return time


def _no_unicode(value: Any) -> bool:
    try:
        if value is not None:
            value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _refuse(column: Column, values: list[Any], wrong: Callable[[Any], bool], why: str) -> None:
    """Say which value is wrong, the first of them."""
    row = next(number for number, value in enumerate(values) if wrong(value))
    value = values[row]
    where = f"column {quoted(column.name)}, row {row}"
    if value is None:
        hint = " Where a row has none, leave the column out of the request." if column.optional else ""
        raise Refused(f"{where}: there must be {KINDS[column.kind]}, not null.{hint}")
    shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else quoted(value)
    if isinstance(value, (dict, list)):
        shown = "an object" if isinstance(value, dict) else "a list"
    raise Refused(f"{where}: {shown} {why or f'is not {KINDS[column.kind]}'}.")
