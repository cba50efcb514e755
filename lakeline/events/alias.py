"""The alias `production` and what serves: what MLflow says when somebody sets the alias, and where both stand now."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lakeline.errors import LakeConflict
from lakeline.events.deliveries import SHORT
from lakeline.events.payload import DELIVERY, REPOSITORY, Alias, MalformedEvent, Webhook, parse
from lakeline.lake.base import MAIN
from lakeline.registry.deployed import DEPLOYED_AT_TAG, DEPLOYED_TAG
from lakeline.registry.peek import PRODUCTION

if TYPE_CHECKING:
    from lakeline.lake import Lake

CLAIM_TAG = "run/deployment/"
"""Tags run/deployment/<version>.<what made it move> stand at the data of versions whose deployment somebody has taken on."""


@dataclass(frozen=True)
class Standing:
    """Where the alias stands, and what serves.

    Attributes
    ----------
    model
        Its name, which is that of its data set.
    wanted
        Version that the alias stands at.
    deployed
        Version that serves, as the last deployment recorded; None if there was none.
    since
        When that became so: the last deployment's end, or the alias' last recorded move, if that was later; None if neither is known.
    commit
        Commit that the wanted version learned from; None if it doesn't say.
    """

    model: str
    wanted: int
    deployed: int | None
    since: datetime | None
    commit: str | None

    @property
    def pending(self) -> bool:
        """Whether another version serves than the alias says."""
        return self.wanted != self.deployed

    @property
    def move(self) -> str:
        """What tells this move of the alias from others, as far as it is recorded."""
        said = f"{self.wanted} {self.deployed} {self.since.isoformat() if self.since else ''}"
        return hashlib.sha256(said.encode()).hexdigest()[:SHORT]


def read(delivery: str, body: bytes) -> Alias | None:
    """Read what MLflow has signed.

    Parameters
    ----------
    delivery
        Its id.
    body
        As it came.

    Returns
    -------
    Alias or None
        None if it is of something else: another event, another alias, a model whose name no data set can have.

    Raises
    ------
    MalformedEvent
        If it isn't what MLflow sends: says where.
    """
    try:
        said = parse(Webhook, body.decode())
    except UnicodeDecodeError:
        raise MalformedEvent("malformed webhook event: it is no text in UTF-8. Nothing was done.") from None
    if (said.entity, said.action, said.data.get("alias")) != ("model_version_alias", "created", PRODUCTION):
        return None
    name, version = said.data.get("name"), said.data.get("version")
    if isinstance(name, str) and not re.fullmatch(REPOSITORY, name):
        return None
    if not re.fullmatch(DELIVERY, delivery):
        raise MalformedEvent("malformed webhook event: its delivery has no id as MLflow makes them. Nothing was done.")
    return parse(Alias, json.dumps({"delivery": delivery, "model": name, "alias": PRODUCTION, "version": version}))


def standing(model: str) -> Standing | None:
    """Say where the alias stands and what serves; None if there is no such model, or its alias stands nowhere.

    Parameters
    ----------
    model
        Its name.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        found = client.search_registered_models(f"name = '{model}'", max_results=1)
        wanted = found[0].aliases.get(PRODUCTION) if found else None
        if wanted is None:
            return None
        commit = client.get_model_version(model, str(wanted)).tags.get("data_commit")
    tags: dict[str, str] = found[0].tags
    deployed = tags.get(DEPLOYED_TAG, "")
    times = [time for time in (_time(tags.get(DEPLOYED_AT_TAG, "")), moved(model, int(wanted))) if time]
    return Standing(model, int(wanted), int(deployed) if deployed.isdecimal() else None, max(times, default=None), commit)


def moved(model: str, version: int) -> datetime | None:
    """When the alias was last moved to a version, if that was recorded: it isn't of who moves it in MLflow's own interface.

    Raises
    ------
    RegistryError
        If there is no such model, or the registry is out of reach.
    """
    from lakeline.registry.moves import history

    times = (_time(move.at) for move in history(model) if (move.alias, move.target) == (PRODUCTION, version))
    return max((time for time in times if time), default=None)


def claim(lake: Lake, at: Standing, by: str) -> bool:
    """Take on the deployment of a version.

    Of all that try with the same `by`, one is told True.

    Parameters
    ----------
    lake
        Repository of the data set.
    at
        Says the version, and the commit that it learned from, where the claim stands; on main's head, if it doesn't say.
    by
        What made it move: the id of a delivery, cut short; or the move and the number of an attempt.
    """
    try:
        return lake.tag(f"{CLAIM_TAG}{at.wanted}.{by}", at.commit or MAIN)
    except LakeConflict:  # it stands at the commit that main was at then
        return False


def claims(lake: Lake, version: int) -> frozenset[str]:
    """Names of all claims of a version's deployment."""
    return frozenset(name for name in lake.tags() if name.startswith(f"{CLAIM_TAG}{version}."))


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
