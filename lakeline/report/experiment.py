"""The report of a look at an A/B test: the variants, how they compare, what was left out, and what becomes of the test."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lakeline.report.page import render
from lakeline.report.parts import Card, Cell, Section, Table, first, head, identifier, share, whole
from lakeline.report.summary import plain
from lakeline.report.verdict import Outcome, Verdict
from lakeline.report.words import DASH, compared, count, duration, moment, number, pair, percent, plural, quantity, tone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lakeline.data.spec import DatasetSpec
    from lakeline.report.figure import Plot
    from lakeline.serving.experiment.assessment import Assessment, Side
    from lakeline.serving.experiment.state import State

_OUTCOMES: dict[str, Outcome] = {"continue": "evaluated", "promote": "promoted", "end": "ended"}


class Assessed(NamedTuple):
    """What the component hands on: the verdict, the test, and the reasons."""

    Output: str
    experiment: str
    why: str


def assess_and_report(dataset: str, challenger: int, run_id: str, outputs: Mapping[str, str]) -> Assessed:
    """Judge the test that a model is in, and write what was found.

    Parameters
    ----------
    dataset
        Name of the model.
    challenger
        Version that a test is to be of; 0: of whichever it is.
    run_id
        Id of the pipeline run.
    outputs
        Files to write: `report` (HTML), `verdict` (Markdown), `record` (JSON).

    Returns
    -------
    Assessed
        Verdict "start" if a test of the challenger is to be set up first, "none" if the model is in no test.
    """
    from lakeline.registry.store import connect
    from lakeline.serving.experiment.running import look
    from lakeline.serving.experiment.state import load
    from lakeline.settings import get_settings

    run = get_settings().run_id or run_id
    state = load(connect(), dataset)
    tested = state is not None and state.running and state.started is not None and challenger in (0, state.challenger)
    if state is None or not state.running or not tested:
        none = f"{dataset} is in no A/B test. Start one: lakeline experiment start {dataset} VERSION"
        verdict, why = ("start", f"A test of version {challenger} is to be set up.") if challenger else ("none", none)
        said = Verdict("evaluated" if challenger else "repeated", why)
        _write(outputs, render(f"{dataset}, A/B test", said, [("Run", identifier(run))], [], []), plain(why), {})
        return Assessed(verdict, "", why)
    state, spec, found = look(dataset)
    text = page(spec, state, found, run, time.time())
    _write(outputs, text, markdown(state, found), {"state": state.to_dict(), "assessment": found.to_dict()})
    return Assessed(found.verdict, state.id, " ".join(found.reasons))


def page(spec: DatasetSpec, state: State, found: Assessment, run: str, now: float) -> str:
    """Make the page.

    Parameters
    ----------
    spec
        Of the data set: says the unit of the target, and how the test is judged.
    state, found
        The test, and what was found.
    run
        Id of the pipeline run.
    now
        Seconds since 1970.
    """
    began = state.started or now
    meta = [
        ("Data set", Cell(spec.name)),
        ("Run", identifier(run)),
        ("Test", identifier(state.id)),
        ("Started", Cell(moment(began)[0])),
        ("So far", Cell(_long(now - began))),
    ]
    verdict = Verdict(_OUTCOMES[found.verdict], sentence(found), found.reasons)
    sections = [_comparison(spec, found), _left_out(found), _method(spec, state, found)]
    return render(f"{spec.title}, A/B test", verdict, meta, _cards(spec, found), sections)


def sentence(found: Assessment) -> str:
    """Say what becomes of the test."""
    challenger, production = found.challenger.version, found.production.version
    if found.verdict == "promote":
        return f"Version {challenger} is better than version {production}: it is promoted."
    if found.verdict == "end":
        stays = f"version {production} stays"
        elsewhere = "no version is in production now" if found.now is None else f"version {found.now} is in production now"
        if found.now == challenger:
            return f"The test of version {challenger} ends: it is in production by now."
        return f"The test of version {challenger} ends without a winner: {stays if found.now == production else elsewhere}."
    return f"The test of version {challenger} beside version {production} goes on."


def markdown(state: State, found: Assessment) -> str:
    """Say the same in a few lines."""
    sides = "\n".join(
        f"| {name} | {side.version} | {count(side.units)} | {number(side.metric) if side.metric is not None else DASH} |"
        for name, side in (("production", found.production), ("challenger", found.challenger))
    )
    reasons = "\n".join(f"- {plain(reason)}" for reason in found.reasons)
    return (
        f"**{plain(sentence(found))}**\n\n{reasons}\n\n| Variant | Version | Units | {found.metric} |\n|---|---:|---:|---:|\n{sides}\n\n"
        f"- Test: `{state.id}`\n"
    )


def _cards(spec: DatasetSpec, found: Assessment) -> list[Card]:
    few = min(found.production.units, found.challenger.units)
    ours, theirs = pair(found.challenger.metric, found.production.metric)
    unit = spec.target.unit
    told = found.lower is not None or found.upper is not None
    against = f"{compared(found.improvement)} than version {found.production.version}, {theirs}" if found.improvement is not None else ""
    made = (
        [Card(f"{found.metric} of the challenger", ours, against, unit, tone(found.improvement) if told else "text")]
        if found.challenger.metric is not None
        else []
    )
    made.append(
        Card("Units of each variant", count(few), f"{count(found.needed)} needed at least", kind="good" if few >= found.needed else "text")
    )
    if found.lower is not None and found.upper is not None:
        kind = "good" if found.lower > 0 else "bad" if found.upper < 0 else "neutral"
        made.append(
            Card("Better by", f"{percent(found.lower)} to {percent(found.upper)}", f"each bound at {percent(found.alpha)}", kind=kind)
        )
    well = found.shares >= 0.001  # noqa: PLR2004 (as it is judged)
    made.append(
        Card("Shares", "as weighted" if well else "not as weighted", f"p = {number(found.shares, 2)}", kind="good" if well else "bad")
    )
    return made


def _comparison(spec: DatasetSpec, found: Assessment) -> Section:
    unit = f" ({spec.target.unit})" if spec.target.unit else ""
    columns = head("Variant", "Version", "Units", "Share", f"{found.metric}{unit}", numbers=("Units", "Share", f"{found.metric}{unit}"))
    total = found.production.units + found.challenger.units
    rows = [_side(name, side, total) for name, side in (("production", found.production), ("challenger", found.challenger))]
    picture = _looks(found)
    intro = f"{plural(found.rows, 'prediction')} whose truth is known, of {plural(total, 'unit')}: keys, and requests without one."
    return Section(
        "comparison", "Challenger beside production", intro, plots=[picture] if picture else [], tables=[Table("Variants", columns, rows)]
    )


def _side(name: str, side: Side, total: int) -> list[Cell]:
    metric = DASH if side.metric is None else number(side.metric, 5)
    return [first(name), Cell(str(side.version)), whole(side.units), share(side.units / total if total else None), Cell(metric, "number")]


def _left_out(found: Assessment) -> Section:
    counts: Sequence[tuple[str, int]] = sorted(found.left_out.items(), key=lambda item: -item[1])
    if found.crossed:
        counts = [*counts, ("units that the other variant answered (counted for their own)", found.crossed)]
    rows = [[first(name), whole(number_of)] for name, number_of in counts]
    tables = [Table("Not judged", head("What", "How many", numbers=("How many",)), rows)] if rows else []
    return Section("left-out", "Left out", "" if rows else "Nothing: all that was logged in the test is judged.", tables=tables)


def _method(spec: DatasetSpec, state: State, found: Assessment) -> Section:
    said = spec.experiment
    how = (
        "sequential: an asymptotic confidence sequence, which may be looked at as often as one likes"
        if found.test == "sequential"
        else f"fixed: Welch's t-test, once, at {count(found.needed)} units of the variant that has fewer"
    )
    facts = [
        ("Test", Cell(how)),
        ("Metric", Cell(found.metric)),
        ("Error rate", Cell(f"{percent(found.alpha)}, one-sided")),
        ("Weight of the challenger", Cell(percent(state.weight))),
        ("Least improvement worth having", Cell(percent(said.effect))),
        ("At most", Cell(f"{plural(said.maximum, 'unit')} a variant, {quantity(said.days, 'days')}")),
        ("Spec", identifier(state.commit)),
        ("Started by", Cell(state.who)),
    ]
    return Section("method", "How it is judged", facts=facts)


def _looks(found: Assessment) -> Plot | None:
    """Draw the bounds of the improvement as units came."""
    looks: list[tuple[float, float, float, float]] = []
    for units, gain, lower, upper in found.looks:
        if units is not None and gain is not None and lower is not None and upper is not None:
            looks.append((units, 100 * gain, 100 * lower, 100 * upper))
    if len(looks) < 2:  # noqa: PLR2004 (no line through one point)
        return None
    from lakeline.report.figure import CANDIDATE, INK, canvas, draw, people

    units, gains, lowers, uppers = zip(*looks, strict=True)
    with canvas(3.6) as figure:
        axes: Any = figure.subplots()
        axes.fill_between(units, lowers, uppers, color=CANDIDATE, alpha=0.22, linewidth=0, label="bounds")
        axes.plot(units, gains, color=CANDIDATE, linewidth=1.8, label="improvement")
        axes.axhline(0, color=INK, linewidth=1)
        axes.set_xlabel("units of both variants")
        axes.set_ylabel(f"{found.metric}: better by (%)")
        people(axes.xaxis, axes.yaxis)
        figure.legend(loc="outside upper left", ncols=2)
        last = f"{percent(gains[-1] / 100)}, from {percent(lowers[-1] / 100)} to {percent(uppers[-1] / 100)}"
        return draw(
            figure,
            "looks",
            "Improvement as units came",
            f"Improvement of the {found.metric} with its bounds after each look; at the last {count(units[-1])} units: {last}.",
            "The challenger wins when the whole band is above 0. The bounds hold at all looks at once.",
        )


def _long(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:.1f} days" if days >= 1 else duration(seconds)


def _write(outputs: Mapping[str, str], report: str, verdict: str, record: Mapping[str, Any]) -> None:
    Path(outputs["report"]).write_text(report, encoding="utf-8")
    Path(outputs["verdict"]).write_text(verdict, encoding="utf-8")
    Path(outputs["record"]).write_text(json.dumps(record), encoding="utf-8")
