"""The model in production, loaded to be compared with a candidate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lakeline.errors import FilesMissing, LakelineError, blame_place
from lakeline.registry.files import download, kept_as_it_is
from lakeline.registry.location import local_path
from lakeline.registry.peek import PRODUCTION, CannotTell, production
from lakeline.training.evaluate import Rival
from lakeline.training.model import CARD_FILE, load

if TYPE_CHECKING:
    from lakeline.training.features import FeatureType


def load_production(dataset: str) -> Rival | None:
    """Load the version that has the alias `production`.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.

    Returns
    -------
    Rival or None
        None if no version is in production; a rival without a model, but with a reason, if its files can't be loaded.

    Raises
    ------
    RegistryError
        If the registry can't be asked, or the store of its files is out of reach.
    PlaceTrouble
        If there is no memory or disk to load it, which says nothing of the version.
    """
    try:
        found = production(dataset)
        if found is None:
            return None
        folder = local_path(found[1])
    except CannotTell:
        return _load_through_mlflow(dataset)
    if folder is None or not (folder / CARD_FILE).is_file():
        return _load_through_mlflow(dataset)
    return _load_ours(dataset, found[0], folder)


def _load_ours(dataset: str, version: int, folder: Path) -> Rival:
    try:
        model, card = load(folder)
    except Exception as error:
        blame_place(error, _what(dataset, version))
        return Rival(version, reason=str(error) if isinstance(error, LakelineError) else _unloadable(error))
    return Rival(version, card.features, model)


def _load_through_mlflow(dataset: str) -> Rival | None:
    from lakeline.registry.store import connect, speaking
    from lakeline.registry.versions import version_by_alias

    client = connect()
    with speaking():
        found = version_by_alias(client, dataset, PRODUCTION)
    if found is None:
        return None
    version = int(found.version)
    try:
        folder = download(dataset, version)
    except FilesMissing as error:
        return Rival(version, reason=str(error))
    return _load_ours(dataset, version, folder) if (folder / CARD_FILE).is_file() else _load_foreign(dataset, version, folder)


def _load_foreign(dataset: str, version: int, folder: Path) -> Rival:
    """Load a model that was made elsewhere."""
    from mlflow.pyfunc import load_model

    try:
        with kept_as_it_is():  # a local store gives its own folder
            model = load_model(str(folder))
        inputs = model.metadata.get_input_schema()
        if inputs is None:
            return Rival(version, reason="it has no signature, so what it takes is not known")
        types: dict[str, FeatureType] = {
            each.name: "text" if str(each.type) in ("DataType.string", "string") else "number" for each in inputs.inputs
        }
    except Exception as error:
        blame_place(error, _what(dataset, version))
        return Rival(version, reason=_unloadable(error))
    return Rival(version, types, model)


def _what(dataset: str, version: int) -> str:
    return f"{dataset} version {version}, in production, could not be loaded"


def _unloadable(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "")
    return f"its files can't be loaded: {type(error).__name__}: {line}"
