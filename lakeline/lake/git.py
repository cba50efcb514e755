"""The embedded lake: a bare git repository on this machine, through pygit2."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, TypeVar

import pygit2
from pygit2.enums import DeltaStatus, SortMode

from lakeline.errors import LakeUnavailable
from lakeline.lake import gitrefs as refs
from lakeline.lake import names, words
from lakeline.lake.base import MAIN, Branch, Change, CommitId, Entry
from lakeline.lake.blobs import copy_blob, write_blob
from lakeline.lake.gitmessage import compose, describe, signature
from lakeline.lake.gittree import Files, build, flatten, merged, overlapping
from lakeline.lake.local import arriving, sweep
from lakeline.lake.lock import WAIT, locked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lakeline.lake.base import Commit

_P = ParamSpec("_P")
_T = TypeVar("_T")
Kind = Literal["added", "changed", "removed"]
_KINDS: dict[DeltaStatus, Kind] = {DeltaStatus.ADDED: "added", DeltaStatus.DELETED: "removed"}
_CONFIG = {
    "gc.auto": "0",  # lineage names commits: nothing is thrown away behind our back
    "core.compression": "0",  # Parquet is compressed already
    "core.bigFileThreshold": "1m",
}

pygit2.settings.enable_fsync_gitdir()  # an object is on the disk before a branch names it, also when the power fails


def _guarded(method: Callable[Concatenate[GitLake, _P], _T]) -> Callable[Concatenate[GitLake, _P], _T]:
    """Have a method say that the repository is gone, unreadable or out of space, instead of how libgit2 noticed."""

    @functools.wraps(method)
    def guarded(lake: GitLake, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        lake.require()
        try:
            return method(lake, *args, **kwargs)
        except pygit2.GitError as error:
            lake.require()
            raise _said(lake.name, lake.path, error) from error

    return guarded


def _said(name: str, path: Path, error: pygit2.GitError) -> OSError | LakeUnavailable:
    if "No space left" in str(error):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return LakeUnavailable(f"{name}: the lake can't be used: {error}. See: git --git-dir={path} fsck")


class GitLake:
    """One data set's bare git repository.

    Parameters
    ----------
    path
        The repository; see `create` for how it comes to be.
    wait
        Seconds to wait for another writer.
    """

    store: Literal["git", "lakefs"] = "git"

    def __init__(self, path: Path, *, wait: float = WAIT) -> None:
        self.path = path.absolute()
        self.name = path.name.removesuffix(".git")
        self.url = self.path.as_uri()
        self._wait = wait
        try:
            self._repo = pygit2.Repository(str(self.path))
        except pygit2.GitError as error:
            raise LakeUnavailable(f"{self.name}: {self.path} can't be opened as a git repository: {error}") from error

    @staticmethod
    def create(path: Path) -> GitLake:
        """Make the repository, with an empty first commit on `main`; one that is there is opened."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise LakeUnavailable(f"{path.parent} can't be made: {error.strerror}. Set LAKELINE_HOME to a folder that can be.") from error
        sweep(path.parent.glob(".new-*"))
        draft = path.parent / f".new-{secrets.token_hex(8)}"
        try:
            repo = pygit2.init_repository(str(draft), bare=True, initial_head=MAIN, description=f"Lakeline data set {path.stem}\n")
            for key, value in _CONFIG.items():
                repo.config[key] = value
            author = signature(repo)
            root = repo.create_commit(None, author, author, "Create the data set's lake\n", repo.TreeBuilder().write(), [])
            repo.references.create(refs.HEADS + MAIN, root)
            with contextlib.suppress(OSError):  # somebody else was quicker
                draft.rename(path)
        except pygit2.GitError as error:
            raise _said(path.stem, path, error) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return GitLake(path)

    def require(self) -> None:
        """Raise LakeUnavailable if the repository is no longer there."""
        if not (self.path / "HEAD").is_file():
            raise words.gone(self.name, str(self.path))

    @_guarded
    def resolve(self, ref: str) -> CommitId:
        """Id of the commit that `ref` means now."""
        return CommitId(str(self._find(ref).id))

    @_guarded
    def branches(self) -> list[Branch]:
        """All branches, by name."""
        return [Branch(name, CommitId(oid)) for name, oid in refs.listed(self._repo, refs.HEADS).items()]

    @_guarded
    def tags(self) -> dict[str, CommitId]:
        """All tags and their commits."""
        return {name: CommitId(oid) for name, oid in refs.listed(self._repo, refs.TAGS).items()}

    @_guarded
    def create_branch(self, name: str, source: str) -> Branch:
        """Create a branch at the commit of `source`; LakeConflict if it exists."""
        names.check_branch(name)
        with self._writing():
            commit = self._find(source)
            if not refs.move(self._repo, refs.HEADS + name, None, commit.id):
                raise words.branch_exists(self.name, name)
        return Branch(name, CommitId(str(commit.id)))

    @_guarded
    def delete_branch(self, name: str) -> None:
        """Delete a branch; its commits stay readable by id until git prunes them. `main` is refused."""
        names.refuse_main(names.check_branch(name))
        with self._writing():
            refs.find_branch(self._repo, self.name, name)
            refs.delete(self._repo, refs.HEADS + name)

    @_guarded
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

        Contents go in first, without the lock; then, under it, trees, the commit, and last the branch.
        """
        text = compose(message, names.check_metadata(metadata))
        names.check_changes(files, remove)
        self._expect(branch, expect)
        objects = self.path / "objects"
        sweep(objects.glob("tmp_obj_*"))
        written = {path: write_blob(objects, content, self._repo.odb.exists) for path, content in files.items()}
        with self._writing():
            head = self._expect(branch, expect)
            before = flatten(head.tree)
            after: Files = {path: oid for path, oid in before.items() if path not in remove} | written
            if after == before:
                return CommitId(str(head.id))
            return self._write(branch, after, text, [head])

    @_guarded
    def merge(self, source: str, into: str, message: str, metadata: Mapping[str, str] | None = None) -> CommitId:
        """Merge the commit of `source` into branch `into`, atomically: see `Lake.merge`.

        File by file: contents are never mixed, as git would mix lines of text.
        """
        text = compose(message, names.check_metadata(metadata))
        with self._writing():
            ours, theirs = self._expect(into, None), self._find(source)
            base = self._repo.merge_base(ours.id, theirs.id)
            if base == theirs.id:
                return CommitId(str(ours.id))
            ancestor = flatten(self._repo[base].peel(pygit2.Tree)) if base else {}
            files, conflicts = merged(ancestor, flatten(ours.tree), flatten(theirs.tree))
            if conflicts:
                raise words.conflict(self.name, source, into, conflicts)
            return self._write(into, files, text, [ours, theirs])

    @_guarded
    def tag(self, name: str, ref: str) -> bool:
        """Tag a commit, and say whether this call made the tag: see `Lake.tag`."""
        names.check_tag(name)
        with self._writing():
            commit = self._find(ref)
            if refs.move(self._repo, refs.TAGS + name, None, commit.id):
                return True
            there = refs.listed(self._repo, refs.TAGS)[name]
        if there != str(commit.id):
            raise words.tag_stands(self.name, name, there, str(commit.id))
        return False

    @_guarded
    def log(self, ref: str, limit: int | None = None) -> list[Commit]:
        """Commits reachable from `ref`, newest first."""
        walk = self._repo.walk(self._find(ref).id, SortMode.TOPOLOGICAL | SortMode.TIME)
        return [describe(commit) for commit in itertools.islice(walk, limit)]

    @_guarded
    def diff(self, base: str, other: str) -> list[Change]:
        """Paths whose content differs between two refs, sorted by path."""
        deltas = self._find(base).tree.diff_to_tree(self._find(other).tree).deltas
        kinds: dict[str, Kind] = {delta.new_file.path: _KINDS.get(delta.status, "changed") for delta in deltas}
        return [Change(path, kind) for path, kind in sorted(kinds.items())]

    @_guarded
    def ls(self, ref: str, prefix: str = "") -> list[Entry]:
        """Files at a ref whose path starts with `prefix`, sorted by path."""
        files = sorted(flatten(self._find(ref).tree).items())
        return [Entry(path, self._repo.odb.read_header(oid)[1], oid) for path, oid in files if path.startswith(prefix)]

    @_guarded
    def exists(self, ref: str, path: str) -> bool:
        """Whether the ref has a file at this path."""
        return self._blob(ref, path) is not None

    @_guarded
    def read(self, ref: str, path: str) -> bytes:
        """Content of a (small) file at a ref."""
        return self._repo.odb.read(self._require_blob(ref, path))[1]

    @_guarded
    def download(self, ref: str, path: str, to: Path) -> Path:
        """Copy a file at a ref to the local file `to`, streaming; `to` is complete or absent. Returns `to`."""
        oid = self._require_blob(ref, path)
        with arriving(to) as temporary, temporary.open("wb") as out:
            if not copy_blob(self.path / "objects", oid, out):
                out.write(self._repo.odb.read(oid)[1])
        return to

    def _find(self, ref: str) -> pygit2.Commit:
        return refs.find(self._repo, self.name, ref)

    def _expect(self, branch: str, expect: CommitId | None) -> pygit2.Commit:
        head = refs.find_branch(self._repo, self.name, branch)
        if expect is not None and str(head.id) != expect:
            raise words.moved(self.name, branch, expect, str(head.id))
        return head

    def _blob(self, ref: str, path: str) -> str | None:
        try:
            found = self._find(ref).tree[names.check_path(path)]
        except KeyError:
            return None
        return None if isinstance(found, pygit2.Tree) else str(found.id)

    def _require_blob(self, ref: str, path: str) -> str:
        if oid := self._blob(ref, path):
            return oid
        raise words.no_file(self.name, ref, path)

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.path / "lakeline.lock", f"{self.name}: the lake ({self.path})", self._wait)

    def _write(self, branch: str, files: Files, message: str, parents: list[pygit2.Commit]) -> CommitId:
        if both := overlapping(files):
            raise words.overlap(self.name, branch, both)
        author = signature(self._repo)
        oid = self._repo.create_commit(None, author, author, message, build(self._repo, files), [parent.id for parent in parents])
        if not refs.move(self._repo, refs.HEADS + branch, parents[0].id, oid):  # by plain git, which doesn't know our lock
            raise words.moved(self.name, branch, str(parents[0].id), self.resolve(branch))
        return CommitId(str(oid))
