"""The lake in lakeFS, to read and write."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING

from lakefs.exceptions import ConflictException, LakeFSException, NotFoundException, ServerException, api_exception_handler
from lakefs.reference import generate_listing
from urllib3.exceptions import HTTPError

from lakeline.lake import names, words
from lakeline.lake.base import Branch, CommitId
from lakeline.lake.lakefscalls import guarded, says
from lakeline.lake.lakefsread import DRAFT, PAGE, LakefsReader
from lakeline.lake.lakefswords import checksum, describe, to_tag
from lakeline.lake.lock import locked

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from lakefs.client import Client

_STALE = 24 * 3600


class LakefsLake(LakefsReader):
    """One data set's repository in lakeFS.

    A commit is made on a hidden branch of its own and squash-merged: nobody sees half of it, it needs no
    reset after a failure, and a protected branch takes it.

    Parameters
    ----------
    name
        Name of the repository.
    client
        Client of the lakefs SDK.
    locks
        Folder for the locks between writers of this machine.
    """

    def __init__(self, name: str, client: Client, locks: Path) -> None:
        super().__init__(name, client)
        self._locks = locks

    @guarded
    def create_branch(self, name: str, source: str) -> Branch:
        """Create a branch at the commit of `source`; LakeConflict if it exists."""
        names.check_branch(name)
        commit = self._resolve(source)
        try:
            self._repo.branch(name).create(commit)
        except ConflictException as error:
            if self.attempt == 1 or self._head(name) != commit:  # else it was us, and the answer was lost
                raise words.branch_exists(self.name, name) from error
        return Branch(name, commit)

    @guarded
    def delete_branch(self, name: str) -> None:
        """Delete a branch; its commits stay readable by id until lakeFS collects garbage. `main` is refused."""
        names.refuse_main(names.check_branch(name))
        if self.attempt == 1:
            self._head(name)
        with contextlib.suppress(NotFoundException):
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
        if self.attempt > 1 and (landed := self._landed(branch, message, checked, expect)):
            return landed
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
        if expect is not None and (parents := self._repo.ref(after).get_commit().parents) != [before]:
            raise words.overtaken(self.name, branch, after, parents[0])
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
                paths = sorted(path for path, kind in self._diff(head, theirs, "three_dot") if kind == "conflict")
                if not paths:  # a conflict of another kind
                    raise
                raise words.conflict(self.name, source, into, paths) from error

    @guarded
    def tag(self, name: str, ref: str) -> bool:
        """Tag a commit, and say whether this call made the tag: see `Lake.tag`.

        lakeFS makes a tag by one conditional write (INSERT ... ON CONFLICT DO NOTHING in PostgreSQL), so one of many is told that
        it did. If that one's answer is lost, its next attempt finds the tag and can't know whose it is: it says False.
        """
        names.check_tag(name)
        commit = self._resolve(ref)
        try:
            self._repo.tag(to_tag(name)).create(commit)
        except ConflictException as error:
            there = self._tags()[name]
            if there != commit:
                raise words.tag_stands(self.name, name, there, commit) from error
            return False
        return True

    def _expect(self, branch: str, expect: CommitId | None) -> CommitId:
        head = self._head(branch)
        if expect is not None and head != expect:
            raise words.moved(self.name, branch, expect, head)
        return head

    def _landed(self, branch: str, message: str, metadata: Mapping[str, str], expect: CommitId | None) -> CommitId | None:
        """Return the head if it is the commit that an earlier attempt made, whose answer was lost."""
        head = describe(self._repo.ref(self._head(branch)).get_commit())
        ours = head.parents == (expect,) and head.message == message and head.metadata == metadata
        return head.id if ours else None

    def _stage(self, draft: str, writes: Mapping[str, Path | bytes], removals: Sequence[str]) -> None:
        for path, content in writes.items():
            address = f"{self.name}/{draft}/{path}"
            if isinstance(content, bytes):
                self._files.pipe_file(address, content)
            else:
                self._files.put_file(content, address, precheck=False)
        for at in range(0, len(removals), PAGE):
            self._repo.branch(draft).delete_objects(removals[at : at + PAGE])

    def _same(self, commit: CommitId, path: str, content: Path | bytes) -> bool:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        info = self._stat(commit, path)
        return info is not None and info.size_bytes == size and info.checksum == checksum(content)

    def _merge(self, source: str, into: str, message: str, metadata: Mapping[str, str], **options: bool | str) -> CommitId:
        return CommitId(self._repo.ref(source).merge_into(into, message=message, metadata=dict(metadata), **options))

    @contextlib.contextmanager
    def _draft(self, head: CommitId) -> Generator[str]:
        """Give a hidden branch that is deleted at the end. One that a killed process left is deleted by a later commit."""
        for left in generate_listing(self._sdk.branches_api.list_branches, self.name, prefix=DRAFT, show_hidden=True):
            if time.time() - int(left.id.removeprefix(DRAFT).partition("-")[0]) > _STALE:
                self._delete(left.id)
        name = f"{DRAFT}{int(time.time())}-{secrets.token_hex(6)}"
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
