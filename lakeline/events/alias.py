"""Moves of the alias `production` as events: what MLflow says of one, what tells it from others, and who has taken it on."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from lakeline.errors import LakeConflict
from lakeline.events.deliveries import SHORT
from lakeline.events.payload import DELIVERY, REPOSITORY, Alias, MalformedEvent, Webhook, parse
from lakeline.lake.base import MAIN
from lakeline.registry.peek import PRODUCTION

if TYPE_CHECKING:
    from lakeline.lake import Lake
    from lakeline.registry.deployed import Standing

CLAIM_TAG = "run/deployment/"
"""Tags run/deployment/<version>.<what made it move> stand at the data of versions whose deployment somebody has taken on."""


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


def move_of(at: Standing) -> str:
    """Name what tells this move of the alias from others, as far as it is recorded."""
    said = f"{at.production} {at.deployed} {at.since.isoformat() if at.since else ''}"
    return hashlib.sha256(said.encode()).hexdigest()[:SHORT]


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
        return lake.tag(f"{CLAIM_TAG}{at.production}.{by}", at.commit or MAIN)
    except LakeConflict:  # it stands at the commit that main was at then
        return False


def claims(lake: Lake, version: int) -> frozenset[str]:
    """Names of all claims of a version's deployment."""
    return frozenset(name for name in lake.tags() if name.startswith(f"{CLAIM_TAG}{version}."))
