"""What a lake can do, whichever store is behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NewType, Protocol

CommitId = NewType("CommitId", str)
"""Full id of a commit: never a branch or a tag, whose meaning changes."""

MAIN = "main"


@dataclass(frozen=True)
class Entry:
    """A file at a commit: its path, size in bytes and content digest (equal content, equal digest)."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Commit:
    """A commit: who said what when, with which metadata, on top of which commits."""

    id: CommitId
    parents: tuple[CommitId, ...]
    message: str
    author: str
    time: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Branch:
    """A branch and the commit that it points to."""

    name: str
    head: CommitId


@dataclass(frozen=True)
class Change:
    """A path that differs between two commits."""

    path: str
    kind: Literal["added", "changed", "removed"]


class Lake(Protocol):
    """One repository of the lake, which holds one data set.

    A *ref* is a branch, a tag or a commit id. Names of branches and tags may hold letters, digits, `-` and `_`;
    those of tags `/` and `.` besides. Every method raises LakeUnavailable when the store is locked,
    gone or out of reach, and LakeNotFound when the ref or path it is given does not exist.
    """

    name: str
    store: Literal["git", "lakefs"]
    url: str

    def resolve(self, ref: str) -> CommitId:
        """Id of the commit that `ref` means now."""
        ...

    def branches(self) -> list[Branch]:
        """All branches, by name."""
        ...

    def tags(self) -> dict[str, CommitId]:
        """All tags and their commits."""
        ...

    def create_branch(self, name: str, source: str) -> Branch:
        """Create a branch at the commit of `source`; LakeConflict if it exists."""
        ...

    def delete_branch(self, name: str) -> None:
        """Delete a branch; its commits stay readable by id for as long as the store keeps them. `main` is refused."""
        ...

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
        """Write files and remove others, as one commit on a branch.

        All or nothing: after a failure the branch is where it was. When nothing changes, no commit is made
        and the head is returned.

        Parameters
        ----------
        branch
            Branch to commit to; it must exist.
        files
            Content (a local file or bytes) by path in the lake.
        message, metadata
            Said of the commit; metadata values are text.
        expect
            Head that the branch must have (LakeConflict otherwise).
        remove
            Paths to remove; one that isn't there is no error.

        Returns
        -------
        CommitId
            The new head of the branch.
        """
        ...

    def merge(self, source: str, into: str, message: str, metadata: Mapping[str, str] | None = None) -> CommitId:
        """Merge the commit of `source` into branch `into`, atomically.

        LakeConflict, which names the paths, if both sides changed the same path differently since they parted;
        the branch is then as it was. When `source` is already contained, the head is returned unchanged.
        """
        ...

    def tag(self, name: str, ref: str) -> bool:
        """Tag a commit. The same again is a no-op; LakeConflict if the tag stands at another commit.

        Of several that make the same tag at once, one is told so: a tag is also a claim. On a network whose answer to that one
        was lost, nobody is told; a claim needs a second look, some time later, at whether what was claimed was done.

        Returns
        -------
        bool
            True if this call made the tag, False if it stood there.
        """
        ...

    def log(self, ref: str, limit: int | None = None) -> list[Commit]:
        """Commits reachable from `ref`, newest first."""
        ...

    def diff(self, base: str, other: str) -> list[Change]:
        """Paths whose content differs between two refs, sorted by path: what `other` has that `base` hasn't is `added`."""
        ...

    def ls(self, ref: str, prefix: str = "") -> list[Entry]:
        """Files at a ref whose path starts with `prefix`, sorted by path."""
        ...

    def exists(self, ref: str, path: str) -> bool:
        """Whether the ref has a file at this path."""
        ...

    def read(self, ref: str, path: str) -> bytes:
        """Content of a (small) file at a ref."""
        ...

    def download(self, ref: str, path: str, to: Path) -> Path:
        """Copy a file at a ref to the local file `to`, streaming; `to` is complete or absent. Returns `to`."""
        ...
