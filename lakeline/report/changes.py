"""What a delivery changes in the data: each column of the new rows against all earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakeline.report.parts import Cell, Table, first, head, real, share
from lakeline.report.words import DASH, SPACE, brief, count, finite, percent, plural, text

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTABLE_SHIFT = 0.25
_NOTABLE_NULLS = 0.01
_MOST_CATEGORIES = 8


def tables(changes: Mapping[str, Any]) -> tuple[str, list[Table]] | None:
    """Say what changed.

    Parameters
    ----------
    changes
        See lakeline.data.profile.changes.

    Returns
    -------
    tuple[str, list[Table]] | None
        A sentence and the tables; None when there was nothing to compare with.
    """
    columns: Mapping[str, Mapping[str, Any]] = changes.get("columns") or {}
    if not columns:
        return None
    remarks = {name: _remarks(column) for name, column in columns.items()}
    notable = [name for name, said in remarks.items() if said]
    nulls = any(_of(column, when).get("null_share") for column in columns.values() for when in ("before", "after"))
    names = ["Column", "Remark", "Mean before", "Mean now", "Shift", "Range before", "Range now"]
    names += ["Null before", "Null now"] if nulls else []
    rows = [_row(name, column, remarks[name], nulls=nulls) for name, column in columns.items()]
    rows.sort(key=lambda row: row[1].kind != "note")
    caption = "Columns of the new rows against all earlier rows. Shift: difference of the means in standard deviations of the earlier rows"
    sizes = changes.get("rows") or {}
    sentence = f"{plural(sizes['after'], 'new row')} against {plural(sizes['before'], 'earlier row')}. " if sizes.get("before") else ""
    if notable:
        sentence += f"{count(len(notable))} of {plural(len(rows), 'column')} changed notably: {', '.join(notable)}."
    else:
        sentence += f"None of {plural(len(rows), 'column')} changed notably."
    return sentence, [Table(caption, head(*names, numbers=names[2:]), rows)]


def _row(name: str, column: Mapping[str, Any], remarks: list[str], *, nulls: bool) -> list[Cell]:
    before, after = _of(column, "before"), _of(column, "after")
    row = [
        first(name),
        Cell("; ".join(remarks), "note") if remarks else Cell("as before", "neutral"),
        real(before.get("mean")),
        real(after.get("mean")),
        Cell(_signed(_shift(column)), "number"),
        _range(before),
        _range(after),
    ]
    return [*row, share(before.get("null_share")), share(after.get("null_share"))] if nulls else row


def _remarks(column: Mapping[str, Any]) -> list[str]:
    before, after = _of(column, "before"), _of(column, "after")
    if not before:
        return ["new column"]
    remarks: list[str] = []
    shift = _shift(column)
    if shift is not None and abs(shift) >= _NOTABLE_SHIFT:
        remarks.append(f"mean {'rose' if shift > 0 else 'fell'}")
    nulls = (finite(after.get("null_share")) or 0) - (finite(before.get("null_share")) or 0)
    if abs(nulls) >= _NOTABLE_NULLS:
        remarks.append(f"nulls {'rose' if nulls > 0 else 'fell'} by {percent(abs(nulls))} of the rows")
    new = [text(each) for each in column.get("new_categories") or []]
    if new:
        more = int(finite(column.get("new_categories_count")) or len(new)) - len(new[:_MOST_CATEGORIES])
        remarks.append(f"new: {', '.join(new[:_MOST_CATEGORIES])}{f' and {count(more)} more' if more > 0 else ''}")
    return remarks


def _of(column: Mapping[str, Any], when: str) -> Mapping[str, Any]:
    return column.get(when) or {}


def _shift(column: Mapping[str, Any]) -> float | None:
    old, new = finite(_of(column, "before").get("mean")), finite(_of(column, "after").get("mean"))
    spread = finite(_of(column, "before").get("std"))
    return (new - old) / spread if old is not None and new is not None and spread else None


def _signed(shift: float | None) -> str:
    if shift is None:
        return DASH
    return f"{'+' if shift > 0 else '−' if shift < 0 else ''}{abs(shift):.2f}"


def _range(profile: Mapping[str, Any]) -> Cell:
    if profile.get("categories") is not None:
        return Cell(plural(profile["categories"], "value"), "number")
    if "categories" in profile:
        return Cell("many values", "number")
    low, high = (profile.get(key) for key in ("min", "max"))
    if low is None or high is None:
        return Cell(DASH, "number")
    if finite(low) is None:  # times: midnights go without saying
        return Cell(" to ".join(text(each).removesuffix(" 00:00:00") for each in (low, high)), "number")
    if low == high:
        return Cell(brief(low), "number")
    return Cell(f"{brief(low)} to{SPACE}{brief(high)}", "number")
