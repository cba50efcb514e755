"""The way back by hand: from the version in production to the one that was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakeline.errors import RegistryError
from lakeline.registry.moves import PREVIOUS, history, way_back
from lakeline.registry.records import ROLLBACK, last_move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lakeline.registry.deployed import Standing
    from lakeline.registry.records import Move


def roll_back(dataset: str, why: str) -> int:
    """Bring the version that was in production before back there.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.
    why
        Reason, which is recorded on both versions.

    Returns
    -------
    int
        The version that is in production now; the one that was is `previous`.

    Raises
    ------
    RegistryError
        If somebody has rolled back already: whoever does so at the same time would bring back what both want to be rid of. If there is
        no way back, or the registry is out of reach.
    """
    from lakeline.registry.deployed import standing
    from lakeline.registry.promotion import put_in_production
    from lakeline.registry.store import connect, speaking

    at, moves = standing(dataset), history(dataset)
    last = last_move(moves)
    if last is not None and last.kind == ROLLBACK and last.target == at.production:
        raise RegistryError(
            f"{dataset}: {last.who} took version {last.origin} back to {last.target} already, on {last.at[:16].replace('T', ' at ')} UTC: "
            f"{last.why!r}. Nothing was changed. To bring version {last.origin} back all the same: "
            f"lakeline promote {dataset} {last.origin} --why TEXT"
        )
    back = _way_back(at, moves)
    if back is None:
        raise RegistryError(f"{dataset}: no version has the alias {PREVIOUS!r}, so there is no way back. See: lakeline models {dataset}")
    client = connect()
    with speaking():
        candidate = client.get_model_version(dataset, str(back))
        put_in_production(client, candidate, at.production, [why], ROLLBACK if at.production is not None else "")
    return back


def _way_back(at: Standing, moves: Sequence[Move]) -> int | None:
    """Version that was in production before; None if none is known."""
    last = last_move(moves)
    if last is None or last.target != at.production:  # the alias was set in MLflow's interface, which leaves `previous` as it is
        overtaken = last.target if last is not None and last.origin != at.production else None
        served = overtaken if at.deployed is None else at.deployed
        if served not in (None, at.production):
            return served
    # A move that was interrupted has left `previous` where production stands still.
    previous = way_back(moves, at.production) if at.previous == at.production else at.previous
    return None if previous == at.production else previous
