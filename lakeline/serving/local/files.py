"""Model files of the versions that are served on this machine: fetched once, known by their digest, and not kept for ever."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lakeline.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lakeline.serving.local.folder import Folder
    from lakeline.serving.release import Release

KEPT = 4
"""Versions that are kept though nothing serves them, those used last: what one goes back to."""

_WAIT = 600.0


def files_of(folder: Folder, release: Release) -> Path:
    """Bring the files of a release to this machine, unless they are there.

    Returns
    -------
    Path
        Their folder, in which nothing is changed later.

    Raises
    ------
    RegistryError
        If they can't be had, or are not those of the release.
    ServingError
        If they can't be kept here, or another process has been fetching for ten minutes.
    """
    from filelock import FileLock, Timeout

    from lakeline.serving.fetch import fetch

    # The digest is part of the name: under one number, another registry may have other files.
    path = folder.make().versions / f"{release.version}-{release.digest[:12]}"
    try:
        with folder.writing(), FileLock(folder.path / "files.lock", timeout=_WAIT):
            fetch(release.model, release.version, release.digest, path)
            os.utime(path)
    except Timeout:
        raise ServingError(
            f"{release.model}: another process has been fetching model files for {_WAIT:g} s. End it, and run the same command again."
        ) from None
    return path


def trim(folder: Folder, used: Iterable[str]) -> None:
    """Remove the files of versions that nothing serves, but for the few that were used last.

    Parameters
    ----------
    used
        Folders that are needed.
    """
    from filelock import FileLock

    needed = set(used)
    try:
        with FileLock(folder.path / "files.lock", timeout=0):
            others = [path for path in folder.versions.iterdir() if str(path) not in needed]
            for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
                shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return  # whoever fetches now, or next, trims later
