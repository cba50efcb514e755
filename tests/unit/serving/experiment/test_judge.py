"""When a test goes on, when its challenger wins, and when it ends; each with the sentence why."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lakeline.data.servingspec import Experiment
from lakeline.serving.experiment.assessment import Assessment, Units
from lakeline.serving.experiment.judge import judge

Drawn = Callable[..., Units]
SEQUENTIAL = Experiment(minimum=200, maximum=5_000, effect=0.02)
FIXED = Experiment(test="fixed", minimum=200, maximum=5_000, effect=0.05)


def _judge(spec: Experiment, units: Units, days: float = 1, now: int | None = 1) -> Assessment:
    return judge(spec, (1, 2), 0.5, units, days, now)


def test_nothing_is_decided_by_less_than_the_minimum(judged: Drawn):
    found = _judge(SEQUENTIAL, judged(199, 205, better=0.9))
    assert found.verdict == "continue"
    assert found.reasons == [
        "199 units of production and 205 of the challenger have been answered and have their truth; each needs 200 before it is judged."
    ]


def test_no_bounds_are_shown_before_there_are_any_that_hold(judged: Drawn):
    """A sequential test spends nothing on looks before the minimum: what it would say of them holds at none."""
    found = _judge(SEQUENTIAL, judged(199, 205, better=0.9))
    assert (found.lower, found.upper, found.looks) == (None, None, [])
    assert found.improvement is not None
    assert found.improvement > 0.5
    least = _judge(SEQUENTIAL, judged(200, 205, better=0.9))
    assert (least.lower is None, len(least.looks)) == (False, 1)


def test_nothing_at_all_is_no_reason_to_fail():
    found = _judge(SEQUENTIAL, Units(np.empty(0), np.empty(0, dtype=np.bool_)))
    assert (found.verdict, found.improvement, found.production.metric) == ("continue", None, None)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["verdict"] == "continue"


def test_challenger_that_is_better_is_promoted(judged: Drawn):
    found = _judge(SEQUENTIAL, judged(1_000, 1_000, better=0.3))
    assert found.verdict == "promote"
    assert found.lower is not None
    assert found.lower > 0
    assert "however often one looks" in found.reasons[0]


def test_challenger_that_is_worse_ends_the_test(judged: Drawn):
    found = _judge(SEQUENTIAL, judged(1_000, 1_000, better=-0.3))
    assert found.verdict == "end"
    assert "worse, by" in found.reasons[0]


def test_challenger_that_can_not_be_better_by_what_is_worth_having_ends_the_test(judged: Drawn):
    found = _judge(replace_spec(SEQUENTIAL, effect=0.3), judged(1_000, 1_000, better=0.02))
    assert found.verdict == "end"
    assert "is the least worth having" in found.reasons[0]


def replace_spec(spec: Experiment, **changed: object) -> Experiment:
    """The spec with other values."""
    return spec.model_copy(update=changed)


def test_test_that_tells_nothing_goes_on_until_its_days_or_its_units_are_over(judged: Drawn):
    units = judged(1_000, 1_000)
    assert _judge(SEQUENTIAL, units).verdict == "continue"
    late = _judge(SEQUENTIAL, units, days=14)
    assert (late.verdict, late.reasons[0][:40]) == ("end", "the test has taken the 14 days that it m")
    full = _judge(replace_spec(SEQUENTIAL, maximum=1_000), units)
    assert (full.verdict, full.reasons[0][:40]) == ("end", "each variant has the 1,000 units that th")


def test_time_that_is_up_before_there_was_enough_is_said_as_that(judged: Drawn):
    found = _judge(SEQUENTIAL, judged(50, 60), days=15)
    assert found.verdict == "end"
    assert "too little to judge by: 50 of 200 units" in found.reasons[0]


@pytest.mark.parametrize("spec", [SEQUENTIAL, FIXED])
def test_shares_that_are_not_the_weight_never_win(judged: Drawn, spec: Experiment):
    found = _judge(spec, judged(2_500, 2_000, better=0.5))
    assert found.verdict == "end"
    assert found.shares < 0.001
    assert "2,500 units of production and 2,000 of the challenger" in found.reasons[0]


@pytest.mark.parametrize("spec", [SEQUENTIAL, FIXED])
def test_challenger_that_once_predicted_no_number_never_wins(judged: Drawn, spec: Experiment):
    units = replace(judged(1_500, 1_500, better=0.5), broken=1)
    assert _judge(spec, units).verdict == "end"
    assert "no finite number for 1 rows" in _judge(spec, units).reasons[0]


@pytest.mark.parametrize("spec", [SEQUENTIAL, FIXED])
def test_other_version_in_production_ends_the_test(judged: Drawn, spec: Experiment):
    found = _judge(spec, judged(1_500, 1_500, better=0.5), now=3)
    said = "version 3 is in production now, not version 1, beside which version 2 was tested."
    assert (found.verdict, found.now, found.reasons) == ("end", 3, [said])


def test_planned_test_waits_for_its_size_and_is_then_judged_once(judged: Drawn):
    units = judged(4_000, 4_000, better=0.1)
    early = _judge(FIXED, _first(units, 1_500))
    assert early.verdict == "continue"
    needed = early.needed
    assert 200 < needed < 4_000
    assert f"each needs {needed:,} before it is judged" in early.reasons[0]

    found = _judge(FIXED, units)

    assert (found.verdict, found.needed) == ("promote", needed)
    assert found.p_value is not None
    assert found.p_value <= 0.05


def test_planned_test_finds_the_same_however_late_one_looks(judged: Drawn):
    """There may be more units than were planned when somebody looks: they don't count, or looking late would be looking twice."""
    units = judged(4_000, 4_000, better=0.05, seed=4)
    spec = replace_spec(FIXED, effect=0.1)
    looks = [_judge(spec, _first(units, count)) for count in (3_000, 5_000, 8_000)]
    assert looks[0].p_value is not None
    assert len({look.p_value for look in looks}) == 1
    assert len({look.verdict for look in looks}) == 1


