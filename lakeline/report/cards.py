"""Key figures of a run, for the top of its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakeline.report.delivered import failing
from lakeline.report.measure import measure
from lakeline.report.parts import Card
from lakeline.report.words import SPACE, compared, count, finite, listed, metric_of, pair, percent, plural, text, tone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def cards(record: Mapping[str, Any]) -> list[Card]:
    """Key figures, the metric that decides first."""
    return [*_metrics(record), *_gates(record), *_trials(record), *_rows(record), *_checks(record)]


def _metrics(record: Mapping[str, Any]) -> list[Card]:
    evaluation: Mapping[str, Any] = record.get("evaluation") or {}
    if not evaluation:
        return []
    decides = measure(record)
    ours, theirs, version = evaluation.get("candidate") or {}, evaluation.get("production"), evaluation.get("production_version")
    rival = f"version{SPACE}{text(version)}" if version is not None else "production"
    made: list[Card] = []
    for name in sorted(ours, key=decides.order):
        their = metric_of(theirs, name)
        better = decides.better(ours[name], their, name)
        mine, other = pair(ours[name], their)
        if their is None:
            note = f"{rival} could not be scored" if version is not None else "no model in production yet"
            note = note if name == decides.name else ""
        else:
            note = f"the same as {rival}" if better == 0 else f"{compared(better)} than {rival}, {other}"
        label = f"{name}, decides" if name == decides.name else name
        made.append(Card(label, mine, note, decides.unit_of(name), tone(better)))
    made.append(Card("Held-out rows", count(evaluation.get("rows")), "the candidate did not learn from them"))
    return made


def _gates(record: Mapping[str, Any]) -> list[Card]:
    gates: Sequence[Mapping[str, Any]] = (record.get("decision") or {}).get("gates") or []
    if not gates:
        return []
    refused = [text(gate.get("name")) for gate in gates if not gate.get("passed")]
    note = f"refused by {listed(refused)}" if refused else "every gate holds"
    return [Card("Gates", f"{len(gates) - len(refused)} of {len(gates)}", note, kind="bad" if refused else "good")]


def _trials(record: Mapping[str, Any]) -> list[Card]:
    results: Sequence[Mapping[str, Any]] = record.get("trials") or []
    if not results:
        return []
    chosen = finite(record.get("best"))
    best = next((each for each in results if chosen is not None and finite(each.get("number")) == chosen), None)
    failed = sum(bool(each.get("error")) for each in results)
    note = f"best: {text(best.get('number'))}, {text(best.get('estimator')).replace('_', ' ')}" if best else "none chosen"
    return [Card("Trials", count(len(results)), f"{note}; {count(failed)} failed" if failed else note)]


def _rows(record: Mapping[str, Any]) -> list[Card]:
    data = record.get("data") or {}
    arrivals: Sequence[Mapping[str, Any]] = data.get("arrivals") or []
    raw, clean = (sum(finite(each.get(key)) or 0 for each in arrivals) for key in ("rows_raw", "rows_clean"))
    names = listed([text(each.get("id")) for each in arrivals])
    made = [Card("Raw rows", count(raw), f"nothing new: {names}" if data.get("status") == "repeated" else names)] if raw else []
    if clean:
        made.append(Card("Clean rows", count(clean), f"{percent(clean / raw)} of the raw rows" if raw else ""))
    return made


def _checks(record: Mapping[str, Any]) -> list[Card]:
    validated: Sequence[Mapping[str, Any]] = record.get("validation") or []
    checks = sum(len(each.get("checks") or []) for each in validated)
    if not checks:
        return []
    bad = sum(len(failing(each)) for each in validated)
    note = f"{plural(bad, 'check')} failed" if bad else "every check holds"
    return [Card("Checks", f"{count(checks - bad)} of {count(checks)}", note, kind="bad" if bad else "good")]
