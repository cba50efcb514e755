"""The sections of a report, in order: data and its changes, validation, trials, comparison, gates, model, lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakeline.report import compared, delivered
from lakeline.report.parts import Cell, Section, Table, first, head, identifier
from lakeline.report.words import brief, finite, percent, plural, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LINEAGE = {
    "data_commit": "Data commit",
    "data_arrivals": "Arrivals",
    "spec_digest": "Dataset spec",
    "split": "Split",
    "code_version": "Code version",
    "image": "Image",
    "pipeline_run": "Pipeline run",
    "seed": "Seed",
}
_FRACTIONS = {"improvement", "slices"}
"""Gates whose numbers are fractions of production's metric."""


def sections(record: Mapping[str, Any]) -> list[Section]:
    """Sections for which the record has something to say."""
    makers = (delivered.data, delivered.changes, delivered.validation, compared.trials, compared.comparison, gates, model, lineage)
    return [section for section in (make(record) for make in makers) if section is not None]


def gates(record: Mapping[str, Any]) -> Section | None:
    """What each gate saw and said."""
    found: Sequence[Mapping[str, Any]] = (record.get("decision") or {}).get("gates") or []
    if not found:
        return None
    rows = [
        [
            first(gate.get("name")),
            Cell("holds", "good") if gate.get("passed") else Cell("refuses", "bad"),
            _value(gate, "observed"),
            _value(gate, "bound"),
            Cell(text(gate.get("text"))),
        ]
        for gate in found
    ]
    refused = sum(not gate.get("passed") for gate in found)
    said = f"{plural(refused, 'gate')} refused." if refused else "Every gate holds."
    columns = head("Gate", "Result", "Observed", "Bound", "Why", numbers=("Observed", "Bound"))
    return Section("gates", "Gates", f"A candidate is promoted only when every gate holds. {said}", tables=[Table("Gates", columns, rows)])


def model(record: Mapping[str, Any]) -> Section | None:
    """The registered model, what it predicts and from what."""
    found = record.get("model") or {}
    if not found:
        return None
    target = record.get("target") or {}
    facts = [("Name", Cell(text(found.get("name")))), ("Version", Cell(text(found.get("version"))))]
    if found.get("mlflow_run_id"):
        facts.append(("MLflow run", identifier(found["mlflow_run_id"])))
    if target.get("column"):
        facts.append(("Predicts", Cell(compared.labelled(text(target["column"]), text(target.get("unit") or "")))))
    facts += [
        (f"{text(kind).capitalize()} features", Cell(_names(columns))) for kind, columns in (found.get("features") or {}).items() if columns
    ]
    return Section("model", "Model", facts=facts)


def lineage(record: Mapping[str, Any]) -> Section | None:
    """From what the result was made."""
    sources: Mapping[str, Any] = record.get("lineage") or {}
    if not sources:
        return None
    keys = [*(key for key in _LINEAGE if key in sources), *(key for key in sources if key not in _LINEAGE)]
    facts = [(_LINEAGE.get(key, key), _source(key, sources[key])) for key in keys]
    intro = "What this result was made from. A click on a shortened value selects all of it."
    registered = record.get("model") or {}
    if registered.get("version") is not None:
        command = f"lakeline reproduce {text(registered.get('name'))} {text(registered['version'])}"
        facts.append(("To make it again", Cell(command, "value")))
    return Section("lineage", "Lineage", intro, facts)


def _source(key: str, value: Any) -> Cell:
    return Cell(text(value).replace(",", ", ")) if key == "data_arrivals" else identifier(value)


def _names(columns: Any) -> str:
    return text(columns) if isinstance(columns, str) else ", ".join(text(column) for column in columns)


def _value(gate: Mapping[str, Any], key: str) -> Cell:
    value = gate.get(key)
    return Cell(percent(value) if gate.get("name") in _FRACTIONS and finite(value) is not None else brief(value), "number")
