"""The lake in lakeFS, to read: files through lakefs-spec, versions through the lakefs SDK."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Literal, cast

from lakefs import Repository
from lakefs.exceptions import NotFoundException, api_exception_handler
from lakefs.models import ObjectInfo
from lakefs.reference import generate_listing
from lakefs_spec import LakeFSFileSystem

from lakeline.lake import names, words
from lakeline.lake.base import Branch, Change, CommitId, Entry
from lakeline.lake.lakefscalls import guarded
from lakeline.lake.lakefswords import describe, from_tag, to_tag
from lakeline.lake.local import arriving

if TYPE_CHECKING:
    from pathlib import Path

    from lakefs.client import Client

    from lakeline.lake.base import Commit

DRAFT = "lakeline-draft-"
"""How the names of hidden branches begin on which commits are made."""

PAGE = 1000
"""Most that lakeFS lists, or deletes, at once."""

_PIECE = 8 << 20


class LakefsReader:
    """One data set's repository in lakeFS, as far as it is read. Branches are read at their head: what isn't committed isn't seen."""

    store: Literal["git", "lakefs"] = "lakefs"

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.endpoint = client.config.host.removesuffix("/api/v1")
        self.url = f"{self.endpoint}/repositories/{name}"
        self.attempt = 1
        self._sdk = client.sdk_client
        self._repo = Repository(name, client=client)
        self._seen: set[str] = set()
        self._files = LakeFSFileSystem(host=self.endpoint, create_branch_ok=False, use_listings_cache=False, skip_instance_cache=True)
        self._files.client = client

    @guarded
    def resolve(self, ref: str) -> CommitId:
        """Id of the commit that `ref` means now."""
        return self._resolve(ref)

    @guarded
    def branches(self) -> list[Branch]:
        """All branches, by name."""
        return self._branches()

    @guarded
    def tags(self) -> dict[str, CommitId]:
        """All tags and their commits."""
        return dict(sorted(self._tags().items()))

    @guarded
    def log(self, ref: str, limit: int | None = None) -> list[Commit]:
        """Commits reachable from `ref`, newest first."""
        if limit is not None and limit <= 0:
            return []
        commits = self._repo.ref(self._resolve(ref)).log(max_amount=limit, amount=min(limit or PAGE, PAGE))
        return [describe(commit) for commit in commits]

    @guarded
    def diff(self, base: str, other: str) -> list[Change]:
        """Paths whose content differs between two refs, sorted by path."""
        changes = self._diff(self._resolve(base), self._resolve(other), "two_dot")
        return [Change(path, cast("Literal['added', 'changed', 'removed']", kind)) for path, kind in sorted(changes)]

    @guarded
    def ls(self, ref: str, prefix: str = "") -> list[Entry]:
        """Files at a ref whose path starts with `prefix`, sorted by path."""
        found = self._repo.ref(self._resolve(ref)).objects(prefix=prefix, amount=PAGE)
        entries = [Entry(info.path, info.size_bytes or 0, info.checksum) for info in found if isinstance(info, ObjectInfo)]
        return sorted(entries, key=lambda entry: entry.path)

    @guarded
    def exists(self, ref: str, path: str) -> bool:
        """Whether the ref has a file at this path."""
        return self._stat(self._resolve(ref), names.check_path(path)) is not None

    @guarded
    def read(self, ref: str, path: str) -> bytes:
        """Content of a (small) file at a ref."""
        try:
            return cast("bytes", self._files.cat_file(self._address(ref, path)))
        except FileNotFoundError as error:
            raise words.no_file(self.name, ref, path) from error

    @guarded
    def download(self, ref: str, path: str, to: Path) -> Path:
        """Copy a file at a ref to the local file `to`, streaming; `to` is complete or absent. Returns `to`."""
        address = self._address(ref, path)
        try:
            with self._files.open(address, "rb") as source, arriving(to) as temporary, temporary.open("wb") as out:
                shutil.copyfileobj(source, out, _PIECE)
        except FileNotFoundError as error:
            raise words.no_file(self.name, ref, path) from error
        return to

    def _address(self, ref: str, path: str) -> str:
        return f"{self.name}/{self._resolve(ref)}/{names.check_path(path)}"

    def _resolve(self, ref: str) -> CommitId:
        if ref in self._seen:
            return CommitId(ref)
        base, steps = names.split_ref(ref)
        for candidate in dict.fromkeys((to_tag(base), base)):  # a tag that somebody else made may hold a dot
            try:
                commit = CommitId(self._repo.ref(candidate + steps).get_commit().id)
            except NotFoundException:
                continue
            if len(base) < names.SHORTEST_ID and base not in self._names():  # to lakeFS, b1 is also a commit that begins so
                break
            self._seen.add(commit)
            return commit
        raise words.no_ref(self.name, ref, self._names())

    def _names(self) -> list[str]:
        return [*(branch.name for branch in self._branches()), *self._tags()]

    def _head(self, branch: str) -> CommitId:
        try:
            with api_exception_handler():
                return CommitId(self._sdk.branches_api.get_branch(self.name, names.check_branch(branch)).commit_id)
        except NotFoundException:
            raise words.no_branch(self.name, branch, [known.name for known in self._branches()]) from None

    def _stat(self, commit: CommitId, path: str) -> ObjectInfo | None:
        try:
            return self._repo.ref(commit).object(path).stat()
        except NotFoundException:
            return None

    def _branches(self) -> list[Branch]:
        found = generate_listing(self._sdk.branches_api.list_branches, self.name, amount=PAGE)
        branches = [Branch(ref.id, CommitId(ref.commit_id)) for ref in found if not ref.id.startswith(DRAFT)]
        if not branches:  # lakeFS remembers for a while a repository that was deleted, but not what it held
            raise words.gone(self.name, self.endpoint)
        return branches

    def _tags(self) -> dict[str, CommitId]:
        found = generate_listing(self._sdk.tags_api.list_tags, self.name, amount=PAGE)
        return {from_tag(ref.id): CommitId(ref.commit_id) for ref in found}

    def _diff(self, left: str, right: str, kind: Literal["two_dot", "three_dot"]) -> list[tuple[str, str]]:
        return [(change.path, change.type) for change in self._repo.ref(left).diff(right, type=kind, amount=PAGE)]
