"""What comes of an event: what was done about it, and the run that it started."""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from lakeline.errors import PipelinesError

if TYPE_CHECKING:
    from kfp import Client

    from pipelines.remote import PinnedVersion

UNDER_WAY = frozenset({"PENDING", "RUNNING", "CANCELING"})
"""States of a run that goes on, as the API calls them."""

Outcome = Literal[
    "started", "claimed", "trained", "trained by its own run", "no delivery", "under way", "superseded", "deployed", "not there", "failed"
]

SAID = {
    "no delivery": "it changed no clean rows of main, so there is nothing to train from",
    "trained": "a model was trained from it already",
    "trained by its own run": "the run that merged it trains from it as well",
    "claimed": "another delivery of this event has started the run",
    "under way": "a run of the same arrivals was started already",
}


@dataclass(frozen=True)
class Reaction:
    """What was done about an event: `outcome`, and the run that was started, if one was."""

    event: str
    dataset: str
    commit: str | None
    outcome: Outcome
    run: str
    run_id: str | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Represent as JSON can."""
        return asdict(self)


def start(client: Client, version: PinnedVersion, arguments: Mapping[str, Any], name: str, known: Collection[str] = ()) -> str:
    """Start a run that was claimed.

    Parameters
    ----------
    client, version, arguments, name
        As of `remote.submit`.
    known
        Ids of the runs of this name that there were before.

    Returns
    -------
    str
        Its id.

    Raises
    ------
    PipelinesError
        If the server refuses it, or is out of reach.
    """
    from pipelines import remote

    try:
        return remote.submit(client, version, arguments, name)
    except PipelinesError as error:
        found = [run for run in _found(client, name) if run not in known]  # perhaps its answer was lost only
        if not found:
            raise PipelinesError(f"{error} The run was claimed and not started: the catch-up starts it.") from error
        return found[0]


def _found(client: Client, name: str) -> list[str]:
    from pipelines import remote

    try:
        return remote.find_runs(client, name)
    except PipelinesError:
        return []
