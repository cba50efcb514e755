"""The lake in lakeFS: files through lakefs-spec, versions through the lakefs SDK."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Literal, cast

from lakefs import Repository
from lakefs.exceptions import ConflictException, LakeFSException, NotFoundException, ServerException, api_exception_handler
from lakefs.models import ObjectInfo
from lakefs.reference import generate_listing
from lakefs_spec import LakeFSFileSystem
from urllib3.exceptions import HTTPError

from lakeline.lake import names, words
from lakeline.lake.base import Branch, Change, CommitId, Entry
from lakeline.lake.lakefscalls import guarded, says
from lakeline.lake.lakefswords import checksum, describe, from_tag, to_tag
from lakeline.lake.local import arriving
from lakeline.lake.lock import locked

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from lakefs.client import Client

    from lakeline.lake.base import Commit

_DRAFT = "lakeline-draft-"
_STALE = 24 * 3600
_PAGE = 1000
_PIECE = 8 << 20


class LakefsLake:
    """One data set's repository in lakeFS.

    A commit is made on a hidden branch of its own and squash-merged: nobody sees half of it, it needs no
    reset after a failure, and a protected branch takes it. `locks` is for locks between writers of this machine.
    """

    store: Literal["git", "lakefs"] = "lakefs"

    def __init__(self, name: str, client: Client, locks: Path) -> None:
        self.name = name
        self.endpoint = client.config.host.removesuffix("/api/v1")
        self.url = f"{self.endpoint}/repositories/{name}"
        self._client = client
        self._sdk = client.sdk_client
        self._repo = Repository(name, client=client)
        self._locks = locks
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
    def create_branch(self, name: str, source: str) -> Branch:
        """Create a branch at the commit of `source`; LakeConflict if it exists."""
        names.check_branch(name)
        commit = self._resolve(source)
        try:
            self._repo.branch(name).create(commit)
        except ConflictException as error:
            raise words.branch_exists(self.name, name) from error
        return Branch(name, commit)

    @guarded
    def delete_branch(self, name: str) -> None:
        """Delete a branch; its commits stay readable by id until lakeFS collects garbage. `main` is refused."""
        names.refuse_main(names.check_branch(name))
        self._head(name)
        self._repo.branch(name).delete()

    @guarded
    def commit(
        self,
        branch: str,
        files: Mapping[str, Path | bytes],
        message: str,
        metadata: Mapping[str, str] | None = None,
        *,
        expect: CommitId | None = None,
        remove: Sequence[str] = (),
    ) -> CommitId:
        """Write files and remove others, as one commit on a branch: see `Lake.commit`.

        `expect` is looked at right before the merge, and again after it: lakeFS has no compare-and-swap. Writers
        of this machine exclude each other meanwhile; one elsewhere may commit in between, and then both commits
        stand and this one's writer is told.
        """
        checked = names.check_metadata(metadata)
        names.check_changes(files, remove)
        head = self._expect(branch, expect)
        writes = {path: content for path, content in files.items() if not self._same(head, path, content)}
        removals = [path for path in remove if self._stat(head, path)]
        if not writes and not removals:
            return head
        with self._draft(head) as draft:
            self._stage(draft, writes, removals)
            self._repo.branch(draft).commit(message, checked)
            with self._writing():
                before = self._expect(branch, expect)
                try:
                    after = self._merge(draft, branch, message, checked, squash_merge=True, strategy="source-wins")
                except ServerException as error:
                    if says(error, "no changes"):  # somebody else wrote the same; or we did, and the answer was lost
                        return self._head(branch)
                    raise
        if expect is not None and (landed := self._repo.ref(after).get_commit().parents) != [before]:
            raise words.overtaken(self.name, branch, after, landed[0])
        return after

    @guarded
    def merge(self, source: str, into: str, message: str, metadata: Mapping[str, str] | None = None) -> CommitId:
        """Merge the commit of `source` into branch `into`, atomically: see `Lake.merge`."""
        checked = names.check_metadata(metadata)
        theirs = self._resolve(source)
        with self._writing():
            head = self._head(into)
            with api_exception_handler():
                base = self._sdk.refs_api.find_merge_base(self.name, theirs, into).base_commit_id  # its other two ids are swapped
            if theirs in (base, head):
                return head
            try:
                return self._merge(theirs, into, message, checked, allow_empty=True)
            except ConflictException as error:
                changes = self._diff(head, theirs, "three_dot")
                raise words.conflict(self.name, source, into, sorted(path for path, kind in changes if kind == "conflict")) from error

    @guarded
    def tag(self, name: str, ref: str) -> None:
        """Tag a commit. The same again is a no-op; LakeConflict if the tag stands at another commit."""
        names.check_tag(name)
        commit = self._resolve(ref)
        try:
            self._repo.tag(to_tag(name)).create(commit)
        except ConflictException as error:
            there = self._tags()[name]
            if there != commit:
                raise words.tag_stands(self.name, name, there, commit) from error

    @guarded
    def log(self, ref: str, limit: int | None = None) -> list[Commit]:
        """Commits reachable from `ref`, newest first."""
        if limit is not None and limit <= 0:
            return []
        commits = self._repo.ref(self._resolve(ref)).log(max_amount=limit, amount=min(limit or _PAGE, _PAGE))
        return [describe(commit) for commit in commits]

    @guarded
    def diff(self, base: str, other: str) -> list[Change]:
        """Paths whose content differs between two refs, sorted by path."""
        changes = self._diff(self._resolve(base), self._resolve(other), "two_dot")
        return [Change(path, cast("Literal['added', 'changed', 'removed']", kind)) for path, kind in sorted(changes)]

    @guarded
    def ls(self, ref: str, prefix: str = "") -> list[Entry]:
        """Files at a ref whose path starts with `prefix`, sorted by path."""
        found = self._repo.ref(self._resolve(ref)).objects(prefix=prefix, amount=_PAGE)
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

    def _expect(self, branch: str, expect: CommitId | None) -> CommitId:
        head = self._head(branch)
        if expect is not None and head != expect:
            raise words.moved(self.name, branch, expect, head)
        return head

    def _stage(self, draft: str, writes: Mapping[str, Path | bytes], removals: Sequence[str]) -> None:
        for path, content in writes.items():
            address = f"{self.name}/{draft}/{path}"
            if isinstance(content, bytes):
                self._files.pipe_file(address, content)
            else:
                self._files.put_file(content, address, precheck=False)
        for at in range(0, len(removals), _PAGE):
            self._repo.branch(draft).delete_objects(removals[at : at + _PAGE])

    def _same(self, commit: CommitId, path: str, content: Path | bytes) -> bool:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        info = self._stat(commit, path)
        return info is not None and info.size_bytes == size and info.checksum == checksum(content)

    def _stat(self, commit: CommitId, path: str) -> ObjectInfo | None:
        try:
            return self._repo.ref(commit).object(path).stat()
        except NotFoundException:
            return None

    def _branches(self) -> list[Branch]:
        found = generate_listing(self._sdk.branches_api.list_branches, self.name, amount=_PAGE)
        branches = [Branch(ref.id, CommitId(ref.commit_id)) for ref in found if not ref.id.startswith(_DRAFT)]
        if not branches:  # lakeFS remembers for a while a repository that was deleted, but not what it held
            raise words.gone(self.name, self.endpoint)
        return branches

    def _tags(self) -> dict[str, CommitId]:
        found = generate_listing(self._sdk.tags_api.list_tags, self.name, amount=_PAGE)
        return {from_tag(ref.id): CommitId(ref.commit_id) for ref in found}

    def _diff(self, left: str, right: str, kind: Literal["two_dot", "three_dot"]) -> list[tuple[str, str]]:
        return [(change.path, change.type) for change in self._repo.ref(left).diff(right, type=kind, amount=_PAGE)]

    def _merge(self, source: str, into: str, message: str, metadata: Mapping[str, str], **options: bool | str) -> CommitId:
        return CommitId(self._repo.ref(source).merge_into(into, message=message, metadata=dict(metadata), **options))

    @contextlib.contextmanager
    def _draft(self, head: CommitId) -> Generator[str]:
        """Give a hidden branch that is deleted at the end. One that a killed process left is deleted by a later commit."""
        for left in generate_listing(self._sdk.branches_api.list_branches, self.name, prefix=_DRAFT, show_hidden=True):
            if time.time() - int(left.id.removeprefix(_DRAFT).partition("-")[0]) > _STALE:
                self._delete(left.id)
        name = f"{_DRAFT}{int(time.time())}-{secrets.token_hex(6)}"
        self._repo.branch(name).create(head, hidden=True)
        try:
            yield name
        finally:
            self._delete(name)

    def _delete(self, draft: str) -> None:
        with contextlib.suppress(LakeFSException, HTTPError):
            self._repo.branch(draft).delete()

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
        except OSError:  # a pod may have no folder to write to; it is alone in there anyway
            return contextlib.nullcontext()
        return locked(self._locks / f"{self.name}.lock", f"{self.name}: the lake ({self.endpoint})")
