"""What a spec asks of a column's values, as vectorised rules that pandera runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from lakeline.data.spec import Column, ColumnType, Scalar

if TYPE_CHECKING:
    import pandas as pd

Family = Literal["integer", "number", "text", "timestamp", "boolean", "null", "other"]
KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "text": "text",
    "timestamp": "a timestamp",
    "boolean": "true or false",
}
_SHOWN_VALUES = 8


@dataclass(frozen=True)
class Rule:
    """Something that every value of a column must be; `ok` maps values (pandas) to a mask, without nulls unless `nulls`."""

    column: str
    text: str
    ok: Callable[[pd.Series], pd.Series]
    nulls: bool = False


def family(kind: pa.DataType) -> Family:
    """Family of an Arrow type; a dictionary is of the family of its values, a type that extends another of that one's."""
    types = pa.types
    if types.is_dictionary(kind):
        return family(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return family(kind.storage_type)
    tests: dict[Family, tuple[Callable[[pa.DataType], bool], ...]] = {
        "integer": (types.is_integer,),
        "number": (types.is_floating, types.is_decimal),
        "text": (types.is_string, types.is_large_string, types.is_string_view),
        "timestamp": (types.is_timestamp, types.is_date),
        "boolean": (types.is_boolean,),
        "null": (types.is_null,),
    }
    for name, those in tests.items():
        if any(test(kind) for test in those):
            return name
    return "other"


def plainly(column: pa.Array) -> pa.Array:
    """Give the values of a column as they are, where it has a dictionary of them or a type that extends another."""
    if isinstance(column, pa.ExtensionArray):
        return plainly(column.storage)
    return plainly(column.dictionary_decode()) if isinstance(column, pa.DictionaryArray) else column


def stored_as(name: str, column: Column, kind: pa.DataType, *, text_may_parse: bool) -> str | None:
    """Say what is wrong with the type that a column is stored as.

    Parameters
    ----------
    name, column
        The column, as the spec has it.
    kind
        Type in the file.
    text_may_parse
        Whether text will do where the spec says another kind: its values are then parsed by the rules.

    Returns
    -------
    str or None
        None if every value *could* be of the spec's kind.
    """
    allowed: dict[str, set[Family]] = {
        "integer": {"integer", "number"},
        "number": {"integer", "number"},
        "text": {"text"},
        "timestamp": {"timestamp"},
        "boolean": {"boolean"},
    }
    found = family(kind)
    if found == "other" and column.one_of is not None:
        return f"column {name} is stored as {kind}, which is none of the values that the spec allows"
    if column.type == "any" or found == "null" or found in allowed[column.type] or (found == "text" and text_may_parse):
        return None
    return f"column {name} is stored as {kind}; the spec says {column.type}"


def rules(name: str, column: Column, kind: pa.DataType) -> list[Rule]:
    """Rules that the values of a column must pass, given the type that they are stored as.

    Parameters
    ----------
    name, column
        The column, as the spec has it. `unique` is no rule: it needs all values at once.
    kind
        Type in the file, of which `stored_as` found nothing wrong.

    Returns
    -------
    list of Rule
        Empty if the type alone says that every value is fine: such a column needs no reading.
    """
    found = family(kind)
    result: list[Rule] = []
    if not column.nullable:
        result.append(Rule(name, f"{name} is never null", lambda values: values.notna(), nulls=True))
    if found == "null":
        return result
    parse: Callable[[pd.Series], pd.Series] = lambda values: values  # noqa: E731 (a function chosen by type)
    if found == "text" and column.type not in {"text", "any"}:
        parse = _Parser(column.type)
        result.append(Rule(name, f"{name} is {KINDS[column.type]}", parse.ok))
    elif found == "number" and column.type in {"integer", "number"}:
        result.append(Rule(name, f"{name} is {KINDS[column.type]}", _whole if column.type == "integer" else _finite))
    is_number = column.type in {"integer", "number"} or found in {"integer", "number"}
    if is_number and (column.minimum is not None or column.maximum is not None):
        low = -math.inf if column.minimum is None else column.minimum
        high = math.inf if column.maximum is None else column.maximum
        result.append(
            Rule(name, _range_text(name, low, high), lambda values: _unless_unparsed(parse(values), lambda n: n.between(low, high)))
        )
    if column.one_of is not None:
        known = list(column.one_of)
        result.append(Rule(name, _one_of_text(name, known), lambda values: _unless_unparsed(parse(values), lambda v: v.isin(known))))
    if column.pattern is not None:
        pattern = re.compile(column.pattern)
        result.append(Rule(name, f"{name} matches {column.pattern}", lambda values: _fullmatch(values, pattern)))
    return result


class _Parser:
    """Parses text as ingest does: what is null then is not of the kind."""

    def __init__(self, kind: ColumnType) -> None:
        self._kind: ColumnType = kind

    def __call__(self, values: pd.Series) -> pd.Series:
        import duckdb
        import pandas as pd

        from lakeline.data.convert import CASTS

        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("texts", pa.table({"v": pa.array(values, pa.string(), from_pandas=True)}))
            parsed: Any = connection.execute(f"SELECT {CASTS[self._kind].format('v')} AS v FROM texts").df()  # noqa: S608
        return pd.Series(parsed["v"].to_numpy(), index=values.index)

    def ok(self, values: pd.Series) -> pd.Series:
        return self(values).notna()


def _whole(values: pd.Series) -> pd.Series:
    return (np.floor(values) == values) & _finite(values)


def _finite(values: pd.Series) -> pd.Series:
    return values.abs() < math.inf


def _unless_unparsed(values: pd.Series, ok: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """Text that is no number at all has failed for that already."""
    return ok(values) | values.isna()


def _fullmatch(values: pd.Series, pattern: re.Pattern[str]) -> pd.Series:
    return values.isin([value for value in values.unique() if pattern.fullmatch(str(value))])


def _range_text(name: str, low: float, high: float) -> str:
    if high == math.inf:
        return f"{name} is at least {low:.12g}"
    return f"{name} is at most {high:.12g}" if low == -math.inf else f"{name} is between {low:.12g} and {high:.12g}"


def _one_of_text(name: str, known: Sequence[Scalar]) -> str:
    shown = ", ".join(str(value) for value in known[:_SHOWN_VALUES])
    more = f" and {len(known) - _SHOWN_VALUES} more" if len(known) > _SHOWN_VALUES else ""
    return f"{name} is one of {shown}{more}"
