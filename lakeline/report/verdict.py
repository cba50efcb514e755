"""How a run ended, in one plain sentence and a handful of key figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakeline.report.parts import Card
from lakeline.report.words import SPACE, compared, count, finite, improvement, listed, metric_of, number, percent, plural, quantity, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Outcome = Literal["promoted", "held", "refused", "failed", "published", "repeated", "evaluated", "ended"]
LABELS: dict[Outcome, str] = {
    "promoted": "✓ Promoted",
    "held": "■ Held back",
    "refused": "✗ Refused",
    "failed": "✗ Failed",
    "published": "✓ Published",
    "repeated": "= Nothing new",
    "evaluated": "● Evaluated",
    "ended": "● Ended",
}


@dataclass(frozen=True)
class Verdict:
    """How the run ended: a sentence, what it is based on, and, if it failed, the error."""

    outcome: Outcome
    sentence: str
    reasons: Sequence[str] = ()
    error: str = ""

    @property
    def label(self) -> str:
        """Outcome in a word or two, with a sign."""
        return LABELS[self.outcome]


def metric_name(record: Mapping[str, Any]) -> str:
    """Name of the metric that decides."""
    return str((record.get("metric") or {}).get("name") or "rmse")


def direction(record: Mapping[str, Any]) -> str:
    """Whether less or more of the metric is better."""
    return str((record.get("metric") or {}).get("direction") or ("maximize" if metric_name(record) == "r2" else "minimize"))


def unit_of(record: Mapping[str, Any], name: str) -> str:
    """Unit of a metric: the target's, except of r2, which has none."""
    return "" if name == "r2" else str((record.get("target") or {}).get("unit") or "")


def judge(record: Mapping[str, Any]) -> Verdict:
    """Say how the run ended.

    Parameters
    ----------
    record
        See lakeline.report.record.Record.

    Returns
    -------
    Verdict
        The sentence at the top of the page.
    """
    run, data = record.get("run") or {}, record.get("data") or {}
    decision = record.get("decision") or {}
    error = text(run.get("error")) if run.get("error") else ""
    refused = [each for each in record.get("validation") or [] if each.get("passed") is False]
    if refused:
        return Verdict("refused", _refused(refused), error=error)
    if error or str(run.get("status", "")).lower() in {"failed", "error"}:
        return Verdict("failed", _failed(record), error=error or "The run ended without saying why; its log has more.")
    if decision.get("verdict"):
        return _decided(record, decision)
    if record.get("evaluation"):
        return Verdict("evaluated", f"{_candidate(record)} was evaluated: {_performance(record)}. Nothing was promoted.")
    if data.get("status") == "repeated":
        return Verdict("repeated", f"Nothing new: {_arrivals(data)} {_was(data)} published before. {_dataset(record)} stays as it was.")
    if data.get("commit"):
        rows = sum(finite(each.get("rows_clean")) or 0 for each in data.get("arrivals") or [])
        added = f" with {plural(rows, 'clean row')}" if rows else ""
        return Verdict("published", f"{_arrivals(data)} {_was(data)} published{added}: every check holds.")
    return Verdict("ended", f"The run of {_dataset(record)} ended.")


def cards(record: Mapping[str, Any]) -> list[Card]:
    """Key figures of the run, the metric that decides first."""
    return [*_metric_cards(record), *_search_cards(record), *_data_cards(record)]


def _decided(record: Mapping[str, Any], decision: Mapping[str, Any]) -> Verdict:
    reasons = [text(reason) for reason in decision.get("reasons") or []]
    if decision.get("verdict") == "promoted":
        return Verdict("promoted", f"{_candidate(record)} was promoted: {_performance(record)}.", reasons)
    refused = [gate for gate in decision.get("gates") or [] if not gate.get("passed")]
    which = f" {plural(len(refused), 'gate')} of {len(decision.get('gates') or [])} refused it." if refused else ""
    return Verdict("held", f"{_candidate(record)} was held back: {_performance(record)}.{which}", reasons)


def _performance(record: Mapping[str, Any]) -> str:
    """Metric of the candidate, against production's on the same rows."""
    evaluation, name = record.get("evaluation") or {}, metric_name(record)
    ours = metric_of(evaluation.get("candidate"), name)
    theirs = metric_of(evaluation.get("production"), name)
    rows = plural(evaluation.get("rows"), "held-out row")
    if ours is None:
        return "its metrics are not in this record"
    said = f"{name} {quantity(ours, unit_of(record, name), 3)}"
    if theirs is None:
        return f"{said} on {rows}, with no model in production to compare it with"
    version = evaluation.get("production_version")
    other = f"version{SPACE}{text(version)}" if version is not None else "the model in production"
    better = improvement(ours, theirs, direction(record))
    words = f"the same as {other}" if better == 0 else f"{compared(better)} than {other}"
    return f"{said}, {words} on the same {rows}"


