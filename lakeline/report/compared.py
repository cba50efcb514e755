"""The part of a report that is about models: the trials, and the candidate against the model in production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakeline.report import plots
from lakeline.report.measure import Measure, measure
from lakeline.report.parts import Cell, Section, Table, first, head, real, whole
from lakeline.report.words import brief, compared, duration, finite, metric_of, pair, plural, text, tone
from lakeline.training.search import failures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_SLICES = 40
_LONG = 15


def trials(record: Mapping[str, Any]) -> Section | None:
    """Each trial of the search, with its metrics on the validation rows."""
    results: Sequence[Mapping[str, Any]] = record.get("trials") or []
    if not results:
        return None
    decides, best = measure(record), finite(record.get("best"))
    names = sorted({name for each in results for name in each.get("metrics") or {}}, key=decides.order)
    columns = head("Trial", "Estimator", "Parameters", *names, "Time", "Result", numbers=(*names, "Time"))
    rows = [_trial(each, names, chosen=best is not None and finite(each.get("number")) == best) for each in results]
    picture = plots.trials(results, best, decides)
    failed = failures(results)
    intro = f"{plural(len(results), 'trial')}, compared by {decides.name} on validation rows, which are not the held-out ones."
    if failed:
        intro += f" {text(failed)}."
    return Section("trials", "Trials", intro, plots=[picture] if picture else [], tables=[Table("Trials", columns, rows)])


def comparison(record: Mapping[str, Any], *, drawn: bool = True) -> Section | None:
    """Candidate against production on the held-out rows; with pictures if `drawn`."""
    evaluation: Mapping[str, Any] = record.get("evaluation") or {}
    if not evaluation:
        return None
    decides, parts = measure(record), evaluation.get("slices") or []
    pictures = _pictures(record, decides) if drawn else []
    theirs, version = evaluation.get("production"), evaluation.get("production_version")
    rows = plural(evaluation.get("rows"), "held-out row")
    if theirs:
        intro = f"Both models were scored on the same {rows}."
    elif version is not None:
        reason = text(evaluation.get("production_reason") or "it could not be loaded").rstrip(".")
        intro = f"Version {text(version)}, in production, could not be scored: {reason}."
    else:
        intro = "There is no model in production yet: the candidate stands alone."
    made = [_metrics(evaluation, decides), *_slices(parts, decides)]
    title = "Candidate against production" if theirs else "Candidate"
    return Section("comparison", title, intro, plots=pictures, tables=made)


def _trial(each: Mapping[str, Any], names: Sequence[str], *, chosen: bool) -> list[Cell]:
    if each.get("error"):
        outcome = Cell(text(each["error"]), "bad")
    else:
        outcome = Cell("best", "good") if chosen else Cell(text(each.get("note") or "tried"), "neutral")
    return [
        first(each.get("number")),
        Cell(text(each.get("estimator")).replace("_", " ")),
        Cell(_parameters(each.get("parameters") or {})),
        *[real(metric_of(each.get("metrics"), name)) for name in names],
        Cell(duration(each.get("seconds")), "number"),
        outcome,
    ]


def _parameters(parameters: Mapping[str, Any]) -> str:
    said = [f"{text(key)} = {brief(value)}" for key, value in parameters.items()]
    return ", ".join(said) or "defaults"


def _pictures(record: Mapping[str, Any], decides: Measure) -> list[plots.Plot]:
    evaluation, target = record["evaluation"], record.get("target") or {}
    sample, unit = evaluation.get("sample") or [], text(target.get("unit") or "")
    label = labelled(text(target.get("column") or "target"), unit)
    made = [
        plots.predictions(sample, label, unit),
        plots.residuals(sample, label, unit),
        plots.slices(evaluation.get("slices") or [], decides),
    ]
    return [plot for plot in made if plot is not None]


def _metrics(evaluation: Mapping[str, Any], decides: Measure) -> Table:
    ours, theirs = evaluation.get("candidate") or {}, evaluation.get("production")
    version = evaluation.get("production_version")
    rival = f"Production (version {text(version)})" if version is not None else "Production"
    rows: list[list[Cell]] = []
    for name in sorted(ours, key=decides.order):
        their = metric_of(theirs, name)
        shown = [Cell(value, "number") for value in pair(ours[name], their)]
        named = first(f"{name}, decides" if name == decides.name else name)
        rows.append([named, *shown, _change(decides.better(ours[name], their, name))] if theirs else [named, shown[0]])
    columns = head("Metric", "Candidate", *([rival, "Change"] if theirs else []), numbers=("Candidate", rival))
    unit = f" ({decides.unit}; r2 has no unit)" if decides.unit else ""
    return Table(f"Metrics on {plural(evaluation.get('rows'), 'held-out row')}{unit}", columns, rows)


def _slices(parts: Sequence[Mapping[str, Any]], decides: Measure) -> list[Table]:
    if not parts:
        return []
    shown = sorted(parts, key=lambda part: -(finite(part.get("rows")) or 0))[:_MOST_SLICES]
    order = list(dict.fromkeys(text(part.get("slice")) for part in parts))
    shown.sort(key=lambda part: order.index(text(part.get("slice"))))
    both = any(metric_of(part.get("production"), decides.name) is not None for part in parts)
    rows: list[list[Cell]] = []
    for part in shown:
        ours, theirs = metric_of(part.get("candidate"), decides.name), metric_of(part.get("production"), decides.name)
        row = [first(f"{text(part.get('slice'))} {text(part.get('value'))}"), whole(part.get("rows"))]
        row += [Cell(value, "number") for value in pair(ours, theirs)] if both else [real(ours)]
        rows.append([*row, _change(decides.better(ours, theirs))] if both else row)
    columns = head("Slice", "Rows", "Candidate", *(["Production", "Change"] if both else []), numbers=("Rows", "Candidate", "Production"))
    rest = f" (the {len(shown)} largest of {len(parts)})" if len(shown) < len(parts) else ""
    return [Table(f"{decides.name} by slice{rest}", columns, rows, folded=len(rows) > _LONG)]


def _change(better_by: float | None) -> Cell:
    return Cell(compared(better_by), tone(better_by))


def labelled(label: str, unit: str) -> str:
    """Name of a column with its unit."""
    return f"{label} ({unit})" if unit else label
