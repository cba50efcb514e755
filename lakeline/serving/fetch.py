"""Bring a version's files to where a server will find them: what a pod does before its server starts."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakeline.errors import RegistryError, UsageError, explain_uncaught
from lakeline.registry.files import fetch_version, files_digest
from lakeline.serving.environment import PREFIX


class _Wanted(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    model: str
    version: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    folder: Path


def fetch(model: str, version: int, digest: str, folder: Path) -> None:
    """Bring the files of a version into a folder, unless they are there.

    Parameters
    ----------
    model, version
        Name and number.
    digest
        What `lakeline.registry.files.files_digest` of them must be.
    folder
        Made if needed. What is in it, and isn't this version, is removed.

    Raises
    ------
    RegistryError
        If they can't be had, or are not those of the digest.
    """
    if folder.is_dir() and files_digest(folder) == digest:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():  # not the folder itself, which may be a mount
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    fetched = fetch_version(model, version, folder)
    if fetched != digest:
        raise RegistryError(
            f"{model} version {version}: its files have the digest {fetched[:12]}, not {digest[:12]} as when it was released. "
            "Bring them back from a backup, or train again."
        )


def main() -> None:
    """Fetch what LAKELINE_SERVE_MODEL, _VERSION, _DIGEST and _FOLDER say."""
    explain_uncaught()
    try:
        wanted = _Wanted()  # pyright: ignore[reportCallIssue]
    except ValueError as error:
        raise UsageError(f"{PREFIX}MODEL, VERSION, DIGEST and FOLDER must say what to fetch: {error}") from error
    fetch(wanted.model, wanted.version, wanted.digest, wanted.folder)


if __name__ == "__main__":
    main()
