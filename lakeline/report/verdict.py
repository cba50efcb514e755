"""How a run ended, in one plain sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakeline.report.delivered import failing
from lakeline.report.measure import measure
from lakeline.report.words import SPACE, compared, count, finite, listed, metric_of, plural, quantity, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Outcome = Literal["promoted", "held", "refused", "failed", "published", "checked", "repeated", "evaluated", "deployed", "ended"]
_LABELS: dict[Outcome, str] = {
    "promoted": "✓ Promoted",
    "held": "■ Held back",
    "refused": "✗ Refused",
    "failed": "✗ Failed",
    "published": "✓ Published",
    "checked": "✓ Checked",
    "repeated": "= Nothing new",
    "evaluated": "● Evaluated",
    "deployed": "✓ Deployed",
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
        return _LABELS[self.outcome]


def judge(record: Mapping[str, Any]) -> Verdict:
    """Say how the run ended.

    Parameters
    ----------
    record
        See lakeline.report.record.Record.

    Returns
    -------
    Verdict
        The sentence at the top of the page. An error counts more than what was reached before it.
    """
    run = record.get("run") or {}
    error = "\n".join(line.strip() for line in text(run["error"]).splitlines()) if run.get("error") else ""
    refused = [each for each in record.get("validation") or [] if each.get("passed") is False]
    if refused:
        return Verdict("refused", _refused(refused), error=error)
    if error or str(run.get("status") or "").lower() in {"failed", "error"}:
        kind = f"{text(run['pipeline'])} run" if run.get("pipeline") else "run"
        return Verdict("failed", f"The {kind} of {_dataset(record)} failed.", error=error or "It did not say why. Its log has more.")
    if (record.get("decision") or {}).get("verdict"):
        return _decided(record)
    if record.get("evaluation"):
        return Verdict("evaluated", f"{_candidate(record)} was evaluated: {_performance(record)}. Nothing was promoted.")
    return _published(record)


def _published(record: Mapping[str, Any]) -> Verdict:
    data = record.get("data") or {}
    arrivals: Sequence[Mapping[str, Any]] = data.get("arrivals") or []
    names = listed([text(each.get("id")) for each in arrivals]) if arrivals else ""
    was = "was" if len(arrivals) == 1 else "were"
    if data.get("status") == "repeated":
        said = f"{names} {was} published before" if names else "all of it was published before"
        return Verdict("repeated", f"Nothing new: {said}. {_dataset(record)} stays as it was.")
    if data.get("commit") and names:
        rows = sum(finite(each.get("rows_clean")) or 0 for each in arrivals)
        added = f" with {plural(rows, 'clean row')}" if rows else ""
        return Verdict("published", f"{names} {was} published{added}: every check holds.")
    checked: Sequence[Mapping[str, Any]] = record.get("validation") or []
    if checked:
        names = listed(list(dict.fromkeys(text(each.get("arrival")) for each in checked)))
        layers = " and ".join(dict.fromkeys(text(each.get("layer")) for each in checked))
        return Verdict("checked", f"{names}: every check of the {layers} rows holds.")
    return Verdict("ended", f"The run of {_dataset(record)} ended.")


def _decided(record: Mapping[str, Any]) -> Verdict:
    decision = record["decision"]
    reasons = [text(reason) for reason in decision.get("reasons") or []]
    if decision["verdict"] == "promoted":
        return Verdict("promoted", f"{_candidate(record)} was promoted: {_performance(record)}.", reasons)
    gates: Sequence[Mapping[str, Any]] = decision.get("gates") or []
    refused = sum(not gate.get("passed") for gate in gates)
    which = f" {count(refused)} of {plural(len(gates), 'gate')} refused it." if refused else ""
    return Verdict("held", f"{_candidate(record)} was held back: {_performance(record)}.{which}", reasons)


def _performance(record: Mapping[str, Any]) -> str:
    """Metric of the candidate, against production's on the same rows."""
    evaluation, decides = record.get("evaluation") or {}, measure(record)
    ours = metric_of(evaluation.get("candidate"), decides.name)
    theirs = metric_of(evaluation.get("production"), decides.name)
    version = evaluation.get("production_version")
    rival = f"version{SPACE}{text(version)}" if version is not None else "the model in production"
    if ours is None:
        return "its metrics are not in this record"
    rows = plural(evaluation.get("rows"), "held-out row")
    said = f"{decides.name} {quantity(ours, decides.unit_of(), 3)}"
    if theirs is None:
        missing = f"{rival} could not be scored on them" if version is not None else "there was no model in production to compare it with"
        return f"{said} on {rows}; {missing}"
    better = decides.better(ours, theirs)
    return f"{said}, {f'the same as {rival}' if better == 0 else f'{compared(better)} than {rival}'} on the same {rows}"


def _refused(refused: Sequence[Mapping[str, Any]]) -> str:
    broken = [(each, check) for each in refused for check in failing(each)]
    names = listed(list(dict.fromkeys(text(each.get("arrival")) for each in refused)))
    layers = " and ".join(dict.fromkeys(text(each.get("layer")) for each in refused))
    if len(broken) != 1:
        return f"{names} was refused: {plural(len(broken), 'check')} of the {layers} rows failed."
    each, check = broken[0]
    if check.get("problem"):
        return f"{names} was refused: {text(check['problem']).rstrip('.')}."
    rows = f"{count(check.get('failed'))} of {plural(each.get('rows'), f'{layers} row')}"
    return f"{names} was refused: {rows} {'fails' if finite(check.get('failed')) == 1 else 'fail'} “{text(check.get('check'))}”."


def _candidate(record: Mapping[str, Any]) -> str:
    version = (record.get("model") or {}).get("version")
    return f"Version{SPACE}{text(version)}" if version is not None else "The candidate"


def _dataset(record: Mapping[str, Any]) -> str:
    return text((record.get("run") or {}).get("dataset") or "the data set")
