"""What an arrival changes in the data: each column of the new rows against all earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakeline.report.parts import Cell, Table, first, head, real, share
from lakeline.report.words import finite, number, percent, plural, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOTABLE_SHIFT = 0.25
_NOTABLE_NULLS = 0.01
_MOST_CATEGORIES = 8


def tables(changes: Mapping[str, Any]) -> tuple[str, list[Table]] | None:
    """Say what changed.

    Parameters
    ----------
    changes
        What publish found.

    Returns
    -------
    tuple[str, list[Table]] | None
        A sentence and the tables; None when there was nothing to compare with.
    """
    columns = changes.get("columns") or {}
    named: Sequence[tuple[str, Mapping[str, Any]]] = (
        list(columns.items()) if hasattr(columns, "items") else [(text(each.get("column") or each.get("name")), each) for each in columns]
    )
    if not named:
        return None
    rows: list[list[Cell]] = []
    notable: list[str] = []
    for name, column in named:
        before, after = column.get("before") or {}, column.get("after") or {}
        shift, remark = _remark(column, before, after)
        notable += [name] if remark else []
        rows.append(
            [
                first(name),
                real(before.get("mean")),
                real(after.get("mean")),
                real(shift, 2),
                _range(before),
                _range(after),
                share(_nulls(before)),
                share(_nulls(after)),
                Cell(remark or "as before", "bad" if remark else "neutral"),
            ]
        )
    names = ("Column", "Mean before", "Mean now", "Shift", "Range before", "Range now", "Null before", "Null now", "Remark")
    table = Table(
        "Columns of the new rows against all earlier rows; shift: difference of the means in standard deviations of the earlier rows",
        head(*names, numbers=names[1:-1]),
        rows,
    )
    sizes = [(changes.get("rows") or {}).get(key) for key in ("before", "after")] if hasattr(changes.get("rows"), "get") else []
    compared = (
        f"{plural(sizes[1], 'new row')} against {plural(sizes[0], 'earlier row')}. "
        if all(finite(size) for size in sizes) and sizes
        else ""
    )
    said = (
        f"{plural(len(notable), 'column')} of {len(rows)} changed notably: {', '.join(notable)}."
        if notable
        else "No column changed notably."
    )
    return compared + said, [table]


def _remark(column: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float | None, str]:
    remarks: list[str] = []
    shift = None
    old, new, spread = finite(before.get("mean")), finite(after.get("mean")), finite(before.get("std"))
    if old is not None and new is not None and spread:
        shift = (new - old) / spread
        if abs(shift) >= _NOTABLE_SHIFT:
            remarks.append(f"mean {'rose' if shift > 0 else 'fell'}")
    nulls = (_nulls(after) or 0) - (_nulls(before) or 0)
    if abs(nulls) >= _NOTABLE_NULLS:
        remarks.append(f"{percent(abs(nulls))} {'more' if nulls > 0 else 'fewer'} nulls")
    categories = [text(each) for each in column.get("new_categories") or []]
    if categories:
        shown = ", ".join(categories[:_MOST_CATEGORIES]) + (
            f" and {len(categories) - _MOST_CATEGORIES} more" if len(categories) > _MOST_CATEGORIES else ""
        )
        remarks.append(f"new: {shown}")
    return shift, "; ".join(remarks)


def _nulls(profile: Mapping[str, Any]) -> float | None:
    return next((finite(profile[key]) for key in ("null_share", "nulls", "null") if key in profile), None)


def _range(profile: Mapping[str, Any]) -> Cell:
    low, high = profile.get("min"), profile.get("max")
    if low is None and high is None:
        return Cell("–", "number")
    return Cell(" to ".join(number(each, 3) if finite(each) is not None else text(each) for each in (low, high)), "number")
