"""The error rates that a spec states are those of the tests: simulations of many A/B tests at once, with seeds, and known values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lakeline.serving.experiment.statistics import (
    Arm,
    arm,
    guarded,
    improvement,
    improvement_bounds,
    mismatch,
    planned_units,
    prefixes,
    sequential_critical,
    welch,
)

ALPHA, TESTS = 0.05, 1200
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

# Squared errors: of normal errors, of errors with heavy tails, and of units of which some are far harder than others.
LOSSES: dict[str, Draw] = {
    "normal errors": lambda chance, shape: chance.normal(size=shape) ** 2,
    "heavy tails": lambda chance, shape: chance.standard_t(5, size=shape) ** 2,
    "hard units": lambda chance, shape: chance.lognormal(0, 1.2, size=shape),
}


def _errors(wins: float) -> tuple[float, float]:
    """Range in which the share of wins lies, but for one case in 1,000."""
    return tuple(stats.binom.ppf([0.0005, 0.9995], TESTS, wins) / TESTS)


def _looks(units: int, minimum: int, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts of both arms at every look: after each 1 % more units, from the minimum of the smaller arm on."""
    total = np.unique(np.geomspace(minimum / min(weight, 1 - weight), units, 300).astype(int))
    challengers = np.round(total * weight).astype(int)
    return total - challengers, challengers