def test_planned_test_that_shows_nothing_ends(judged: Drawn):
    found = _judge(FIXED, judged(4_000, 4_000))
    assert found.verdict == "end"
    assert "not shown to be better" in found.reasons[0]


def test_planned_test_is_no_larger_than_the_maximum(judged: Drawn):
    found = _judge(replace_spec(FIXED, effect=0.001, maximum=1_000), judged(1_100, 1_100, better=0.3))
    assert (found.needed, found.verdict) == (1_000, "promote")


def test_planned_test_that_its_maximum_cuts_short_says_so(judged: Drawn):
    """Of a test that may not have the size for its power, nobody should think that it has the power."""
    spec, units = replace_spec(FIXED, effect=0.02, maximum=1_000), judged(1_100, 1_100)
    for found, verdict in ((_judge(spec, _first(units, 1_500)), "continue"), (_judge(spec, units), "end")):
        assert (found.verdict, found.needed) == (verdict, 1_000)
        assert found.planned is not None
        assert found.planned > 8_000
        assert f"For a power of 80 %, {found.planned:,} units of the variant that has fewer would be needed" in found.reasons[1]
        assert "but the spec allows 1,000" in found.reasons[1]
    assert len(_judge(FIXED, judged(4_000, 4_000)).reasons) == 1


def test_challenger_of_a_perfect_version_is_worse_by_no_percentage():
    challengers = np.arange(200) % 2 == 0
    units = Units(np.where(challengers, 1.0, 0.0), challengers)
    found = _judge(replace_spec(FIXED, minimum=20, maximum=30), units)
    assert found.verdict == "end"
    assert found.reasons[0].startswith("rmse 1 of version 2 against 0 of version 1 is worse: p = 1")


@pytest.mark.parametrize(("weight", "challenger"), [(0.05, True), (0.01, True), (0.5, False)])
def test_first_unit_ends_no_test(weight: float, challenger: bool):
    """However small the weight is: somebody's is the first."""
    units = Units(np.array([1.0]), np.array([challenger]))
    assert judge(replace_spec(SEQUENTIAL, weight=weight), (1, 2), weight, units, 0.1, 1).verdict == "continue"


def test_looks_tell_how_the_bounds_came_together(judged: Drawn):
    found = _judge(SEQUENTIAL, judged(1_000, 1_000, better=0.1))
    counts = [float(look[0] or 0) for look in found.looks]
    assert counts == sorted(set(counts))
    assert found.looks[-1] == [2_000, found.improvement, found.lower, found.upper]
    widths = [upper - lower for _, _, lower, upper in found.looks if lower is not None and upper is not None]
    assert widths[-1] < widths[0]


def test_units_that_the_other_variant_answered_are_told_of_if_they_are_many(judged: Drawn):
    units = judged(1_000, 1_000)
    assert len(_judge(SEQUENTIAL, replace(units, crossed=10)).reasons) == 1
    assert "the difference looks smaller than it is" in _judge(SEQUENTIAL, replace(units, crossed=300)).reasons[1]


def test_losses_that_are_all_the_same_are_no_error(judged: Drawn):
    units = Units(np.zeros(2_000), np.arange(2_000) % 2 == 0)
    for spec in (SEQUENTIAL, FIXED):
        found = _judge(spec, units)
        assert found.verdict in {"continue", "end"}
        json.dumps(found.to_dict(), allow_nan=False)


def _first(units: Units, count: int) -> Units:
    return replace(units, losses=units.losses[:count], challengers=units.challengers[:count])


def test_planned_test_waits_for_the_larger_variant_too(judged: Drawn):
    """Shares are never exactly the weight: the smaller variant may have its units first."""
    units = judged(1_000, 1_030, better=0.3)
    spec = replace_spec(FIXED, effect=0.001, maximum=1_010)
    assert _judge(spec, units).verdict == "continue"
    assert _judge(spec, judged(1_010, 1_030, better=0.3)).verdict == "promote"
