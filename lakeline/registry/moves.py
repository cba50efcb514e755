"""Moves of aliases: each is recorded before it is made, for MLflow keeps no history of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lakeline.registry.peek import PRODUCTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PREVIOUS = "previous"
_TAG = "move."


@dataclass(frozen=True)
class Move:
    """One move of an alias.

    Attributes
    ----------
    at
        When, UTC, ISO 8601.
    alias
        Which alias.
    origin, target
        Versions that it stood at before and after; None for nowhere.
    who, why
        Who moved it, and the reason given.
    """

    at: str
    alias: str
    origin: int | None
    target: int | None
    who: str
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


def move_alias(client: MlflowClient, model: str, alias: str, version: int | None, why: str, who: str | None = None) -> None:
    """Move an alias to a version, or away from all, and record it; where it stands there already, nothing is done.

    The record is a tag of the version moved to (of the one moved from, if the alias goes). A try that follows an interrupted one
    finds the record that this one made.

    Parameters
    ----------
    client
        From `connect`.
    model, alias, version
        Name of the model, the alias, and where it shall stand; None: nowhere.
    why
        The reason.
    who
        Who asked for it; None: the user of this process.
    """
    from lakeline.lineage import person
    from lakeline.registry.runs import clip
    from lakeline.registry.versions import version_by_alias

    now = version_by_alias(client, model, alias)
    origin = None if now is None else int(now.version)
    if origin == version:
        return
    holder = str(version if version is not None else origin)
    said = Move(datetime.now(UTC).isoformat(timespec="microseconds"), alias, origin, version, who or person(), clip(why, 2000))
    recorded = [move for move in _moves(client.search_model_versions(f"name = '{model}'", max_results=1000)) if move.alias == alias]
    if not recorded or not _same(recorded[-1], said):
        key = datetime.fromisoformat(said.at).strftime("%Y%m%dT%H%M%S.%fZ")
        client.set_model_version_tag(model, holder, f"{_TAG}{key}", json.dumps(said.to_dict(), ensure_ascii=False))
    if version is None:
        client.delete_registered_model_alias(model, alias)
    else:
        client.set_registered_model_alias(model, alias, str(version))


def _same(ours: Move, other: Move) -> bool:
    """Whether two records are of one move, which was tried again."""
    return (ours.alias, ours.origin, ours.target, ours.why) == (other.alias, other.origin, other.target, other.why)


def history(model: str) -> list[Move]:
    """Moves of a model's aliases, oldest first.

    Parameters
    ----------
    model
        Its name.

    Raises
    ------
    RegistryError
        If there is no such model, or the registry is out of reach.
    """
    from lakeline.errors import RegistryError
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        found = client.search_model_versions(f"name = '{model}'", max_results=1000)
    if not found:
        raise RegistryError(f"there is no model {model!r} in the registry. See: lakeline models")
    return _moves(found)


def _moves(versions: Iterable[ModelVersion]) -> list[Move]:
    tags = ((key, value) for version in versions for key, value in version.tags.items() if key.startswith(_TAG))
    return [Move(**json.loads(value)) for _, value in sorted(tags)]


def revert(model: str, failed: int, target: int | None, why: str, who: str | None = None) -> None:
    """Take the alias `production` away from a version that can't serve.

    Parameters
    ----------
    model
        Its name.
    failed
        Version that failed; if the alias has moved on from it, nothing is done.
    target
        Version that serves, where the alias goes back to; None if none does.
    why
        What was wrong with the version that failed; it gets the tags `rolled_back_at`, `_who`, `_why` and `_to`.
    who
        Who asked for it; None: the user of this process.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.promotion import record
    from lakeline.registry.store import connect, speaking
    from lakeline.registry.versions import version_by_alias

    client = connect()
    with speaking():
        now = version_by_alias(client, model, PRODUCTION)
        if now is None or int(now.version) != failed:
            return
        record(client, model, failed, "rolled_back", to="" if target is None else target, why=why)
        before = None if target is None else _before(history(model), target)
        move_alias(client, model, PREVIOUS, before, f"{target} is in production again", who)
        move_alias(client, model, PRODUCTION, target, f"version {failed} was rolled back: {why}", who)


def _before(moves: list[Move], version: int) -> int | None:
    """Version that was in production before another one first took its place."""
    return next((move.origin for move in moves if move.alias == PRODUCTION and move.target == version), None)
