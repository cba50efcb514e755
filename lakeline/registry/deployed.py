"""What the registry knows of serving: the version that shall serve, the one that was last seen to, and rows to try them with."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.registry.moves import PREVIOUS, no_model, recorded
from lakeline.registry.peek import PRODUCTION
from lakeline.registry.records import UNRECORDED, last_move

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakeline.training.model import Example

DEPLOYED_TAG = "deployed_version"
"""Tag of a registered model: the version that was last seen to serve."""

DEPLOYED_AT_TAG = "deployed_at"
"""Tag of a registered model: when that was, UTC, ISO 8601."""


DEPLOYING_TAG = "deploying_version"
"""Tag of a registered model while a version is being rolled out: what serves then may be any, or some of each."""

_DESCRIPTION = "MLmodel"
"""MLflow's own file about a model."""


@dataclass(frozen=True)
class Standing:
    """Where a model stands.

    Attributes
    ----------
    model
        Its name, which is that of its data set.
    production
        Version that has the alias `production`; None if none has.
    previous
        Version that has the alias `previous`, the way back; None if none has.
    deployed
        Version that was last seen to serve; None if none was.
    deploying
        Version whose rollout was begun, and has not come to an end; None if there is none.
    since
        When that became so: the last deployment's end, or the last move of `production` that was recorded when it was made, if that
        was later; None if neither is known.
    tags
        Tags of the version in production.
    actor
        Who moved the alias there, as far as that is known: it isn't of who moves it in MLflow's own interface.
    """

    model: str
    production: int | None
    previous: int | None
    deployed: int | None
    deploying: int | None
    since: datetime | None
    tags: Mapping[str, str]
    actor: str

    @property
    def commit(self) -> str | None:
        """Commit that the version in production learned from; None if it doesn't say."""
        return self.tags.get("data_commit")

    @property
    def pending(self) -> bool:
        """Whether something else serves than the alias says, or may: of a rollout that was begun nobody knows yet what came of it."""
        return self.production is not None and (self.production != self.deployed or self.deploying is not None)


def standing(model: str) -> Standing:
    """Tell where a model stands.

    Raises
    ------
    RegistryError
        If there is no such model, or the registry is out of reach.
    """
    found = find_standing(model)
    if found is None:
        raise no_model(model)
    return found


def find_standing(model: str) -> Standing | None:
    """Tell where a model stands; None if there is no such model.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    found = recorded(model)
    if found is None:
        return None
    registered, versions, moves = found
    said: dict[str, str] = registered.tags
    production, previous = (_number(registered.aliases.get(alias)) for alias in (PRODUCTION, PREVIOUS))
    last = last_move(moves)
    # Not the record that a deployment makes of somebody else's move: a run that goes on would seem to be of an earlier one.
    made = last_move([move for move in moves if move.kind != UNRECORDED])
    times = [time for time in (_time(said.get(DEPLOYED_AT_TAG)), _time(made.at if made else None)) if time]
    return Standing(
        model,
        production,
        previous,
        _number(said.get(DEPLOYED_TAG)),
        _number(said.get(DEPLOYING_TAG)),
        max(times, default=None),
        next((dict(version.tags) for version in versions if int(version.version) == production), {}),
        last.who if last and last.target == production else "",
    )


def _number(text: object) -> int | None:
    """Number of a version, as an alias or a tag says it; a tag may say anything."""
    return int(str(text)) if str(text).isdecimal() else None


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def version_tags(model: str, version: int) -> Mapping[str, str]:
    """Tags of a version.

    Raises
    ------
    RegistryError
        If there is no such version, or the registry is out of reach.
    """
    from lakeline.errors import RegistryError
    from lakeline.registry.store import connect, speaking
    from lakeline.registry.versions import version_info

    client = connect()
    try:
        with speaking():
            return dict(client.get_model_version(model, str(version)).tags)
    except RegistryError:
        version_info(model, version)  # says which versions there are, if this is none of them
        raise


def example_of(model: str, version: int) -> Example | None:
    """Rows to try a version with: those of its card, with their predictions; of a model made elsewhere its input example, without.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.files import fetch_some
    from lakeline.training.model import CARD_FILE, Example, plain_rows, read_card

    # A few small files of what may be gigabytes, so their digest can't be told. It is by the server that is tried with these rows:
    # it has all files, and doesn't start unless they are those that were registered.
    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        path = Path(folder)
        fetch_some(model, version, (CARD_FILE, _DESCRIPTION), path)
        if (path / CARD_FILE).is_file():
            return read_card(path).example
        from mlflow.models import Model

        made = Model.load(folder)
        if made.saved_input_example_info:
            fetch_some(model, version, (made.saved_input_example_info["artifact_path"],), path)
        given: Any = made.load_input_example(folder)
        if not hasattr(given, "columns"):
            return None
        return Example([str(name) for name in given.columns], plain_rows(given), [])


def record_deploying(model: str, version: int) -> None:
    """Record that a version's rollout begins; to be called before anything is changed.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        client.set_registered_model_tag(model, DEPLOYING_TAG, str(version))


def end_deploying(model: str) -> None:
    """Record that what served before a rollout serves again.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        client.delete_registered_model_tag(model, DEPLOYING_TAG)


def record_deployed(model: str, version: int, run: str, actor: str) -> None:
    """Record that a version serves: on the registered model, and on the version (`deployed_at`, `_who`, `_run`).

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.records import record
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        record(client, model, version, "deployed", run=run, **({"who": actor} if actor else {}))
        client.set_registered_model_tag(model, DEPLOYED_AT_TAG, datetime.now(UTC).isoformat(timespec="seconds"))
        client.set_registered_model_tag(model, DEPLOYED_TAG, str(version))
        client.delete_registered_model_tag(model, DEPLOYING_TAG)
