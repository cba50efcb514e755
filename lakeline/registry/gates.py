"""The gates that a candidate passes before it is promoted: each says what was seen, what was needed, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeline.training.score import better_by

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec

_FEW = 5
_EQUAL = 1e-9
"""Fraction that is no difference."""


@dataclass(frozen=True)
class Gate:
    """One condition of promotion.

    Attributes
    ----------
    name
        `rmse maximum`, `improvement`, `slices`, `signature`, `smoke`, ...
    passed
        Whether it holds.
    observed, bound
        What was seen and what was needed: a metric in its unit, a fraction, or None where neither is a number.
    text
        The sentence that says so.
    """

    name: str
    passed: bool
    observed: float | None
    bound: float | None
    text: str


def judge(spec: DatasetSpec, evaluation: Mapping[str, Any], *, rival: int | None) -> list[Gate]:
    """Judge a candidate by its metrics.

    Parameters
    ----------
    spec
        Says the gates and the unit of the target.
    evaluation
        `Evaluation.to_dict()`.
    rival
        Version in production now: if that is not the one that was evaluated, the comparison doesn't count.

    Returns
    -------
    list of Gate
        Bounds, improvement, slices.
    """
    return [*_bounds(spec, evaluation), _improvement(spec, evaluation, rival), _slices(spec, evaluation)]


def _bounds(spec: DatasetSpec, evaluation: Mapping[str, Any]) -> list[Gate]:
    gates: list[Gate] = []
    for metric, bound in spec.gates.bounds.items():
        value = float(evaluation["candidate"][metric])
        unit = "" if metric == "r2" or not spec.target.unit else f" {spec.target.unit}"
        if bound.maximum is not None:
            text = f"{metric} {number(value)}{unit}; needed: at most {number(bound.maximum)}."
            gates.append(Gate(f"{metric} maximum", value <= bound.maximum, value, bound.maximum, text))
        if bound.minimum is not None:
            text = f"{metric} {number(value)}{unit}; needed: at least {number(bound.minimum)}."
            gates.append(Gate(f"{metric} minimum", value >= bound.minimum, value, bound.minimum, text))
    return gates


def _improvement(spec: DatasetSpec, evaluation: Mapping[str, Any], rival: int | None) -> Gate:
    name, needed, metric = "improvement", spec.gates.improvement, spec.metric.name
    scored = evaluation.get("production_version")
    if scored != rival:
        was = f"version {scored} was" if scored is not None else "nothing was"
        now = f"version {rival} is" if rival is not None else "none is"
        text = f"{was} in production when the candidate was evaluated, and {now} now: they were not compared. Train again."
        return Gate(name, False, None, needed, text)
    if scored is None:
        return Gate(name, True, None, needed, "no version is in production, so there is nothing to be better than.")
    theirs = evaluation.get("production")
    if not theirs:
        text = (
            f"production (version {scored}) could not be scored on these rows, because {evaluation.get('production_reason')}: "
            "nothing shows that the candidate is better."
        )
        return Gate(name, False, None, needed, text)
    ours = evaluation["candidate"]
    gain = better_by(metric, ours, theirs)
    than = f"production's {number(theirs[metric])} (version {scored}) on the same {evaluation['rows']:,} rows"
    text = f"{metric} {number(ours[metric])} is {_compared(gain)} {than}; needed: {_needed(needed)}."
    return Gate(name, gain >= needed - _EQUAL, gain, needed, text)


def _slices(spec: DatasetSpec, evaluation: Mapping[str, Any]) -> Gate:
    name, most, metric = "slices", spec.gates.slice_regression, spec.metric.name
    judged = [each for each in evaluation["slices"] if each["production"] and each["rows"] >= spec.gates.slice_rows]
    if not judged:
        why = "no version in production to compare with" if not evaluation.get("production") else f"none has {spec.gates.slice_rows:,} rows"
        return Gate(name, True, None, most, f"no slice was judged: {why}.")
    worse = sorted(((-better_by(metric, each["candidate"], each["production"]), each) for each in judged), key=lambda pair: -pair[0])
    bad = [pair for pair in worse if pair[0] > most]
    if not bad:
        loss, each = worse[0]
        text = f"none of {len(judged)} slices is more than {percent(most)} worse; least good: {_slice(metric, loss, each)}."
    else:
        more = f", and {len(bad) - _FEW} more" if len(bad) > _FEW else ""
        text = f"{len(bad)} of {len(judged)} slices are worse than production by more than {percent(most)}: "
        text += "; ".join(_slice(metric, loss, each) for loss, each in bad[:_FEW]) + f"{more}."
    return Gate(name, not bad, worse[0][0], most, text)


def _slice(metric: str, loss: float, each: Mapping[str, Any]) -> str:
    ours, theirs = number(each["candidate"][metric]), number(each["production"][metric])
    return f"{each['slice']} {each['value']} ({each['rows']:,} rows): {metric} {ours} is {_compared(-loss)} {theirs}"


def _compared(gain: float) -> str:
    return "as good as" if abs(gain) < _EQUAL else f"{percent(abs(gain))} {'better' if gain > 0 else 'worse'} than"


def _needed(least: float) -> str:
    if least == 0:
        return "not worse"
    return f"at least {percent(least)} better" if least > 0 else f"at most {percent(-least)} worse"


def judge_signature(candidate: Mapping[str, str], production: Mapping[str, str] | None, version: int | None) -> Gate:
    """Judge whether who calls the model in production can call the candidate.

    Parameters
    ----------
    candidate, production
        Types of inputs by name; None if nothing is in production.
    version
        Version in production.
    """
    name = "signature"
    if production is None:
        return Gate(name, True, None, None, f"takes {len(candidate)} columns; no version in production to be compatible with.")
    said = [f"it takes {column!r} ({kind}) besides" for column, kind in candidate.items() if column not in production]
    said += [f"it does not take {column!r}" for column in production if column not in candidate]
    changed = [column for column, kind in candidate.items() if production.get(column, kind) != kind]
    said += [f"it takes {column!r} as {candidate[column]}, not {production[column]}" for column in changed]
    if not said:
        return Gate(name, True, None, None, f"takes the same {len(candidate)} columns as production's version {version}.")
    return Gate(name, False, None, None, f"differs from production's version {version}: {'; '.join(said)}.")


def judge_smoke(predicted: Sequence[float] | None, recorded: Sequence[float], error: str | None) -> Gate:
    """Judge whether the registered model, loaded as a server loads it, predicts what it predicted when it was made.

    Parameters
    ----------
    predicted, recorded
        Predictions for the input example, in the unit of the target.
    error
        Why there are none.
    """
    name, tolerance = "smoke", 1e-9
    if predicted is None:
        return Gate(name, False, None, tolerance, f"the registered model can't be loaded or can't predict its own input example: {error}")
    if len(predicted) != len(recorded):
        return Gate(name, False, None, tolerance, f"{len(predicted)} predictions for {len(recorded)} rows of the input example.")
    off = max((abs(ours - theirs) / max(abs(theirs), 1.0) for ours, theirs in zip(predicted, recorded, strict=True)), default=0.0)
    if off <= tolerance:
        return Gate(name, True, off, tolerance, f"the registered model predicts its {len(recorded)} example rows as when it was made.")
    return Gate(name, False, off, tolerance, f"the registered model predicts its example rows differently, by up to {percent(off)}.")


def number(value: float) -> str:
    """Say a number in four digits, such as `12.31` or `1,204`."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 (four digits)


def percent(fraction: float) -> str:
    """Say a fraction in percent, such as `3.2 %`."""
    return f"{fraction * 100:.2g} %" if abs(fraction) < 0.1 else f"{fraction * 100:.3g} %"  # noqa: PLR2004 (two or three digits)
