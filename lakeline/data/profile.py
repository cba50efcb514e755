"""What an arrival's clean rows look like, and what a delivery changes in the data set."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakeline.data.names import numbered

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Profile = dict[str, Any]
"""`rows`, and `columns`: by name, `kind`, `nulls` and what that kind has: numbers `mean`, `m2` (sum of squared deviations), `min`, `max`;
times `min`, `max`; categories `values` (None if there are too many to list)."""

CATEGORIES = 1_000
_NAMED = 20


def schema_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of the names and types of the columns of Parquet files: equal schemas, equal digests."""
    import pyarrow.parquet as pq

    schemas = {"\n".join(f"{part.name}: {part.type}" for part in pq.read_schema(path)) for path in paths}
    return hashlib.sha256("\n\n".join(sorted(schemas)).encode()).hexdigest()


def profile(path: Path) -> Profile:
    """Describe the columns of a Parquet file, out of core.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Profile
        JSON-able, and the same on every machine: one thread adds up, in the order of the rows. NaN, and numbers
        beyond ±3.4e38, count as nulls.
    """
    import duckdb
    import pyarrow.parquet as pq

    stored = list(pq.read_schema(path))
    kinds = {f"c{number}": kind for number, part in enumerate(stored) if (kind := _kind(part.type)) is not None}
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = numbered("$path", len(stored))
        asked = [part for column, kind in kinds.items() for part in _aggregates(column, kind)]
        found = connection.execute(f"SELECT count(*){''.join(', ' + part for part in asked)} FROM {table}", {"path": str(path)}).fetchone()  # noqa: S608
        rows, *values = found or (0,)
        columns = {
            part.name: _column(rows, kinds[column], values, lambda column=column: _values(connection, table, path, column))
            for part, column in ((part, f"c{number}") for number, part in enumerate(stored))
            if column in kinds
        }
    return {"rows": rows, "columns": columns}


def changes(before: Sequence[Profile], after: Sequence[Profile]) -> dict[str, Any]:
    """Compare a delivery with all earlier rows.

    Parameters
    ----------
    before
        Profiles of the earlier arrivals.
    after
        Profiles of the delivery's arrivals.

    Returns
    -------
    dict
        `rows`: how many `before` and `after` (those of the delivery). `columns`: by name, `before` and `after` with
        `null_share` and, of numbers, `mean`, `std`, `min`, `max`; of categories `new_categories`. No columns if there was nothing earlier.
    """
    old, new = _together(before), _together(after)
    columns: dict[str, Any] = {}
    for name, column in new["columns"].items() if old["rows"] else ():
        earlier = old["columns"].get(name)
        columns[name] = {"before": _shown(earlier) if earlier else {}, "after": _shown(column)}
        if earlier and column.get("values") is not None and earlier.get("values") is not None:
            fresh = sorted(set(column["values"]) - set(earlier["values"]))
            columns[name] |= {"new_categories": fresh[:_NAMED], "new_categories_count": len(fresh)}
    return {"rows": {"before": old["rows"], "after": new["rows"]}, "columns": columns}


def _kind(stored: pa.DataType) -> Literal["number", "time", "category"] | None:
    from lakeline.data.rules import family

    kinds: dict[str, Literal["number", "time", "category"]] = {
        "integer": "number",
        "number": "number",
        "timestamp": "time",
        "text": "category",
        "boolean": "category",
    }
    return kinds.get(family(stored))


def _aggregates(column: str, kind: str) -> list[str]:
    from lakeline.data.conversion import LARGEST

    if kind == "number":
        value = f"CASE WHEN abs({column}::DOUBLE) <= {LARGEST} THEN {column}::DOUBLE END"
        return [f"{function}({value})" for function in ("count", "avg", "var_pop", "min", "max")]
    if kind == "time":
        return [f"count({column})", f"min({column})::VARCHAR", f"max({column})::VARCHAR"]
    return [f"count({column})"]


def _column(rows: int, kind: str, values: list[Any], categories: Any) -> dict[str, Any]:
    """Take what was asked of one column off the front of `values`."""
    count = values.pop(0)
    column: dict[str, Any] = {"kind": kind, "nulls": rows - count}
    if kind == "number":
        mean, variance = values.pop(0), values.pop(0)
        column |= {"mean": mean, "m2": None if variance is None else variance * count}
    if kind == "category":
        return column | {"values": categories()}
    return column | {"min": values.pop(0), "max": values.pop(0)}


def _values(connection: duckdb.DuckDBPyConnection, table: str, path: Path, column: str) -> list[str] | None:
    query = f"SELECT DISTINCT {column}::VARCHAR AS v FROM {table} WHERE v IS NOT NULL LIMIT {CATEGORIES + 1}"  # noqa: S608
    found = connection.execute(query, {"path": str(path)}).fetchall()
    return None if len(found) > CATEGORIES else sorted(value for (value,) in found)


def _together(profiles: Sequence[Profile]) -> Profile:
    """Profile of the rows of all."""
    result: Profile = {"rows": 0, "columns": {}}
    for each in profiles:
        for name, column in each["columns"].items():
            this = column | {"rows": each["rows"]}
            known = result["columns"].get(name)
            result["columns"][name] = this if known is None or known["kind"] != this["kind"] else _joined(known, this)
        result["rows"] += each["rows"]
    return result


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Profile of a column over the rows of both (Chan, Golub and LeVeque 1979 for mean and squared deviations)."""
    column: dict[str, Any] = {"kind": one["kind"], "rows": one["rows"] + other["rows"], "nulls": one["nulls"] + other["nulls"]}
    if one["kind"] == "category":
        both = None if one["values"] is None or other["values"] is None else sorted({*one["values"], *other["values"]})
        return column | {"values": both}
    full = [each for each in (one, other) if each["rows"] > each["nulls"]]
    for key, choose in (("min", min), ("max", max)):
        column[key] = choose(each[key] for each in full) if full else None
    if one["kind"] == "number":
        column |= {"mean": None, "m2": None} | {key: full[0][key] for key in ("mean", "m2") if full}
        if len(full) == 2:  # noqa: PLR2004
            n, m = (each["rows"] - each["nulls"] for each in full)
            gap = other["mean"] - one["mean"]
            column["mean"] = one["mean"] + gap * m / (n + m)
            column["m2"] = one["m2"] + other["m2"] + gap * gap * n * m / (n + m)
    return column


def _shown(column: Mapping[str, Any]) -> dict[str, Any]:
    rows, count = column["rows"], column["rows"] - column["nulls"]
    shown: dict[str, Any] = {"null_share": column["nulls"] / rows if rows else None}
    if column["kind"] == "category":
        return shown | {"categories": None if column["values"] is None else len(column["values"])}
    if column["kind"] == "number":
        shown |= {"mean": column["mean"], "std": math.sqrt(column["m2"] / count) if count else None}
    return shown | {"min": column["min"], "max": column["max"]}
