"""Find lakeFS, and the repositories in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakefs import Repository, repositories
from lakefs.client import Client
from lakefs.exceptions import NotFoundException

from lakeline.errors import LakeConflict, LakeUnavailable
from lakeline.lake import server, words
from lakeline.lake.base import MAIN
from lakeline.lake.lakefs import LakefsLake
from lakeline.lake.lakefscalls import guarded, says, server_error, translated

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 20


class _Lakefs:
    """A lakeFS, of which errors can be said."""

    def __init__(self, client: Client) -> None:
        self.name = "lakefs"
        self.attempt = 1
        self.endpoint = client.config.host.removesuffix("/api/v1")
        self.client = client


def open_repository(dataset: str, folder: Path, *, create: bool = False, storage: str | None = None) -> LakefsLake:
    """Open the repository of a data set in the lakeFS that is configured, or else in a private one.

    Parameters
    ----------
    dataset
        Name of the repository.
    folder
        Where a private server keeps its data.
    create
        Create the repository if it isn't there.
    storage
        Where lakeFS puts the objects of new repositories, such as `s3://bucket/lakeline`; a folder of the data set's name is
        added. None: where its own settings say.

    Raises
    ------
    LakeNotFound
        There is no such repository: says how to create it.
    LakeUnavailable
        There is no lakeFS, or it is out of reach.
    """
    lakefs = _Lakefs(_client(folder))
    if not _exists(lakefs, dataset):
        if not create:
            raise words.no_lake(dataset, lakefs.endpoint)
        _create(lakefs, dataset, storage)
    return LakefsLake(dataset, lakefs.client, folder / "locks")


def list_repositories(folder: Path) -> list[str]:
    """Names of the repositories in lakeFS, sorted."""
    return _list(_Lakefs(_client(folder)))


@guarded
def _list(lakefs: _Lakefs) -> list[str]:
    return sorted(repository.id for repository in repositories(client=lakefs.client))


@guarded
def _exists(lakefs: _Lakefs, dataset: str) -> bool:
    try:
        _ = Repository(dataset, client=lakefs.client).properties
    except NotFoundException:
        return False
    return True


@guarded
def _create(lakefs: _Lakefs, dataset: str, storage: str | None) -> None:
    prefix = storage or lakefs.client.storage_config.default_namespace_prefix
    if not prefix:
        raise LakeUnavailable(
            f"{dataset}: lakeFS at {lakefs.endpoint} doesn't say where it keeps new repositories. "
            "Say it: LAKELINE_LAKEFS_STORAGE=s3://bucket/folder (or as its storage is addressed)."
        )
    namespace = prefix + dataset if prefix.endswith("/") else f"{prefix}/{dataset}"
    try:
        Repository(dataset, client=lakefs.client).create(namespace, default_branch=MAIN, exist_ok=True)
    except Exception as error:
        if server_error(error) is not None and says(error, "namespace"):
            raise LakeConflict(
                f"{dataset}: lakeFS can't keep a new repository in {namespace}: it is in use or was. "
                "Name another place: LAKELINE_LAKEFS_STORAGE, or delete what is left there."
            ) from error
        raise


def _client(folder: Path) -> Client:
    arguments = server.configured()
    if arguments is None:
        private = server.connect(folder)
        arguments = {"host": private.endpoint, "username": private.access_key_id, "password": private.secret_access_key}
    with translated("lakefs", arguments.get("host", "lakeFS")):
        client = Client(**arguments)
    # the SDK streams uploads in pieces of 16 KiB
    client.sdk_client.objects_api.api_client.rest_client.pool_manager.connection_pool_kw["blocksize"] = _BLOCK
    return client
