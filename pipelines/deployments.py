"""What a move of the alias `production` starts on Kubeflow Pipelines: one deployment for each move, however often its event comes."""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakeline.errors import EventsError, LakelineError, LakeNotFound, describe
from lakeline.events.alias import claim, claims, move_of
from lakeline.events.deliveries import SHORT
from lakeline.events.payload import Alias, MalformedEvent, parse
from lakeline.lake import list_lakes, open_lake
from lakeline.registry.deployed import Standing, find_standing
from pipelines.reactions import UNDER_WAY, Outcome, Reaction, start

if TYPE_CHECKING:
    from kfp import Client

    from lakeline.lake import Lake

PATIENCE = 480.0
"""Seconds that an event waits for the end of a deployment of another version: less than its Job may take."""

_PIPELINE = "deployment"
_INTERVAL = 5.0
_LOOKED_AT = 100
_TRIES = 3
"""Runs of one move that follow each other at once: one that ends with the alias where it was was stopped by something that may pass."""
_PAUSE = timedelta(hours=1)
"""Between two runs after that."""


@dataclass(frozen=True)
class Deployment:
    """A run of the deployment pipeline; `version` is None where its name doesn't say one."""

    run_id: str
    version: int | None
    created: datetime
    state: str

    @property
    def under_way(self) -> bool:
        """Whether it goes on."""
        return self.state in UNDER_WAY


def deployment_of(model: str, version: int) -> dict[str, Any]:
    """Arguments of the deployment pipeline for a version."""
    return {"dataset": model, "version": version}


def run_name(model: str, version: int) -> str:
    """Name of the run that a move of the alias starts."""
    return f"{_PIPELINE} {model} {version}"


def on_alias(text: str, patience: float = PATIENCE) -> Reaction:
    """Start the deployment of the version that the alias was moved to, if it stands there still and nobody has started it.

    Parameters
    ----------
    text
        The event, as the gate passes it on.
    patience
        Seconds to wait for the end of a deployment of another version, or for another move, which decides what there is to do.

    Raises
    ------
    MalformedEvent
        If it is none, or of a data set that isn't there.
    EventsError
        If another deployment is under way for longer than that: the event may be tried again.
    LakelineError
        If the lake, the registry or Kubeflow Pipelines can't be spoken to: the same.
    """
    event = parse(Alias, text)
    version = int(event.version)
    try:
        lake = open_lake(event.model)
    except LakeNotFound as error:
        raise MalformedEvent(f"alias event of what isn't there: {error}") from error
    from pipelines import remote

    client = remote.connect()
    at, runs = _settled(client, event.model, version, patience)
    if at is None or at.production != version:
        now = "it stands nowhere" if at is None or at.production is None else f"it stands at version {at.production}"
        return _nothing("alias", event.model, version, "superseded", f"the alias has moved on: {now}")
    if any(run.under_way for run in tries(runs, at)):
        return _nothing("alias", event.model, version, "under way", "it is being deployed")
    if not at.pending:
        return _nothing("alias", event.model, version, "deployed", "it serves already")
    pinned = remote.ready(client, _PIPELINE)  # what can fail, fails before the claim
    if not claim(lake, at, event.delivery[:SHORT]):
        return _nothing("alias", event.model, version, "claimed", "another delivery of this event has started the deployment")
    return _start("alias", client, pinned, at, version, runs)


def catch_up(wait: float) -> Iterator[Reaction]:
    """Start the deployments that no event has started: of models that another version serves of than the alias says.

    A version that fails loses the alias. So a deployment that has ended with the alias where it was met something that may pass: an
    experiment that held the model, no room, MLflow away, its run terminated. It is tried again, after three times once an hour.

    Parameters
    ----------
    wait
        Seconds until the second look: an event may be about to start the run.

    Yields
    ------
    Reaction
        "started" or "claimed" for each; "failed" for a model that can't be dealt with now. The others are dealt with all the same.
    """
    from pipelines import remote

    client = remote.connect()
    later: list[tuple[Lake, Standing, int, frozenset[str]]] = []
    for model in list_lakes():
        try:
            at = find_standing(model)
            if at is not None and at.production is not None and _due(client, at):
                lake = open_lake(model)
                later.append((lake, at, at.production, claims(lake, at.production)))
        except LakelineError as error:
            yield _failed(model, None, None, error)
    if later:
        time.sleep(wait)
    for lake, at, version, claimed in later:
        try:
            now = find_standing(at.model)
            if now is not None and move_of(now) == move_of(at) and claims(lake, version) == claimed and _due(client, now):
                pinned = remote.ready(client, _PIPELINE)
                if claim(lake, at, f"{move_of(at)}.{len(claimed) + 1}"):
                    yield _start("catch-up", client, pinned, at, version, deployments(client, at.model))
                else:
                    yield _nothing("catch-up", at.model, version, "claimed", "another catch-up has started the deployment")
        except LakelineError as error:
            yield _failed(at.model, at.commit, version, error)


def deployments(client: Client, model: str) -> list[Deployment]:
    """The last hundred runs of a model's deployment, newest first."""
    from pipelines import remote

    named = remote.having("name", f"{_PIPELINE} {model}", "IS_SUBSTRING")
    with remote.speaking():
        found = client.list_runs(page_size=_LOOKED_AT, sort_by="created_at desc", filter=named).runs or []
    return [
        Deployment(str(run.run_id), int(words[2]) if words[2:] and words[2].isdecimal() else None, run.created_at, run.state or "PENDING")
        for run in found
        for words in [run.display_name.split()]
        if words[:2] == [_PIPELINE, model]
    ]


def tries(runs: list[Deployment], at: Standing) -> list[Deployment]:
    """Runs of the version in production since the alias moved there, newest first."""
    return [run for run in runs if run.version == at.production and (at.since is None or run.created > at.since)]


def _due(client: Client, at: Standing) -> bool:
    """Whether a deployment is to be started that no event has."""
    if not at.pending:
        return False
    runs = deployments(client, at.model)
    if any(run.under_way for run in runs):
        return False
    own = tries(runs, at)
    return len(own) < _TRIES or datetime.now(UTC) > own[0].created + _PAUSE


def _settled(client: Client, model: str, version: int, patience: float) -> tuple[Standing | None, list[Deployment]]:
    """Where things stand once no deployment goes on but that of this move: before their end nobody knows what will serve."""
    until = time.monotonic() + patience
    while True:
        at, runs = find_standing(model), deployments(client, model)
        if at is None or at.production != version:
            return at, runs
        own = tries(runs, at)
        others = [run for run in runs if run.under_way and run not in own]
        if not others:
            return at, runs
        if time.monotonic() > until:
            raise EventsError(f"{model}: another deployment is still under way (run {others[0].run_id}). Version {version} comes after it.")
        time.sleep(_INTERVAL)


def _start(event: str, client: Client, pinned: Any, at: Standing, version: int, runs: list[Deployment]) -> Reaction:
    name = run_name(at.model, version)
    run_id = start(client, pinned, deployment_of(at.model, version), name, [run.run_id for run in runs])
    return Reaction(event, at.model, at.commit, "started", name, run_id, f"{name}: started.")


def _nothing(event: str, model: str, version: int, outcome: Outcome, why: str) -> Reaction:
    return Reaction(event, model, None, outcome, run_name(model, version), None, f"{model} version {version}: {why}.")


def _failed(model: str, commit: str | None, version: int | None, error: LakelineError) -> Reaction:
    return Reaction("catch-up", model, commit, "failed", run_name(model, version) if version else "", None, describe(error))
