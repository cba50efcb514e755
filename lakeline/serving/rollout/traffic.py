"""How requests come to be shared between two variants: by weights where a gateway knows them, by numbers of servers where none does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakeline.serving.release import Variant

    Shares = dict[Variant, int]
    """Parts of the whole for each variant."""

_WHOLE = 1000


def weights(weight: float | None) -> Shares:
    """Requests of a thousand for each variant; for production alone without a test."""
    if weight is None:
        return {"production": _WHOLE}
    challenger = round(weight * _WHOLE)
    return {"production": _WHOLE - challenger, "challenger": challenger}


def servers(weight: float, least: int, most: int) -> Shares:
    """Numbers of servers whose share is nearest to a weight.

    Parameters
    ----------
    weight
        Fraction of the servers that are to be the challenger's.
    least
        How many the larger variant has at least.
    most
        How many each has at most.

    Returns
    -------
    dict
        At least one each; the fewest of those that come equally near.
    """
    pairs = [(ours, theirs) for ours in range(1, most + 1) for theirs in range(1, most + 1) if max(ours, theirs) >= least]
    ours, theirs = min(pairs, key=lambda pair: (round(abs(pair[1] / sum(pair) - weight), 9), sum(pair)))
    return {"production": ours, "challenger": theirs}
