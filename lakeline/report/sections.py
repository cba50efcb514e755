"""The sections of a report, in order: data and its changes, validation, trials, comparison, gates, model, lineage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lakeline.report import plots
from lakeline.report.changes import tables as change_tables
from lakeline.report.parts import Cell, Section, Table, first, head, identifier, real, share, whole
from lakeline.report.verdict import direction, metric_name, unit_of
from lakeline.report.words import compared, count, duration, finite, improvement, metric_of, number, plural, printable, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_SLICES = 40
_MOST_TEXT = 160
_LINEAGE = {
    "data_commit": "Data commit", "data_arrivals": "Arrivals", "spec_digest": "Dataset spec", "code_version": "Code version",
    "image": "Image", "pipeline_run": "Pipeline run", "seed": "Seed",
}  # fmt: skip


def sections(record: Mapping[str, Any]) -> list[Section]:
    """Sections for which the record has something to say."""
    makers = (_data, _changes, _validation, _trials, comparison, gates, _model, lineage)
    return [section for section in (make(record) for make in makers) if section is not None]


def _data(record: Mapping[str, Any]) -> Section | None:
    data = record.get("data") or {}
    if not data:
        return None
    arrivals = data.get("arrivals") or []
    rows = [
        [first(each.get("id")), whole(each.get("rows_raw")), whole(each.get("rows_clean")), share(_kept(each)), identifier(each.get("source"))]
        for each in arrivals
    ]
    table = Table("Arrivals of this run", head("Arrival", "Raw rows", "Clean rows", "Kept", "Source", numbers=("Raw rows", "Clean rows", "Kept")), rows)
    facts = [("Commit", identifier(data["commit"]))] if data.get("commit") else []
    facts += [("Branch", Cell(text(data["branch"]), "id"))] if data.get("branch") else []
    intro = "The same rows were published before: nothing was written." if data.get("status") == "repeated" else ""
    picture = plots.arrivals(arrivals)
    return Section("data", "Data", intro, facts, [picture] if picture else [], [table] if rows else [])


def _changes(record: Mapping[str, Any]) -> Section | None:
    found = change_tables((record.get("data") or {}).get("changes") or {})
    return Section("changes", "What changed", found[0], tables=found[1]) if found else None


def _validation(record: Mapping[str, Any]) -> Section | None:
    validated = record.get("validation") or []
    if not validated:
        return None
    rows: list[list[Cell]] = []
    broken: list[Table] = []
    names: dict[str, list[str]] = {}
    for each in validated:
        checks: Sequence[Mapping[str, Any]] = each.get("checks") or []
        failing = [check for check in checks if (finite(check.get("failed")) or 0) > 0]
        passed = bool(each.get("passed", not failing))
        result = Cell("passed", "good") if passed else Cell(f"{plural(len(failing), 'check')} failed", "bad")
        rows.append([first(each.get("arrival")), Cell(text(each.get("layer"))), whole(each.get("rows")), whole(len(checks)), result])
        broken += [_failing(each, check) for check in failing]
        names.setdefault(text(each.get("layer")), []).extend(text(check.get("check")) for check in checks)
    good = sum(row[-1].kind == "good" for row in rows)
    intro = "Every check holds." if good == len(rows) else "Rows that fail a check are never merged. The first of them are listed below."
    summary = Table("Checks by arrival and layer", head("Arrival", "Layer", "Rows", "Checks", "Result", numbers=("Rows", "Checks")), rows)
    done = [[first(layer), Cell(check)] for layer, checks in names.items() for check in dict.fromkeys(checks)]
    every = [Table("Every check", head("Layer", "Check"), done, folded=True)] if done else []
    return Section("validation", "Validation", intro, tables=[summary, *broken, *every])


def _failing(validated: Mapping[str, Any], check: Mapping[str, Any]) -> Table:
    samples: Sequence[Mapping[str, Any]] = check.get("samples") or []
    caption = (
        f"{text(validated.get('arrival'))}, {text(validated.get('layer'))}: {plural(check.get('failed'), 'row')} of "
        f"{count(validated.get('rows'))} fail “{text(check.get('check'))}”"
        + (f"; the first {len(samples)}" if len(samples) < (finite(check.get("failed")) or 0) and samples else "")
    )
    return Table(
        caption, head("Row", "Value", numbers=("Row",)), [[whole(each.get("row")), Cell(quoted(each.get("value")), "value")] for each in samples]
    )


def quoted(value: Any) -> str:
    """Value of a bad row, so that blanks, nulls and the kinds of values can be told apart."""
    if value is None:
        return "null"
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    shown = printable(shown)
    return shown if len(shown) <= _MOST_TEXT else f"{shown[:_MOST_TEXT]}… ({count(len(shown))} characters)"


def _trials(record: Mapping[str, Any]) -> Section | None:
    results: Sequence[Mapping[str, Any]] = record.get("trials") or []
    if not results:
        return None
    decides, best = metric_name(record), finite(record.get("best"))
    names = sorted({name for each in results for name in each.get("metrics") or {}}, key=lambda name: (name != decides, name))
    rows: list[list[Cell]] = []
    for each in results:
        chosen = best is not None and finite(each.get("number")) == best
        outcome = Cell(text(each["error"]), "bad") if each.get("error") else Cell("best", "good") if chosen else Cell("tried", "neutral")
        rows.append([
            first(each.get("number")), Cell(text(each.get("estimator")).replace("_", " ")), Cell(_parameters(each.get("parameters") or {})),
            *[real(metric_of(each.get("metrics"), name)) for name in names], Cell(duration(each.get("seconds")), "number"), outcome,
        ])  # fmt: skip
    picture = plots.trials(results, best, decides, direction(record), unit_of(record, decides))  # type: ignore[arg-type]
    failed = sum(bool(each.get("error")) for each in results)
    intro = f"{plural(len(results), 'trial')}, compared by {decides} on validation rows, which are not the held-out ones." + (
        f" {plural(failed, 'trial')} failed." if failed else ""
    )
    columns = head("Trial", "Estimator", "Parameters", *names, "Time", "Result", numbers=(*names, "Time"))
    return Section("trials", "Trials", intro, plots=[picture] if picture else [], tables=[Table("Trials", columns, rows)])


def comparison(record: Mapping[str, Any], *, drawn: bool = True) -> Section | None:
    """Candidate against production on the held-out rows; pictures only if `drawn`."""
    evaluation = record.get("evaluation") or {}
    if not evaluation:
        return None
    decides, way = metric_name(record), direction(record)
    target = record.get("target") or {}
    label, unit = text(target.get("column") or "target"), text(target.get("unit") or "")
    ours, theirs = evaluation.get("candidate") or {}, evaluation.get("production")
    version = evaluation.get("production_version")
    rival = f"Production (version {text(version)})" if version is not None else "Production"
    rows = [
        [first(name + (", decides" if name == decides else "")), real(ours[name], 5)]
        + ([real(metric_of(theirs, name), 5), _change(ours[name], metric_of(theirs, name), way if name == decides else _way(name))] if theirs else [])
        for name in sorted(ours, key=lambda each: (each != decides, each))
    ]
    columns = head("Metric", "Candidate", *([rival, "Change"] if theirs else []), numbers=("Candidate", rival, "Change"))
    table = Table(f"Metrics on {plural(evaluation.get('rows'), 'held-out row')}{f' ({unit}; r2 has no unit)' if unit else ''}", columns, rows)
    sample, parts = evaluation.get("sample") or [], evaluation.get("slices") or []
    pictures = [
        plots.predictions(sample, _axis(label, unit), unit),
        plots.residuals(sample, _axis(label, unit), unit),
        plots.slices(parts, decides, unit_of(record, decides)),
    ] if drawn else []  # fmt: skip
    intro = (
        f"Both models were scored on the same {plural(evaluation.get('rows'), 'held-out row')}." if theirs
        else "There is no model in production yet: the candidate stands alone."
    )  # fmt: skip
    return Section(
        "comparison", "Candidate against production" if theirs else "Candidate", intro,
        plots=[plot for plot in pictures if plot], tables=[table, *_slices(parts, decides, way)],
    )  # fmt: skip


def _slices(parts: Sequence[Mapping[str, Any]], decides: str, way: str) -> list[Table]:
    if not parts:
        return []
    shown = sorted(parts, key=lambda part: -(finite(part.get("rows")) or 0))[:_MOST_SLICES]
    order = list(dict.fromkeys(text(part.get("slice")) for part in parts))
    shown.sort(key=lambda part: order.index(text(part.get("slice"))))
    both = any(metric_of(part.get("production"), decides) is not None for part in parts)
    rows: list[list[Cell]] = []
    for part in shown:
        ours, theirs = metric_of(part.get("candidate"), decides), metric_of(part.get("production"), decides)
        row = [first(f"{text(part.get('slice'))} {text(part.get('value'))}"), whole(part.get("rows")), real(ours)]
        rows.append(row + ([real(theirs), _change(ours, theirs, way)] if both else []))
    columns = head("Slice", "Rows", "Candidate", *(["Production", "Change"] if both else []), numbers=("Rows", "Candidate", "Production", "Change"))
    rest = f" (the {len(shown)} largest of {len(parts)})" if len(shown) < len(parts) else ""
    return [Table(f"{decides} by slice{rest}", columns, rows)]


def gates(record: Mapping[str, Any]) -> Section | None:
    """What each gate saw and said."""
    decision = record.get("decision") or {}
    found = decision.get("gates") or []
    if not decision:
        return None
    rows = [
        [first(gate.get("name")), Cell("holds", "good") if gate.get("passed") else Cell("refuses", "bad"), Cell(text(gate.get("text"))),
         _value(gate.get("observed")), _value(gate.get("bound"))]
        for gate in found
    ]  # fmt: skip
    refused = sum(not gate.get("passed") for gate in found)
    intro = "A candidate is promoted only when every gate holds. " + (f"{plural(refused, 'gate')} refused." if refused else "Every gate holds.")
    table = Table("Gates", head("Gate", "Result", "Why", "Observed", "Bound", numbers=("Observed", "Bound")), rows)
    return Section("gates", "Gates", intro, tables=[table] if rows else [])


def _model(record: Mapping[str, Any]) -> Section | None:
    model = record.get("model") or {}
    if not model:
        return None
    facts = [("Name", Cell(text(model.get("name")))), ("Version", Cell(text(model.get("version"))))]
    if model.get("mlflow_run_id"):
        facts.append(("MLflow run", identifier(model["mlflow_run_id"])))
    target = record.get("target") or {}
    if target.get("column"):
        facts.append(("Predicts", Cell(_axis(text(target["column"]), text(target.get("unit") or "")))))
    facts += [(f"{text(kind).capitalize()} features", Cell(_names(columns))) for kind, columns in (model.get("features") or {}).items() if columns]
    return Section("model", "Model", facts=facts)


def lineage(record: Mapping[str, Any]) -> Section | None:
    """From what the result was made."""
    sources = record.get("lineage") or {}
    if not sources:
        return None
    keys = [*(key for key in _LINEAGE if key in sources), *(key for key in sources if key not in _LINEAGE)]
    facts = [(_LINEAGE.get(key, key), _source(key, sources[key])) for key in keys]
    model = record.get("model") or {}
    again = f" lakeline reproduce {text(model.get('name'))} {text(model.get('version'))} builds it again and compares." if model.get("version") else ""
    return Section("lineage", "Lineage", f"What this result was made from. A click on a shortened value selects all of it.{again}", facts)


def _source(key: str, value: Any) -> Cell:
    if key == "data_arrivals":
        return Cell(text(value).replace(",", ", "))
    return identifier(value)


def _names(columns: Any) -> str:
    return text(columns) if isinstance(columns, str) else ", ".join(text(column) for column in columns)


def _change(ours: Any, theirs: Any, way: str) -> Cell:
    better = improvement(ours, theirs, way)
    if better is None or better == 0:
        return Cell(compared(better), "neutral")
    return Cell(compared(better), "good" if better > 0 else "bad")


def _value(value: Any) -> Cell:
    return Cell(number(value), "number") if finite(value) is not None else Cell(text(value), "number")


def _way(name: str) -> str:
    return "maximize" if name == "r2" else "minimize"


def _axis(label: str, unit: str) -> str:
    return f"{label} ({unit})" if unit and unit != "–" else label


def _parameters(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{text(key)} = {number(value) if finite(value) is not None else text(value)}" for key, value in parameters.items()) or "defaults"


def _kept(arrival: Mapping[str, Any]) -> float | None:
    raw, clean = finite(arrival.get("rows_raw")), finite(arrival.get("rows_clean"))
    return clean / raw if raw and clean is not None else None
