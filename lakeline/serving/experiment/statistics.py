"""How a challenger's losses are compared with production's: a confidence sequence, a planned t-test, and a check of the shares.

A *unit* is a key, or a request without one; its loss is the mean over its rows. Units are what was shared out at random, so they are what
is independent: rows of one key are not. All functions take arrays as well as single numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = float | NDArray[np.float64]

POWERS = {"rmse": 2, "mae": 1}
"""A metric to this power is a mean of losses of rows: of squared, or of absolute errors."""

NEVER = 2**31
"""Units that no test has."""

_SHARES = 100
"""Units that the prior of the shares is worth: at a weight of 0.5 its standard deviation is 0.05.

Losing a tenth of a variant's units is what is to be found soon. For 45 % instead of 50 % it takes 1,750 units (median; 1,800 with a prior
of 10 units, 2,200 of 1,000), for 8 % instead of 10 % 3,400 (4,300; 3,900), and 45 if one variant has none at all (20; 126).
"""


@dataclass(frozen=True)
class Arm:
    """Losses of the units of one variant: how many, their mean and their variance (with n - 1)."""

    n: Any
    mean: Any
    variance: Any

    @property
    def uncertainty(self) -> Any:
        """Variance of the mean."""
        return self.variance / self.n


def arm(losses: NDArray[np.float64]) -> Arm:
    """Sum up losses, shape (..., n), along the last axis; n >= 2."""
    return Arm(losses.shape[-1], losses.mean(axis=-1), losses.var(axis=-1, ddof=1))


def prefixes(losses: NDArray[np.float64], counts: NDArray[np.int64]) -> Arm:
    """Sum up the first `counts` of the losses, shape (..., n), for each count >= 2, shape (k,): shape (..., k)."""
    import numpy as np

    # Around the mean of all, so that no digits are lost where losses are large and their differences small.
    centre = losses.mean(axis=-1, keepdims=True)
    sums = np.cumsum(losses - centre, axis=-1)[..., counts - 1]
    squares = np.cumsum((losses - centre) ** 2, axis=-1)[..., counts - 1]
    return Arm(counts, centre + sums / counts, np.maximum(squares - sums**2 / counts, 0) / (counts - 1))


def improvement(production: Arm, challenger: Arm, power: int) -> Any:
    """By which fraction of production's metric the challenger's is better; negative: worse.

    Parameters
    ----------
    production, challenger
        Their losses.
    power
        Of the metric, see POWERS.
    """
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(1 - (challenger.mean / np.float64(production.mean)) ** (1 / power), nan=0.0, posinf=np.inf, neginf=-np.inf)


def improvement_bounds(production: Arm, challenger: Arm, critical: Numbers, power: int) -> tuple[Any, Any]:
    """Bounds of the improvement, each at the one-sided level of `critical`.

    The challenger is better by more than a fraction e if theta m_p - m_c > 0 with theta = (1 - e)^power, where m are mean losses.
    That difference has the variance theta² v_p + v_c, v being those of the means, for the arms are independent. The bounds are where it
    is `critical` standard errors from 0: the roots of (theta m_p - m_c)² = critical² (theta² v_p + v_c), which is Fieller's interval.

    Parameters
    ----------
    production, challenger
        Their losses.
    critical
        Standard errors from the estimate to either bound.
    power
        Of the metric, see POWERS.

    Returns
    -------
    tuple
        Lower and upper bound, as fractions; -inf and 1 where production's mean is itself not told from 0.
    """
    import numpy as np

    m_p, m_c = np.float64(production.mean), np.float64(challenger.mean)
    v_p, v_c = critical**2 * production.uncertainty, critical**2 * challenger.uncertainty
    a, c = m_p**2 - v_p, m_c**2 - v_c
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum((m_p * m_c) ** 2 - a * c, 0))
        low, high = (m_p * m_c - root) / a, (m_p * m_c + root) / a
        lower, upper = 1 - high ** (1 / power), 1 - np.maximum(low, 0) ** (1 / power)
    return np.where(a > 0, lower, -np.inf), np.where(a > 0, upper, 1.0)


def sequential_critical(units: Numbers, first: float, alpha: float) -> Any:
    """Standard errors from the estimate to a bound that holds at all looks at once, however many there are.

    An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
    asymptotic confidence sequences", Annals of Statistics 52 (6), 2024: for means, and for randomized experiments) with the
    boundary of Robbins and Siegmund ("Boundary crossing probabilities for the Wiener process and sample sums", Annals of Mathematical
    Statistics 41 (5), 1970), one-sided. It spends nothing on looks before the first one.

    The difference of the arms' means is, but for a term that vanishes faster than the bound, the mean of the independent variables
    f_i = a_i (L_i - m_1) / w - (1 - a_i) (L_i - m_0) / (1 - w) over all n units, with a_i whether unit i is in the second arm. By
    strong approximation their sum is a Gaussian random walk, of a variance that n (v_1 / n_1 + v_0 / n_0) estimates. Let z_n be the walk
    in standard errors. exp(l S_n - l² n / 2) is a martingale for every l; mixed evenly over all l > 0 it is, but for a constant,
    M_n = n^(-1/2) exp(z_n² / 2) Phi(z_n). From `first` = m on, M_n reaches the level c = m^(-1/2) exp(a² / 2) Phi(a) at all with a
    probability of at most P(M_m >= c) + E[M_m; M_m < c] / c = 1 - Phi(a) + phi(a) (a + phi(a) / Phi(a)), which is alpha for one a.
    Where z_n >= a, Phi(z_n) >= Phi(a): so M_n has reached c once z_n² >= a² + log(n / m).

    Parameters
    ----------
    units
        n: units of both arms so far.
    first
        m: units of both arms before which nobody looks.
    alpha
        Probability that the estimate is ever further than this from the truth, on that side.
    """
    import numpy as np
    from scipy import optimize, stats

    def excess(a: float) -> float:
        density = stats.norm.pdf(a)
        return float(stats.norm.sf(a) + density * (a + density / stats.norm.cdf(a)) - alpha)

    start: Any = optimize.brentq(excess, 0, 40)
    return np.sqrt(start**2 + np.log(np.maximum(units, first) / first))


def guarded(production: Arm, challenger: Arm) -> tuple[Arm, Arm]:
    """Give each arm at least the variance of both together.

    Losses are skewed: of a small arm that has not met its hard cases yet, mean and variance are both too small, which makes it win too
    often. Where the arms are alike, the variance of both together doesn't know which arm is the lucky one.
    """
    import numpy as np

    pooled = _pooled(production, challenger)
    one, other = (Arm(each.n, each.mean, np.maximum(each.variance, pooled)) for each in (production, challenger))
    return one, other


def _pooled(production: Arm, challenger: Arm) -> Any:
    weighted = (production.n - 1) * production.variance + (challenger.n - 1) * challenger.variance
    return weighted / (production.n + challenger.n - 2)


def welch(production: Arm, challenger: Arm, alpha: float) -> tuple[Any, Any]:
    """Welch's t-test of whether the challenger's mean loss is less than production's.

    Parameters
    ----------
    production, challenger
        Their losses.
    alpha
        Error rate, one-sided.

    Returns
    -------
    tuple
        p-value; and the standard errors from the estimate to a bound.
    """
    import numpy as np
    from scipy import stats

    found = stats.ttest_ind_from_stats(
        production.mean,
        np.sqrt(production.variance),
        production.n,
        challenger.mean,
        np.sqrt(challenger.variance),
        challenger.n,
        equal_var=False,
        alternative="greater",
    )
    v_p, v_c = production.uncertainty, challenger.uncertainty
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.float64(v_p + v_c) ** 2 / (v_p**2 / (production.n - 1) + v_c**2 / (challenger.n - 1))
    # Without any variance there is nothing to test: equal means are no difference, and other ones are.
    certain = np.where(np.asarray(production.mean) > challenger.mean, 0.0, 1.0)
    p_value = np.where(np.isnan(found.pvalue), certain, found.pvalue)
    return p_value, stats.t.isf(alpha, np.nan_to_num(freedom, nan=1.0))


def planned_units(pilot: tuple[Arm, Arm], weight: float, effect: float, errors: tuple[float, float], power: int) -> int:
    """Units that the smaller arm needs for Welch's test to find an improvement.

    The pilot's units are put together: the mean over all of them is uncorrelated with the difference of the arms, so that what is planned
    doesn't depend on which of them did better, and the test's error rate stays what it is.

    Parameters
    ----------
    pilot
        Losses of the first units of both arms, in the proportion of their weights.
    weight
        Fraction of the units that the challenger has.
    effect
        Improvement of the metric that is to be found, as a fraction.
    errors
        How often a challenger that is no better may win, and how often one that is better by `effect` may not.
    power
        Of the metric, see POWERS.

    Returns
    -------
    int
        At least 2; NEVER where losses have no mean to improve on.
    """
    from scipy import stats

    production, challenger = pilot
    mean = (production.n * production.mean + challenger.n * challenger.mean) / (production.n + challenger.n)
    variance = _pooled(production, challenger)
    found = mean * (1 - (1 - effect) ** power)
    if found <= 0:
        return NEVER
    quantiles = stats.norm.isf(errors[0]) + stats.norm.isf(errors[1])
    total = quantiles**2 * variance * (1 / weight + 1 / (1 - weight)) / found**2
    return max(2, math.ceil(total * min(weight, 1 - weight)))


def mismatch(production: Numbers, challenger: Numbers, weight: float) -> Any:
    """Evidence that units were not shared out by the weight, which may be looked at as often as one likes.

    The Bayes factor of a share drawn from Beta(k w, k (1 - w)) against the weight w is, for x of n units, B(kw + x, k(1-w) + n - x) /
    (B(kw, k(1-w)) w^x (1-w)^(n-x)). Where the weight is the share it is a non-negative martingale that starts at 1, so it ever reaches
    1 / p with a probability of at most p (Ville's inequality), from the first unit on and for any number of looks: Lindon and Malek,
    "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022. A chi-square test is for one look, and for many units.

    Parameters
    ----------
    production, challenger
        Units of each.
    weight
        Fraction of the units that is the challenger's.

    Returns
    -------
    float or array
        An upper bound of the probability that such shares, or any that tell as much, are ever seen by chance; 1 if there are no units.
    """
    import numpy as np
    from scipy.special import betaln

    a, b = _SHARES * weight, _SHARES * (1 - weight)
    by_chance = np.multiply(challenger, np.log(weight)) + np.multiply(production, np.log1p(-weight))
    evidence = betaln(np.add(challenger, a), np.add(production, b)) - betaln(a, b) - by_chance
    return np.exp(-np.maximum(evidence, 0))
