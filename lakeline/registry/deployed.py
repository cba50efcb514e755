"""What the registry knows of serving: the version that shall serve, the one that was last seen to, and rows to try them with."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.registry.moves import PREVIOUS, history
from lakeline.registry.peek import PRODUCTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakeline.training.model import Example

DEPLOYED_TAG = "deployed_version"
"""Tag of a registered model: the version that was last seen to serve."""

DEPLOYED_AT_TAG = "deployed_at"
"""Tag of a registered model: when that was, UTC, ISO 8601."""


@dataclass(frozen=True)
class Standing:
    """Where a model stands.

    Attributes
    ----------
    production
        Version that has the alias `production`; None if none has.
    previous
        Version that has the alias `previous`, the way back; None if none has.
    deployed
        Version that was last seen to serve; None if none was.
    tags
        Tags of the version in production.
    actor
        Who moved the alias there, as far as that is known.
    """

    production: int | None
    previous: int | None
    deployed: int | None
    tags: Mapping[str, str]
    actor: str


def standing(model: str) -> Standing:
    """Tell where a model stands.

    Raises
    ------
    RegistryError
        If there is no such model, or the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking

    moves = history(model)
    client = connect()
    with speaking():
        registered = client.get_registered_model(model)
        version, previous = (_number(registered.aliases.get(alias)) for alias in (PRODUCTION, PREVIOUS))
        tags = {} if version is None else dict(client.get_model_version(model, str(version)).tags)
    actor = next((move.who for move in reversed(moves) if move.alias == PRODUCTION and move.target == version), "")
    return Standing(version, previous, _number(registered.tags.get(DEPLOYED_TAG)), tags, actor)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def version_tags(model: str, version: int) -> Mapping[str, str]:
    """Tags of a version.

    Raises
    ------
    RegistryError
        If there is no such version, or the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        return dict(client.get_model_version(model, str(version)).tags)


def example_of(model: str, version: int) -> Example | None:
    """Rows to try a version with: those of its card, with their predictions; of a model made elsewhere its input example, without.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.files import fetch_version
    from lakeline.training.model import CARD_FILE, Example, plain_rows, read_card

    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        path = Path(folder)
        fetch_version(model, version, path)
        if (path / CARD_FILE).is_file():
            return read_card(path).example
        from mlflow.models import Model

        given: Any = Model.load(folder).load_input_example(folder)
        if not hasattr(given, "columns"):
            return None
        return Example([str(name) for name in given.columns], plain_rows(given), [])


def record_deployed(model: str, version: int, run: str, actor: str) -> None:
    """Record that a version serves: on the registered model, and on the version (`deployed_at`, `_who`, `_run`).

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.promotion import record
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        record(client, model, version, "deployed", run=run, **({"who": actor} if actor else {}))
        client.set_registered_model_tag(model, DEPLOYED_AT_TAG, datetime.now(UTC).isoformat(timespec="seconds"))
        client.set_registered_model_tag(model, DEPLOYED_TAG, str(version))
