"""Records of what becomes of versions, which MLflow keeps no history of: tags of a version, and of its model for moves of aliases."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from lakeline.registry.peek import PRODUCTION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mlflow import MlflowClient

ROLLBACK = "rollback"
"""Kind of a move by which a person took the version in production back."""

UNRECORDED = "unrecorded"
"""Kind of a move that was made in MLflow's own interface, and recorded when what it stands at was deployed."""

_KEY = re.compile(r"move\.\d{8}T\d{6}\.\d{6}Z")
_WHY, _SHORT_WHY, _MOST = 2000, 700, 5000
"""Characters of a reason, of one that is mostly escapes in JSON, and of a tag of a registered model in MLflow's database."""


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
    kind
        ROLLBACK, UNRECORDED, or empty for any other, and for those recorded before there were kinds.
    made
        Whether it was noted that the move had been made; of older records, and of an interrupted move, that is not known.
    """

    at: str
    alias: str
    origin: int | None
    target: int | None
    who: str
    why: str
    kind: str = ""
    made: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


_MOVE = TypeAdapter(Move)


def now() -> str:
    """Say what time it is, as a record has it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def write(client: MlflowClient, model: str, move: Move) -> None:
    """Record a move as a tag `move.<time>` of the registered model, where it outlives the versions."""
    from lakeline.registry.runs import clip

    def text(most: int) -> str:
        return json.dumps(move.to_dict() | {"why": clip(move.why, most)}, ensure_ascii=False)

    said = text(_WHY)
    key = datetime.fromisoformat(move.at).strftime("move.%Y%m%dT%H%M%S.%fZ")
    client.set_registered_model_tag(model, key, said if len(said) <= _MOST else text(_SHORT_WHY))


def record(client: MlflowClient, name: str, version: int, event: str, **said: Any) -> None:
    """Record an event as tags of a version: when, who, and what else is to be said of it."""
    from lakeline.lineage import person
    from lakeline.registry.runs import clip

    facts = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "who": person(), **said}
    for key, value in facts.items():
        client.set_model_version_tag(name, str(version), f"{event}_{key}", clip(str(value)))


def read(holders: Iterable[Mapping[str, str]]) -> list[Move]:
    """Moves that tags record, oldest first; a tag that is none of ours, or that nobody can read, is left out.

    Parameters
    ----------
    holders
        Tags of the registered model, and of its versions, which had the records at first.
    """
    tags = sorted((key, value) for tags in holders for key, value in tags.items() if _KEY.fullmatch(key))
    return [move for _, value in tags for move in [_parsed(value)] if move]


def _parsed(value: str) -> Move | None:
    try:
        move = _MOVE.validate_json(value)
        return move if datetime.fromisoformat(move.at).tzinfo else None
    except ValueError:
        return None


def last_move(moves: Sequence[Move], alias: str = PRODUCTION) -> Move | None:
    """The latest move of an alias that is recorded."""
    return next((move for move in reversed(moves) if move.alias == alias), None)


def moved_at(moves: Sequence[Move], version: int) -> datetime | None:
    """When the alias production was last moved to a version, if that was recorded."""
    found = next((move for move in reversed(moves) if (move.alias, move.target) == (PRODUCTION, version)), None)
    return datetime.fromisoformat(found.at) if found else None


def unmade(moves: Sequence[Move], production: int | None, versions: Collection[int]) -> list[Move]:
    """Moves of the alias production that were recorded and then not made: it stood still where it had been.

    Parameters
    ----------
    moves
        All that are recorded, oldest first.
    production
        Where the alias stands now.
    versions
        Versions that there are. One that was deleted took the alias with it, which is no sign that it never had it.
    """
    own = [move for move in moves if move.alias == PRODUCTION]
    after = [*(move.origin for move in own[1:]), production]
    return [
        move
        for move, stood in zip(own, after, strict=False)
        if not move.made and stood == move.origin != move.target and (move.target is None or move.target in versions)
    ]
