"""The files of a version: brought to this machine, and known by one digest."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Generator
    from pathlib import Path

DIGEST_TAG = "model_digest"
"""Tag of a version: the digest of its files when it was registered."""

_MLFLOWS_OWN = "registered_model_meta"
"""What MLflow adds to the files that it downloads."""

_CHUNK = 1 << 20


def files_digest(folder: Path) -> str:
    """Digest of a folder's files: SHA-256 of the sorted lines `<SHA-256 of a file>  <its path>`.

    Parameters
    ----------
    folder
        Files of a model. What MLflow adds when it downloads them doesn't count.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    lines: list[str] = []
    for path in folder.rglob("*"):
        if path.is_file() and path.name != _MLFLOWS_OWN:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            lines.append(f"{digest.hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


@contextlib.contextmanager
def kept_as_it_is() -> Generator[None]:
    """Keep Python from compiling a model's own code into the model's folder, which would have another digest then."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def fetch_version(model: str, version: int, folder: Path) -> str:
    """Download the files of a version.

    Parameters
    ----------
    model, version
        Name and number.
    folder
        Where its files go; made if needed.

    Returns
    -------
    str
        Their digest, which is what the version's tag says.

    Raises
    ------
    RegistryError
        If there is no such version, its files can't be had, or they are not those that were registered.
    """
    from lakeline.errors import RegistryError
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        registered = client.get_model_version(model, str(version)).tags.get(DIGEST_TAG)
    folder.mkdir(parents=True, exist_ok=True)
    download(model, version, folder)
    digest = files_digest(folder)
    if registered and digest != registered:
        raise RegistryError(
            f"{model} version {version}: its files are not those that were registered (digest {digest[:12]}, not {registered[:12]}). "
            "Somebody or something changed them in MLflow's artifact store: bring them back from a backup, or train again."
        )
    return digest


def download(model: str, version: int, folder: Path | None = None) -> Path:
    """Download the files of a version as they are.

    Parameters
    ----------
    model, version
        Name and number.
    folder
        Where its files go, which is there; None: a folder of MLflow's choice, which on this machine is that of its store.

    Returns
    -------
    Path
        The folder that has them.

    Raises
    ------
    FilesMissing
        If the store has none of them.
    RegistryUnavailable
        If the store is out of reach.
    """
    from pathlib import Path

    from lakeline.errors import FilesMissing, of_the_place
    from lakeline.registry.store import connect, speaking

    connect()
    with speaking():
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        try:
            found = Path(download_artifacts(f"models:/{model}/{version}", dst_path=None if folder is None else str(folder)))
        except (OSError, MlflowException) as error:
            missing = isinstance(error, OSError) or getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"
            if of_the_place(error) or not missing:
                raise
            found = None
    if found is None or all(path.name == _MLFLOWS_OWN for path in found.iterdir()):
        raise FilesMissing(
            f"{model} version {version}: MLflow's artifact store has none of its files. Bring them back from a backup, or train again."
        )
    return found


def fetch_some(model: str, version: int, names: Collection[str], folder: Path) -> None:
    """Download some of the files of a version, as far as it has them.

    Parameters
    ----------
    model, version
        Name and number.
    names
        Of files in the version's own folder.
    folder
        Where they go.

    Raises
    ------
    RegistryError
        If there is no such version, or its files can't be had.
    """
    from lakeline.registry.store import connect, speaking

    connect()
    with speaking():
        from mlflow.artifacts import download_artifacts, list_artifacts

        uri = f"models:/{model}/{version}"
        for file in list_artifacts(uri):
            if file.path in names:
                download_artifacts(f"{uri}/{file.path}", dst_path=str(folder))
