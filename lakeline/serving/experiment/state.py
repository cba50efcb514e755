"""Which A/B test a model is in: one record, kept as a tag of the registered model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "experiment"
"""Tag of a registered model with its last test; of the challenger's version with the outcome of the test that it was in."""

CHALLENGER: Literal["challenger"] = "challenger"
"""Alias of the version that is tested beside production, and the variant that it serves as."""

Outcome = Literal["promoted", "ended", "stopped"]


@dataclass(frozen=True)
class State:
    """One A/B test of a model.

    Attributes
    ----------
    id
        What its keys are shared out by, and its predictions are logged with.
    production, challenger
        Versions under test.
    weight
        Fraction of requests that the challenger answers.
    unkeyed
        Whether the servers share out requests without a key, by their ids; not where a gateway does.
    commit
        Commit of the lake whose spec says how it is judged.
    who
        Who started it.
    started
        When requests began to be shared out, in seconds since 1970; None while it is being set up.
    ended, outcome, why
        When, how and why it ended; None while it runs.
    """

    id: str
    production: int
    challenger: int
    weight: float
    unkeyed: bool
    commit: str
    who: str
    started: float | None = None
    ended: float | None = None
    outcome: Outcome | None = None
    why: str | None = None

    @property
    def running(self) -> bool:
        """Whether it has not come to its end; it may be half set up, or half taken down."""
        return self.ended is None

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


def load(client: MlflowClient, model: str) -> State | None:
    """Read the last test of a model; None if it never was in one.

    Raises
    ------
    RegistryError
        If there is no such model, or the registry is out of reach.
    """
    from lakeline.registry.moves import no_model
    from lakeline.registry.store import speaking
    from lakeline.registry.versions import registered_model

    with speaking():
        found = registered_model(client, model)
    if found is None:
        raise no_model(model)
    text = found.tags.get(TAG)
    return State(**json.loads(text)) if text else None


def save(client: MlflowClient, model: str, state: State) -> None:
    """Write the test of a model; once it has ended, the challenger's version tells of it as well.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.runs import clip
    from lakeline.registry.store import speaking

    text = json.dumps(state.to_dict() | {"why": clip(state.why, 2000) if state.why else None}, ensure_ascii=False)
    with speaking():
        if not state.running:
            client.set_model_version_tag(model, str(state.challenger), TAG, text)
        client.set_registered_model_tag(model, TAG, text)
