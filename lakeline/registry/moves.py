"""Moves of aliases: each is recorded before it is made; and moves back, to what served."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from lakeline.lake.lock import locked
from lakeline.registry import records
from lakeline.registry.peek import PRODUCTION, sqlite_path
from lakeline.registry.records import UNRECORDED, Move, last_move
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

    from lakeline.errors import RegistryError

PREVIOUS = "previous"


def move_alias(
    client: MlflowClient,
    model: str,
    alias: str,
    version: int | None,
    why: str,
    who: str | None = None,
    *,
    expect: int | Literal["any"] | None = "any",
    kind: str = "",
) -> int | None:
    """Move an alias to a version, or away from all, and record it; where it stands there already, nothing is done.

    A try that follows an interrupted one finds the record that this one made.

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
    expect
        Where it must stand for the move to be made: what whoever asks for it has judged by.
    kind
        What is to be recorded of it besides.

    Returns
    -------
    int or None
        Where the alias stands then: elsewhere than asked for if it wasn't where it was expected.
    """
    from lakeline.lineage import person
    from lakeline.registry.versions import all_versions, registered_model

    versions = all_versions(client, model)  # first: where the alias stands is read as late as can be
    found = registered_model(client, model)
    origin = _stands(found.aliases if found else {}, alias)
    if origin == version or expect not in ("any", origin):
        return origin
    moves = records.read([found.tags if found else {}, *(each.tags for each in versions)])
    said = Move(records.now(), alias, origin, version, who or person(), why, kind)
    last = last_move(moves, alias)
    if last is not None and not last.made and _same(last, said):
        said = last
    else:
        records.write(client, model, said)
    if version is None:
        client.delete_registered_model_alias(model, alias)
    else:
        client.set_registered_model_alias(model, alias, str(version))
    records.write(client, model, replace(said, made=True))
    return version


@contextmanager
def exclusively(model: str) -> Generator[None]:
    """Let no other process move a model's aliases meanwhile; MLflow has no move that depends on where an alias stands.

    That is so on one machine, where MLflow is a SQLite file. On a server two that look at the same moment may both move.

    Raises
    ------
    LakeUnavailable
        If another one takes longer than a minute.
    """
    path = sqlite_path(get_settings().mlflow_uri)
    if path is None:
        yield
        return
    with locked(path.with_name(f"{path.name}.aliases"), f"{model}: its aliases in {path}"):
        yield


def _stands(aliases: dict[str, str], alias: str) -> int | None:
    version = aliases.get(alias)
    return None if version is None else int(version)


def _same(ours: Move, other: Move) -> bool:
    """Whether two records are of one move, which was tried again."""
    return (ours.origin, ours.target, ours.why) == (other.origin, other.target, other.why)


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
    found = recorded(model)
    if found is None:
        raise no_model(model)
    return found[2]


def recorded(model: str) -> tuple[RegisteredModel, list[ModelVersion], list[Move]] | None:
    """Read a model, its versions, and the moves of its aliases, oldest first; None if there is no such model.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking
    from lakeline.registry.versions import all_versions, registered_model

    client = connect()
    with speaking():
        found = registered_model(client, model)
        if found is None:
            return None
        versions = all_versions(client, model)
    return found, versions, records.read([found.tags, *(version.tags for version in versions)])


def was_moved(client: MlflowClient, model: str, version: int) -> bool:
    """Whether the alias production has come to stand at a version, there or not any more."""
    from lakeline.registry.versions import all_versions, registered_model

    found, versions = registered_model(client, model), all_versions(client, model)
    production = _stands(found.aliases if found else {}, PRODUCTION)
    moves = records.read([found.tags if found else {}, *(each.tags for each in versions)])
    never = records.unmade(moves, production, {int(each.version) for each in versions})
    return production == version or any((move.alias, move.target) == (PRODUCTION, version) and move not in never for move in moves)


def no_model(model: str) -> RegistryError:
    """Make the error that says that there is no such model."""
    from lakeline.errors import RegistryError

    return RegistryError(f"there is no model {model!r} in the registry. See: lakeline models")


def revert(model: str, failed: int, target: int | None, why: str, who: str | None = None) -> int | None:
    """Take the alias `production` away from a version that can't serve.

    Parameters
    ----------
    model
        Its name.
    failed
        Version that failed; if the alias has moved on from it, it stays where it is.
    target
        Version that serves, where the alias goes back to; None if none does.
    why
        What was wrong with the version that failed; it gets the tags `rolled_back_at`, `_who`, `_why` and `_to`.
    who
        Who asked for it; None: the user of this process.

    Returns
    -------
    int or None
        Version that has the alias then.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking
    from lakeline.registry.versions import registered_model

    client = connect()
    with exclusively(model), speaking():
        moves = history(model)
        records.record(client, model, failed, "rolled_back", to="" if target is None else target, why=why)
        said = f"version {failed} was rolled back: {why}"
        production = move_alias(client, model, PRODUCTION, target, said, who, expect=failed)
        # After production: interrupted in between, `previous` stands where production does, which the way back is found from.
        found = registered_model(client, model)
        previous = _stands(found.aliases if found else {}, PREVIOUS)
        back = _previous_of(moves, failed, target, production, previous)
        if back != previous:
            move_alias(client, model, PREVIOUS, back, said, who, expect=previous)
    return production


def _previous_of(moves: Sequence[Move], failed: int, target: int | None, production: int | None, previous: int | None) -> int | None:
    """Where `previous` belongs when a version has failed: where it was before that version came, and never at that version."""
    if production != target:  # another version was promoted meanwhile, over one that never served
        return target if previous == failed else previous
    came = next((move for move in reversed(moves) if (move.alias, move.target) == (PRODUCTION, failed)), None)
    if previous not in (target, failed, came.origin if came else failed):
        return previous
    before = _before(moves, failed, target)
    return None if before in (target, failed) else before


def _before(moves: Sequence[Move], failed: int, target: int | None) -> int | None:
    """Where `previous` stood before production left `target` for the version that failed, or for others on the way to it."""
    version: int | None = failed
    for place in reversed(range(len(moves))):
        if (moves[place].alias, moves[place].target) == (PRODUCTION, version):
            version = moves[place].origin
            if version == target:
                return way_back(moves[:place], version)
    return None


def way_back(moves: Sequence[Move], version: int | None) -> int | None:
    """Where `previous` stood before it was moved to a version, as the last record of that says."""
    moved = (move for move in reversed(moves) if move.alias == PREVIOUS and move.target == version is not None)
    return next((move.origin for move in moved), None)


def record_unrecorded(model: str, version: int, before: int | None, who: str = "") -> None:
    """Record that somebody put a version into production in MLflow's own interface, if that isn't recorded.

    Parameters
    ----------
    model, version
        Name and number of what has the alias `production`.
    before
        Version that served until then, which becomes `previous`; None if none did.
    who
        Who did it, if that is known.

    Raises
    ------
    RegistryError
        If there is no such model, or the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking

    last = last_move(history(model))
    if before == version or (last is not None and last.target == version):
        return
    client, who = connect(), who or "unknown"
    with speaking():
        if before is not None:
            move_alias(client, model, PREVIOUS, before, f"{version} takes its place", who)
        records.write(client, model, Move(records.now(), PRODUCTION, before, version, who, "set in MLflow", UNRECORDED, made=True))
