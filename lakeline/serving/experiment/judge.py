"""What is to become of an A/B test: it goes on, the challenger is promoted, or the test ends; with the sentences why."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lakeline.registry.gates import number, percent
from lakeline.serving.experiment import statistics
from lakeline.serving.experiment.assessment import Assessment, Side
from lakeline.serving.experiment.statistics import POWERS, Arm

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from lakeline.data.servingspec import Experiment
    from lakeline.serving.experiment.assessment import Units, Verdict

SUSPICIOUS = 0.001
"""Shares of the variants that are less probable than this are no chance: something keeps units, or their truth, from one of them."""

_CROSSED = 0.05
_LOOKS = 120
_LEAST = 2
"""Units of an arm without which it has no variance."""


def judge(spec: Experiment, versions: tuple[int, int], weight: float, units: Units, days: float, now: int | None) -> Assessment:
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
    now
        Version in production by now; None if there is none.
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
        "now": now,
        "shares": float(statistics.mismatch(len(theirs), len(ours), weight)),
        "rows": units.rows,
        "crossed": units.crossed,
        "left_out": dict(units.left_out),
    }
    if min(len(ours), len(theirs)) >= _LEAST:
        found |= _fixed(spec, weight, theirs, ours) if spec.test == "fixed" else _sequential(spec, weight, units)
    for side, losses, size in zip(("production", "challenger"), (theirs, ours), found.pop("sizes", ()), strict=False):
        found[side] = replace(found[side], metric=_metric(losses[:size], power))
    spoilt = moved(*versions, now) if now != versions[0] else _spoilt(found, units)
    verdict, reasons = ("end", [spoilt]) if spoilt else _verdict(spec, found, days)
    if not spoilt and verdict != "promote" and spec.maximum < found.get("planned", 0) < statistics.NEVER:
        reasons.append(
            f"For a power of {percent(spec.power)}, {found['planned']:,} units of the variant that has fewer would be needed, but the spec "
            f"allows {spec.maximum:,}: a challenger that is better by {percent(spec.effect)} wins less often than that."
        )
    if units.crossed > _CROSSED * len(units.losses):
        reasons.append(
            f"{units.crossed:,} of {len(units.losses):,} units were answered by the other variant, because theirs was out of reach or the "
            "caller named one. They count for the variant that was theirs: the difference looks smaller than it is."
        )
    return Assessment(verdict, reasons, **found)


def _metric(losses: NDArray[np.float64], power: int) -> float | None:
    return float(losses.mean()) ** (1 / power) if len(losses) else None


def _sequential(spec: Experiment, weight: float, units: Units) -> dict[str, Any]:
    """Bounds that hold at every look, now and as units came; before the minimum none does, and there is but the estimate."""
    import numpy as np

    power, first = POWERS[spec.metric], spec.minimum / min(weight, 1 - weight)
    ours = np.cumsum(units.challengers.astype(np.int64))
    theirs = np.arange(1, len(ours) + 1) - ours
    begin = int(np.searchsorted(np.minimum(ours, theirs), spec.minimum))
    if begin == len(ours):
        arms = statistics.arm(units.losses[~units.challengers]), statistics.arm(units.losses[units.challengers])
        return {"improvement": _finite(statistics.improvement(*arms, power))}
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
        return {
            "needed": needed,
            "planned": planned,
            "improvement": _finite(statistics.improvement(statistics.arm(theirs), statistics.arm(ours), power)),
        }
    # The first units only: that there are more by the time that somebody looks must not change what is found.
    arms: tuple[Arm, Arm] = statistics.arm(theirs[: sizes[0]]), statistics.arm(ours[: sizes[1]])
    p_value, critical = statistics.welch(*statistics.guarded(*arms), spec.alpha)
    lower, upper = statistics.improvement_bounds(*statistics.guarded(*arms), critical, power)
    gain = statistics.improvement(*arms, power)
    return {"needed": needed, "planned": planned, "sizes": sizes, "p_value": float(p_value)} | {
        key: _finite(value) for key, value in (("improvement", gain), ("lower", lower), ("upper", upper))
    }


def _sizes(least: int, weight: float) -> tuple[int, int]:
    """Units of production and of the challenger when the one that has fewer has so many."""
    scale = least / min(weight, 1 - weight)
    return round(scale * (1 - weight)), round(scale * weight)


def _verdict(spec: Experiment, found: Mapping[str, Any], days: float) -> tuple[Verdict, list[str]]:
    production, challenger = found["production"], found["challenger"]
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


def moved(production: int, challenger: int, now: int | None) -> str:
    """Say that another version than the one that was tested is in production now."""
    at = "no version is" if now is None else f"version {now} is"
    return f"{at} in production now, not version {production}, beside which version {challenger} was tested."


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
        f"{percent(weight)}: by chance, such shares are seen with a probability of at most {found['shares']:.1g}, however often one looks. "
        "Something keeps requests, their predictions or their truth from one variant, so nothing can be said of which is better. Find out "
        "what it is, then start a new test."
    )


def _compared(found: Mapping[str, Any]) -> str:
    metric, gain = found["metric"], found["improvement"]
    production, challenger = found["production"], found["challenger"]
    ours = f"{metric} {number(challenger.metric)} of version {challenger.version}"
    theirs = f"{number(production.metric)} of version {production.version}"
    if gain is None:  # There is no fraction of 0: nothing is better than that.
        return f"{ours} against {theirs} is worse"
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