def _bounds(production: np.ndarray, challenger: np.ndarray, minimum: int, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the improvement at every look."""
    counts = _looks(production.shape[1] + challenger.shape[1], minimum, weight)
    critical = sequential_critical(counts[0] + counts[1], minimum / min(weight, 1 - weight), ALPHA)
    return improvement_bounds(*guarded(prefixes(production, counts[0]), prefixes(challenger, counts[1])), critical, 2)


def _wins(lower: np.ndarray) -> float:
    """How often the lower bound is ever above 0."""
    return float((lower > 0).any(axis=1).mean())


@pytest.mark.parametrize("weight", [0.5, 0.1])
@pytest.mark.parametrize("losses", LOSSES)
def test_challenger_that_is_no_better_wins_no_more_often_than_stated_however_often_one_looks(losses: str, weight: float):
    chance, units, minimum = np.random.default_rng(7), 10_000, 250
    challengers = int(units * weight)
    production = LOSSES[losses](chance, (TESTS, units - challengers))
    challenger = LOSSES[losses](chance, (TESTS, challengers))

    wins = _wins(_bounds(production, challenger, minimum, weight)[0])

    assert wins <= _errors(ALPHA)[1]
    assert wins >= ALPHA / 20, "a test that never errs finds nothing"


def test_stated_rate_is_nearly_used_up_where_the_theory_is_exact():
    """Normal losses, and many looks: the longer the test may go on, the nearer to the rate; never above it."""
    chance = np.random.default_rng(13)
    production, challenger = (chance.normal(10, 1, size=(TESTS, 6_000)) for _ in range(2))
    wins = _wins(_bounds(production, challenger, 60, 0.5)[0])
    assert _errors(0.6 * ALPHA)[0] <= wins <= _errors(ALPHA)[1]


def test_looking_often_at_a_test_for_one_look_would_err_far_more_often():
    """The simulation is one that can tell: it finds what peeking does."""
    chance = np.random.default_rng(7)
    production, challenger = (LOSSES["normal errors"](chance, (TESTS, 5_000)) for _ in range(2))
    counts = _looks(10_000, 250, 0.5)
    p_values, _ = welch(prefixes(production, counts[0]), prefixes(challenger, counts[1]), ALPHA)
    assert (p_values < ALPHA).any(axis=1).mean() > 2.5 * ALPHA


@pytest.mark.parametrize("weight", [0.5, 0.1])
@pytest.mark.parametrize("losses", LOSSES)
def test_planned_test_errs_as_often_as_stated_and_finds_the_effect_as_often_as_stated(losses: str, weight: float):
    chance, pilot, effect, power, most = np.random.default_rng(11), 400, 0.12, 0.8, 2_500
    others = round((1 - weight) / weight)
    tests = TESTS // 2
    wins = {"no better": 0, "better": 0}
    for _ in range(tests):
        theirs, same = LOSSES[losses](chance, (1, most * others))[0], LOSSES[losses](chance, (1, most))[0]
        for name, ours in (("no better", same), ("better", same * (1 - effect) ** 2)):
            first = arm(theirs[: pilot * others]), arm(ours[:pilot])
            n = min(most, max(pilot, planned_units(first, weight, effect, (ALPHA, 1 - power), 2)))
            p_value, _ = welch(*guarded(arm(theirs[: n * others]), arm(ours[:n])), ALPHA)
            wins[name] += bool(p_value < ALPHA)
    assert stats.binom.ppf(0.0005, tests, 0.4 * ALPHA) <= wins["no better"] <= stats.binom.ppf(0.9995, tests, ALPHA)
    # No less often but for chance, and for what a pilot of heavy tails knows of their variance; more often where the minimum is enough.
    assert wins["better"] / tests >= power - 0.07


def test_challenger_that_is_better_wins():
    chance = np.random.default_rng(3)
    production, challenger = (LOSSES["heavy tails"](chance, (400, 5_000)) for _ in range(2))
    assert _wins(_bounds(production, challenger * 0.7, 250, 0.5)[0]) > 0.99


def test_bounds_hold_the_true_improvement_at_all_looks_as_often_as_stated():
    chance, better = np.random.default_rng(5), 0.07
    production, challenger = (LOSSES["normal errors"](chance, (TESTS, 5_000)) for _ in range(2))
    lower, upper = _bounds(production, challenger * (1 - better) ** 2, 250, 0.5)
    assert (lower > better).any(axis=1).mean() <= _errors(ALPHA)[1]
    assert (upper < better).any(axis=1).mean() <= _errors(ALPHA)[1]


def test_boundary_is_crossed_by_a_gaussian_walk_as_often_as_stated():
    """Random walks over a thousand times their first look: nearly all of alpha is spent, and no more than that."""
    chance, first, steps = np.random.default_rng(17), 1.0, np.geomspace(1, 1000, 600)
    increments = chance.normal(size=(20_000, len(steps))) * np.sqrt(np.diff(steps, prepend=0.0))
    walks = np.cumsum(increments, axis=1) / np.sqrt(steps)
    for alpha in (0.05, 0.2):
        crossed = (walks > sequential_critical(steps, first, alpha)).any(axis=1).mean()
        assert 0.7 * alpha <= crossed <= alpha * 1.05


def test_bound_is_wider_for_a_smaller_error_rate_and_after_more_looks():
    assert sequential_critical(1000.0, 1000, 0.05) == pytest.approx(2.503, abs=0.001)
    assert sequential_critical(1000.0, 1000, 0.01) > sequential_critical(1000.0, 1000, 0.05)
    assert sequential_critical(9000.0, 1000, 0.05) > sequential_critical(1000.0, 1000, 0.05)
    assert sequential_critical(900.0, 1000, 0.05) == sequential_critical(1000.0, 1000, 0.05)


def test_welch_is_scipys_and_its_bound_agrees_with_its_p_value():
    chance = np.random.default_rng(1)
    production, challenger = chance.exponential(1.1, 300), chance.exponential(1.0, 500)
    p_value, critical = welch(arm(production), arm(challenger), 0.05)
    known: Any = stats.ttest_ind(production, challenger, equal_var=False, alternative="greater")
    assert p_value == pytest.approx(known.pvalue)
    _, exact = welch(arm(production), arm(challenger), float(p_value))
    lower, _ = improvement_bounds(arm(production), arm(challenger), exact, 1)
    assert lower == pytest.approx(0, abs=1e-9)
    assert critical == pytest.approx(1.645, abs=0.01)


def test_prefixes_are_what_each_prefix_sums_up_to():
    losses = 1e6 + np.random.default_rng(2).exponential(size=(3, 50))
    found = prefixes(losses, np.array([2, 17, 50]))
    for place, count in enumerate((2, 17, 50)):
        alone = arm(losses[:, :count])
        assert found.mean[:, place] == pytest.approx(alone.mean, rel=1e-12)
        assert found.variance[:, place] == pytest.approx(alone.variance, rel=1e-6)


def test_improvement_is_in_the_metric_not_in_the_loss():
    production, challenger = Arm(100, 4.0, 1.0), Arm(100, 3.24, 1.0)
    assert improvement(production, challenger, 2) == pytest.approx(0.1)
    assert improvement(production, challenger, 1) == pytest.approx(0.19)
    assert improvement(challenger, production, 2) < 0


def test_what_is_not_told_from_nothing_has_no_bounds():
    lower, upper = improvement_bounds(Arm(10, 0.1, 4.0), Arm(10, 0.2, 4.0), 2.0, 2)
    assert (lower, upper) == (-np.inf, 1.0)


def test_perfect_predictions_are_compared_too():
    perfect, other = Arm(100, 0.0, 0.0), Arm(100, 1.0, 0.5)
    assert improvement(perfect, perfect, 2) == 0
    assert improvement(perfect, other, 2) == -np.inf
    assert improvement(other, perfect, 2) == 1
    assert float(welch(perfect, perfect, 0.05)[0]) == 1.0
    assert planned_units((perfect, perfect), 0.5, 0.02, (0.05, 0.2), 2) > 10**9


def test_uneven_weights_need_more_units_in_all():
    pilot = Arm(500, 1.0, 2.0), Arm(500, 1.0, 2.0)
    even, uneven = (planned_units(pilot, weight, 0.05, (0.05, 0.2), 1) for weight in (0.5, 0.1))
    assert even == pytest.approx(2 * 2.0 * (1.645 + 0.842) ** 2 / 0.05**2, rel=0.01)
    assert uneven / 0.1 > even / 0.5


def _shares(real: float, weight: float, units: int, tests: int) -> tuple[np.ndarray, np.ndarray]:
    """Units at each of 400 looks, and what the check of the shares says then, shape (tests, looks)."""
    chance = np.random.default_rng(23)
    at = np.unique(np.geomspace(1, units, 400).astype(int))
    challengers = np.cumsum(chance.binomial(np.diff(at, prepend=0), real, size=(tests, len(at))), axis=1).astype(np.float64)
    return at, mismatch(at - challengers, challengers, weight)


@pytest.mark.parametrize("weight", [0.5, 0.1, 0.05, 0.01])
def test_honest_shares_end_no_more_tests_than_stated_however_often_one_looks(weight: float):
    """From the first unit on, where a chi-square test at every look ends between 1 and 11 of 100."""
    seen = (_shares(weight, weight, 200_000, 10_000)[1] < 0.001).any(axis=1)
    assert seen.mean() <= 0.001


@pytest.mark.parametrize(
    ("real", "weight", "soon"), [(0.45, 0.5, 3_000), (0.4, 0.5, 800), (0.08, 0.1, 7_000), (0.0, 0.5, 60), (0.0, 0.1, 200)]
)
def test_shares_that_are_not_the_weight_are_seen_soon(real: float, weight: float, soon: int):
    at, found = _shares(real, weight, soon, 500)
    assert at[-1] == soon
    assert (found < 0.001).any(axis=1).mean() >= 0.9


def test_shares_are_judged_by_the_beta_binomial_bayes_factor():
    """By the probabilities of SciPy's own distributions, without logarithms of Beta functions."""
    x, n, weight = 30, 40, 0.5
    evidence = stats.betabinom.pmf(x, n, 100 * weight, 100 * (1 - weight)) / stats.binom.pmf(x, n, weight)
    assert mismatch(n - x, x, weight) == pytest.approx(1 / evidence)
    assert evidence > 1
    assert mismatch(0, 0, 0.5) == 1.0
    assert mismatch(9_000, 1_000, 0.1) == 1.0
    assert mismatch(9_000, 1_000, 0.5) < 1e-100
