"""Find the lake of a data set, in the store that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakeline.lake.names import check_dataset
from lakeline.lake.words import no_lake

if TYPE_CHECKING:
    from lakeline.lake.base import Lake


def open_lake(dataset: str, *, create: bool = False) -> Lake:
    """Open the repository of a data set.

    Parameters
    ----------
    dataset
        Name of the data set, which is the name of its repository.
    create
        Create the repository if it isn't there.

    Returns
    -------
    Lake
        In git or in lakeFS, as LAKELINE_LAKE says.

    Raises
    ------
    LakeNotFound
        There is no such repository: says how to create it.
    LakeUnavailable
        The store is gone or out of reach.
    UsageError
        No data set can have this name.
    """
    from lakeline.settings import get_settings

    check_dataset(dataset)
    settings = get_settings()
    if settings.lake == "lakefs":
        from lakeline.lake.lakefsclient import open_repository

        return open_repository(dataset, settings.home / "lakefs", create=create, storage=settings.lakefs_storage)

    from lakeline.lake.git import GitLake

    path = settings.lakes / f"{dataset}.git"
    if path.exists():
        return GitLake(path)
    if create:
        return GitLake.create(path)
    raise no_lake(dataset, str(settings.lakes))


def list_lakes() -> list[str]:
    """Names of the data sets that have a repository in the lake, sorted."""
    from lakeline.settings import get_settings

    settings = get_settings()
    if settings.lake == "lakefs":
        from lakeline.lake.lakefsclient import list_repositories

        return list_repositories(settings.home / "lakefs")
    return sorted(path.stem for path in settings.lakes.glob("[!.]*.git") if (path / "HEAD").is_file())
