"""What is to become of an A/B test: it goes on, the challenger is promoted, or the test ends; with the sentences why."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from lakeline.registry.gates import number, percent
from lakeline.serving.experiment import statistics
from lakeline.serving.experiment.statistics import POWERS, Arm

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from lakeline.data.servingspec import Experiment

Verdict = Literal["continue", "promote", "end"]

SUSPICIOUS = 0.001
"""Shares of the variants that are less probable than this are no chance: something keeps units, or their truth, from one of them."""

_CROSSED = 0.05
_LOOKS = 120
_LEAST = 2
"""Units of an arm without which it has no variance."""


@dataclass(frozen=True)
class Units:
    """What was judged, in the order in which the truth came.

    Attributes
    ----------
    losses
        Loss of each unit: the mean over its rows of the squared or absolute error, shape (n,).
    challengers
        Whether it was the challenger's to answer, shape (n,).
    rows
        Rows that the units have.
    crossed
        Units that the other variant answered, in whole or in part.
    broken
        Predictions of the challenger that are no finite number.
    left_out
        What was not judged: number by reason.
    """

    losses: NDArray[np.float64]
    challengers: NDArray[np.bool_]
    rows: int = 0
    crossed: int = 0
    broken: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Side:
    """A variant: its version, how many units of it were judged, and its metric over them, in the unit of the target."""

    version: int
    units: int
    metric: float | None


@dataclass(frozen=True)
class Assessment:
    """What a look at an A/B test found.

    Attributes
    ----------
    verdict, reasons
        What is to become of it, and why.
    test, metric, alpha, weight
        As the spec and the start of the test say.
    production, challenger
        The variants.
    improvement, lower, upper
        By which fraction of production's metric the challenger's is better, and its bounds, each at the error rate alpha; None where
        they can't be said. A test of a fixed size is judged, and its metrics are taken, over its first units, as many as were planned.
    needed
        Units that the variant with fewer of them needs before anything is decided.
    p_value
        Of the planned test; None of a sequential one.
    shares
        Probability of shares at least as far from the weight as those seen.
    rows, crossed, left_out
        See Units.
    looks
        Sequential: [units of both, improvement, lower, upper] as units came.
    """

    verdict: Verdict
    reasons: list[str]
    test: str
    metric: str
    alpha: float
    weight: float
    production: Side
    challenger: Side
    needed: int
    shares: float
    improvement: float | None = None
    lower: float | None = None
    upper: float | None = None
    p_value: float | None = None
    rows: int = 0
    crossed: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    looks: list[list[float | None]] = field(default_factory=list[list[float | None]])

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


def judge(spec: Experiment, versions: tuple[int, int], weight: float, units: Units, days: float, moved: str | None = None) -> Assessment:
    """Judge a test by what is known now.

    Parameters
    ----------
    spec
        How it is judged.
    versions
        In production, and the challenger.
    weight
        Fraction of the units that is the challenger's.
    units
        What was answered and has its truth.
    days
        Since the test began.
    moved
        What has become of its versions meanwhile, in a sentence; None if they are what they were.
    """
    ours, theirs = units.losses[units.challengers], units.losses[~units.challengers]
    power = POWERS[spec.metric]
    sides = [Side(version, len(losses), _metric(losses, power)) for version, losses in zip(versions, (theirs, ours), strict=True)]
    found: dict[str, Any] = {
        "test": spec.test,
        "metric": spec.metric,
        "alpha": spec.alpha,
        "weight": weight,
        "production": sides[0],
        "challenger": sides[1],
        "needed": spec.minimum,
        "shares": statistics.mismatch(len(theirs), len(ours), weight),
        "rows": units.rows,
        "crossed": units.crossed,
        "left_out": dict(units.left_out),
    }
    if min(len(ours), len(theirs)) >= _LEAST:
        found |= _fixed(spec, weight, theirs, ours) if spec.test == "fixed" else _sequential(spec, weight, units)
    for side, losses, size in zip(("production", "challenger"), (theirs, ours), found.pop("sizes", ()), strict=False):
        found[side] = replace(found[side], metric=_metric(losses[:size], power))
    verdict, reasons = _verdict(spec, found, units, days, moved)
    if units.crossed > _CROSSED * len(units.losses):
        reasons.append(
            f"{units.crossed:,} of {len(units.losses):,} units were answered by the other variant, because theirs was out of reach or the "
            "caller named one. They count for the variant that was theirs: the difference looks smaller than it is."
        )
    return Assessment(verdict, reasons, **found)


def _metric(losses: NDArray[np.float64], power: int) -> float | None:
    return float(losses.mean()) ** (1 / power) if len(losses) else None


def _sequential(spec: Experiment, weight: float, units: Units) -> dict[str, Any]:
    """Bounds that hold at every look, now and as units came."""
    import numpy as np

    power, first = POWERS[spec.metric], spec.minimum / min(weight, 1 - weight)
    ours = np.cumsum(units.challengers.astype(np.int64))
    theirs = np.arange(1, len(ours) + 1) - ours
    least = np.minimum(ours, theirs)
    begin = int(np.searchsorted(least, max(_LEAST, min(spec.minimum, least[-1]))))
    at = np.unique(np.geomspace(begin + 1, len(ours), _LOOKS).astype(int)) - 1
    arms = (
        statistics.prefixes(units.losses[~units.challengers], theirs[at]),
        statistics.prefixes(units.losses[units.challengers], ours[at]),
    )
    gain = statistics.improvement(*arms, power)
    critical = statistics.sequential_critical(at + 1, first, spec.alpha)
    lower, upper = statistics.improvement_bounds(*statistics.guarded(*arms), critical, power)
    looks = [[_finite(value) for value in look] for look in zip(at + 1, gain, lower, upper, strict=True)]
    return {"looks": looks, "improvement": looks[-1][1], "lower": looks[-1][2], "upper": looks[-1][3]}


def _fixed(spec: Experiment, weight: float, theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> dict[str, Any]:
    """The planned test: its size from the first units, then its result from as many as that."""
    power = POWERS[spec.metric]
    first = _sizes(spec.minimum, weight)
    if len(theirs) < first[0] or len(ours) < first[1]:
        return {"improvement": _finite(statistics.improvement(statistics.arm(theirs), statistics.arm(ours), power))}
    pilot = statistics.arm(theirs[: first[0]]), statistics.arm(ours[: first[1]])
    planned = statistics.planned_units(pilot, weight, spec.effect, (spec.alpha, 1 - spec.power), power)
    needed = min(max(planned, spec.minimum), spec.maximum)
    sizes = _sizes(needed, weight)
    if len(theirs) < sizes[0] or len(ours) < sizes[1]:
        return {"needed": needed, "improvement": _finite(statistics.improvement(statistics.arm(theirs), statistics.arm(ours), power))}
    # The first units only: that there are more by the time that somebody looks must not change what is found.
    arms: tuple[Arm, Arm] = statistics.arm(theirs[: sizes[0]]), statistics.arm(ours[: sizes[1]])
    p_value, critical = statistics.welch(*statistics.guarded(*arms), spec.alpha)
    lower, upper = statistics.improvement_bounds(*statistics.guarded(*arms), critical, power)
    gain = statistics.improvement(*arms, power)
    return {"needed": needed, "sizes": sizes, "p_value": float(p_value)} | {
        key: _finite(value) for key, value in (("improvement", gain), ("lower", lower), ("upper", upper))
    }


def _sizes(least: int, weight: float) -> tuple[int, int]:
    """Units of production and of the challenger when the one that has fewer has so many."""
    scale = least / min(weight, 1 - weight)
    return round(scale * (1 - weight)), round(scale * weight)


def _verdict(spec: Experiment, found: Mapping[str, Any], units: Units, days: float, moved: str | None) -> tuple[Verdict, list[str]]:
    production, challenger = found["production"], found["challenger"]
    spoilt = moved or _spoilt(found, units)
    if spoilt:
        return "end", [spoilt]
    few = min(production.units, challenger.units)
    decided = _fixed_verdict(spec, found) if spec.test == "fixed" else _sequential_verdict(spec, found, few)
    if decided is not None:
        return decided
    if few >= spec.maximum and spec.test == "sequential":
        return "end", [f"each variant has the {spec.maximum:,} units that the test may take, and {_untold(found)}."]
    if days >= spec.days:
        return "end", [f"the test has taken the {spec.days:g} days that it may take, and {_untold(found, few < found['needed'])}."]
    if few < found["needed"] or spec.test == "fixed":
        counts = f"{production.units:,} units of production and {challenger.units:,} of the challenger"
        return "continue", [f"{counts} have been answered and have their truth; each needs {found['needed']:,} before it is judged."]
    return "continue", [f"after {production.units + challenger.units:,} units, {_untold(found)}."]


def _sequential_verdict(spec: Experiment, found: Mapping[str, Any], few: int) -> tuple[Verdict, list[str]] | None:
    if few < spec.minimum:
        return None
    at = f"at an error rate of {percent(spec.alpha)}, however often one looks"
    lower, upper = found["lower"], found["upper"]
    if lower is not None and lower > 0:
        return "promote", [f"{_compared(found)}, by {percent(lower)} at least, {at}."]
    if upper is not None and upper < 0:
        return "end", [f"{_compared(found)}, by {percent(-upper)} at least, {at}."]
    if upper is not None and upper < spec.effect:
        return "end", [
            f"{_compared(found)}: better by {percent(upper)} at most, {at}, and {percent(spec.effect)} is the least worth having."
        ]
    return None


def _fixed_verdict(spec: Experiment, found: Mapping[str, Any]) -> tuple[Verdict, list[str]] | None:
    p_value = found.get("p_value")
    if p_value is None:
        return None
    said = f"{_compared(found)}: p = {p_value:.2g}, one-sided, where {spec.alpha:g} is needed (Welch's t-test at {found['needed']:,} units)"
    if p_value <= spec.alpha:
        return "promote", [f"{said}."]
    return "end", [f"{said}: not shown to be better."]


def _spoilt(found: Mapping[str, Any], units: Units) -> str | None:
    """Why the challenger can't win, whatever its losses are."""
    if units.broken:
        version = found["challenger"].version
        return f"the challenger, version {version}, predicted no finite number for {units.broken:,} rows: it can't win."
    if found["shares"] >= SUSPICIOUS:
        return None
    production, challenger, weight = found["production"].units, found["challenger"].units, found["weight"]
    return (
        f"{production:,} units of production and {challenger:,} of the challenger have their truth, but the challenger's weight is "
        f"{percent(weight)}: such shares have a probability of {found['shares']:.1g}. Something keeps requests, their predictions or their "
        "truth from one variant, so nothing can be said of which is better. Find out what it is, then start a new test."
    )


def _compared(found: Mapping[str, Any]) -> str:
    metric, gain = found["metric"], found["improvement"] or 0.0
    production, challenger = found["production"], found["challenger"]
    ours = f"{metric} {number(challenger.metric)} of version {challenger.version}"
    theirs = f"{number(production.metric)} of version {production.version}"
    return f"{ours} against {theirs} is {percent(abs(gain))} {'better' if gain >= 0 else 'worse'}"


def _untold(found: Mapping[str, Any], few: bool = False) -> str:
    """Say that nothing is decided yet."""
    if few or found.get("lower") is None or found.get("upper") is None:
        least = min(found["production"].units, found["challenger"].units)
        return f"there is too little to judge by: {least:,} of {found['needed']:,} units" if few else "its versions are not told apart"
    bounds = f"between {percent(found['lower'])} and {percent(found['upper'])}"
    return f"{_compared(found)} ({bounds}): not told from no better"


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