def _refused(refused: Sequence[Mapping[str, Any]]) -> str:
    failing = [check for each in refused for check in each.get("checks") or [] if (finite(check.get("failed")) or 0) > 0]
    names = listed(list(dict.fromkeys(text(each.get("arrival")) for each in refused)))
    layers = " and ".join(dict.fromkeys(text(each.get("layer")) for each in refused))
    if len(failing) == 1:
        rows = f"{plural(failing[0].get('failed'), 'row')} of {count(refused[0].get('rows'))}"
        return f"{names} was refused: {rows} {'fails' if finite(failing[0].get('failed')) == 1 else 'fail'} a check of the {layers} layer."
    return f"{names} was refused: {plural(len(failing), 'check')} of the {layers} layer failed."


def _failed(record: Mapping[str, Any]) -> str:
    run = record.get("run") or {}
    kind = f"{run.get('pipeline')} run" if run.get("pipeline") else "run"
    return f"The {kind} of {_dataset(record)} failed."


def _metric_cards(record: Mapping[str, Any]) -> list[Card]:
    evaluation = record.get("evaluation") or {}
    ours, theirs = evaluation.get("candidate") or {}, evaluation.get("production")
    decides = metric_name(record)
    made: list[Card] = []
    for name in sorted(ours, key=lambda each: (each != decides, each)):
        way = "maximize" if name == "r2" else "minimize"
        better = improvement(ours[name], metric_of(theirs, name), direction(record) if name == decides else way)
        kind = "text" if better is None or better == 0 else "good" if better > 0 else "bad"
        note = (
            f"{compared(better)} than {_production(evaluation)}, {number(metric_of(theirs, name))}" if better
            else f"the same as {_production(evaluation)}" if better == 0 else "no model in production to compare with"
        )  # fmt: skip
        made.append(Card(f"{name}{', decides' if name == decides else ''}", quantity(ours[name], unit_of(record, name)), note, kind))
    if evaluation:
        made.append(Card("Held-out rows", count(evaluation.get("rows")), "no model of this data learned from them"))
    return made


def _search_cards(record: Mapping[str, Any]) -> list[Card]:
    made: list[Card] = []
    gates = (record.get("decision") or {}).get("gates") or []
    if gates:
        passed = sum(bool(gate.get("passed")) for gate in gates)
        note = "every gate holds" if passed == len(gates) else f"refused by: {', '.join(text(g.get('name')) for g in gates if not g.get('passed'))}"
        made.append(Card("Gates", f"{passed} of {len(gates)}", note, "good" if passed == len(gates) else "bad"))
    results = record.get("trials") or []
    if results:
        best = next((each for each in results if finite(each.get("number")) == finite(record.get("best"))), None)
        failed = sum(bool(each.get("error")) for each in results)
        note = f"best: trial {text(best.get('number'))}, {text(best.get('estimator')).replace('_', ' ')}" if best else "none chosen"
        made.append(Card("Trials", count(len(results)), note + (f"; {count(failed)} failed" if failed else "")))
    return made


def _data_cards(record: Mapping[str, Any]) -> list[Card]:
    made: list[Card] = []
    data = record.get("data") or {}
    arrivals = data.get("arrivals") or []
    raw, clean = (sum(finite(each.get(key)) or 0 for each in arrivals) for key in ("rows_raw", "rows_clean"))
    if raw:
        made.append(Card("Raw rows", count(raw), f"{'nothing new' if data.get('status') == 'repeated' else 'arrived'}: {_arrivals(data)}"))
    if clean:
        made.append(Card("Clean rows", count(clean), f"{percent(clean / raw)} kept by the transform" if raw else ""))
    checks = [check for each in record.get("validation") or [] for check in each.get("checks") or []]
    if checks:
        bad = sum((finite(check.get("failed")) or 0) > 0 for check in checks)
        made.append(
            Card("Checks", f"{count(len(checks) - bad)} of {count(len(checks))}", f"{count(bad)} failed" if bad else "every check holds",
                 "bad" if bad else "good")
        )  # fmt: skip
    return made


def _candidate(record: Mapping[str, Any]) -> str:
    version = (record.get("model") or {}).get("version")
    return f"Version{SPACE}{text(version)}" if version is not None else "The candidate"


def _production(evaluation: Mapping[str, Any]) -> str:
    version = evaluation.get("production_version")
    return f"version{SPACE}{text(version)}" if version is not None else "production"


def _arrivals(data: Mapping[str, Any]) -> str:
    return listed([text(each.get("id")) for each in data.get("arrivals") or []])


def _was(data: Mapping[str, Any]) -> str:
    return "was" if len(data.get("arrivals") or []) == 1 else "were"


def _dataset(record: Mapping[str, Any]) -> str:
    return text((record.get("run") or {}).get("dataset") or "the data set")
