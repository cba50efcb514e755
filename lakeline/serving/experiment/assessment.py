"""What a look at an A/B test starts from, the units that can be judged, and what it finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

Verdict = Literal["continue", "promote", "end"]


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
    planned
        Units that it would need for the power that the spec says, of a test of a fixed size; more than `needed` where the spec's maximum
        is less. None until the first units tell.
    now
        Version in production at this look; None if there is none.
    p_value
        Of the planned test; None of a sequential one.
    shares
        See statistics.mismatch.
    rows, crossed, left_out
        See Units.
    looks
        Sequential: [units of both, improvement, lower, upper] as units came, from the minimum on: before, no bound holds.
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
    now: int | None
    shares: float
    planned: int | None = None
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
