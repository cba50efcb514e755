"""The part of a report that is about rows: what was delivered, what it changes, which checks it passed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lakeline.report import plots
from lakeline.report.changes import tables
from lakeline.report.parts import Cell, Section, Table, first, head, identifier, share, whole
from lakeline.report.words import count, finite, plural, printable, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONG = 12
_LONGEST = 160


def data(record: Mapping[str, Any]) -> Section | None:
    """Arrivals of the run, and where they went."""
    found = record.get("data") or {}
    if not found:
        return None
    arrivals: Sequence[Mapping[str, Any]] = found.get("arrivals") or []
    columns = head("Arrival", "Raw rows", "Clean rows", "Kept", "Source", numbers=("Raw rows", "Clean rows", "Kept"))
    rows = [_arrival(each) for each in arrivals]
    facts = [(label, identifier(found[key])) for label, key in (("Commit", "commit"), ("Branch", "branch")) if found.get(key)]
    said = ["The same rows were published before: nothing was written."] if found.get("status") == "repeated" else []
    intro = " ".join(said + [text(each) for each in found.get("left_out") or []])
    picture = plots.arrivals(arrivals)
    made = [Table("Arrivals", columns, rows, folded=len(rows) > _LONG)] if rows else []
    return Section("data", "Data", intro, facts, [picture] if picture else [], made)


def changes(record: Mapping[str, Any]) -> Section | None:
    """Columns of the new rows against those of all earlier ones."""
    found = tables((record.get("data") or {}).get("changes") or {})
    return Section("changes", "What changed", found[0], tables=found[1]) if found else None


def validation(record: Mapping[str, Any]) -> Section | None:
    """Checks of each layer of each arrival, and the rows that fail them."""
    validated: Sequence[Mapping[str, Any]] = record.get("validation") or []
    if not validated:
        return None
    rows = [_validated(each) for each in validated]
    broken = [(each, check) for each in validated for check in failing(each)]
    done = dict.fromkeys((text(each.get("layer")), text(check.get("check"))) for each in validated for check in each.get("checks") or [])
    columns = head("Arrival", "Layer", "Rows", "Checks", "Result", numbers=("Rows", "Checks"))
    long = len(rows) > _LONG and not broken
    made = [Table("Checks by arrival and layer", columns, rows, folded=long), *_broken(broken)]
    if done:
        every = [[first(layer), Cell(check)] for layer, check in done]
        made.append(Table("Every check", head("Layer", "Check"), every, folded=True))
    intro = "Rows that fail a check are never merged." if any(row[-1].kind == "bad" for row in rows) else "Every check holds."
    return Section("validation", "Validation", intro, tables=made)


def failing(validated: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Checks that rows, or the table as a whole, fail."""
    return [check for check in validated.get("checks") or [] if (finite(check.get("failed")) or 0) > 0 or check.get("problem")]


def quoted(value: Any) -> str:
    """Value of a bad row, so that blanks, nulls and the kinds of values can be told apart."""
    if value is None:
        return "null"
    shown = printable(json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value))
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({count(len(shown))} characters)"


def _arrival(each: Mapping[str, Any]) -> list[Cell]:
    raw, clean = finite(each.get("rows_raw")), finite(each.get("rows_clean"))
    kept = clean / raw if raw and clean is not None else None
    return [first(each.get("id")), whole(raw), whole(clean), share(kept), Cell(text(each.get("source")))]


def _validated(each: Mapping[str, Any]) -> list[Cell]:
    bad = len(failing(each))
    passed = bool(each.get("passed", not bad))
    result = Cell("passed", "good") if passed else Cell(f"{plural(bad, 'check')} failed" if bad else "failed", "bad")
    return [
        first(each.get("arrival")),
        Cell(text(each.get("layer"))),
        whole(each.get("rows")),
        whole(len(each.get("checks") or [])),
        result,
    ]


def _broken(broken: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[Table]:
    if not broken:
        return []
    rows = [
        [
            first(each.get("arrival")),
            Cell(text(each.get("layer"))),
            whole(check.get("failed")),
            Cell(text(check.get("check")) + (f": {text(check['problem'])}" if check.get("problem") else ""), "bad"),
        ]
        for each, check in broken
    ]
    listed = Table("Failed checks", head("Arrival", "Layer", "Failing rows", "Check", numbers=("Failing rows",)), rows)
    return [listed, *(_samples(each, check) for each, check in broken if check.get("samples"))]


def _samples(each: Mapping[str, Any], check: Mapping[str, Any]) -> Table:
    samples: Sequence[Mapping[str, Any]] = check["samples"]
    caption = (
        f"{text(each.get('arrival'))}, {text(each.get('layer'))}: {plural(check.get('failed'), 'row')} of {count(each.get('rows'))} "
        f"{'fails' if finite(check.get('failed')) == 1 else 'fail'} “{text(check.get('check'))}”"
    )
    if len(samples) < (finite(check.get("failed")) or 0):
        caption += f"; the first {len(samples)}"
    rows = [[whole(row.get("row")), Cell(quoted(row.get("value")), "value")] for row in samples]
    return Table(caption, head("Row", "Value", numbers=("Row",)), rows)
