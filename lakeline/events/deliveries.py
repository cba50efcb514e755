"""Which commits of main are deliveries, what has become of them, and whose run they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from lakeline.data.publish import TRAINED_IN
from lakeline.lake.base import MAIN
from lakeline.training.plan import MODEL_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lakeline.lake import Change, Commit, CommitId, Lake

CLAIM_TAG = "run/training/"
"""Tags run/training/<first 12 of a commit> stand at deliveries whose run somebody has taken on; .2, .3, ... are later attempts."""

HOOK_PATH = "_lakefs_actions/lakeline.yaml"
"""The webhook's definition in a repository of lakeFS. Deliveries from before it was there are no event's business."""

SHORT = 12
"""Digits of a commit id in names of tags and runs."""

Fate = Literal["no delivery", "trained", "trained by its own run", "claimed", "unseen"]


@dataclass(frozen=True)
class Unseen:
    """A delivery that no model has learned from.

    Attributes
    ----------
    commit
        The delivery.
    attempts
        How often a run of it was claimed.
    own
        Id of the run that merged it, if that trains from it as well; else empty.
    """

    commit: Commit
    attempts: int
    own: str = ""


def deliveries(lake: Lake) -> Iterator[Commit]:
    """Commits by which main got other clean rows than its commit before had, newest first.

    Main's own line, not the branches merged into it; it doesn't matter who merged, or with what.

    Parameters
    ----------
    lake
        Repository of the data set.
    """
    return (commit for commit, changes in _line(lake) if _clean(changes))


def fate(lake: Lake, commit: str) -> Fate:
    """Say what has become of a commit.

    Parameters
    ----------
    lake
        Repository of the data set.
    commit
        Id of a commit.

    Returns
    -------
    Fate
        "no delivery" if main's own line hasn't got it, or clean rows are those of the commit before; "trained" if a model
        version says that it learned from it; "trained by its own run" if a run merges and trains from it; "claimed" if
        somebody has taken its run on; else "unseen".

    Raises
    ------
    LakeNotFound
        If the lake has no such commit.
    """
    resolved = lake.resolve(commit)
    said = next((said for said in _own(lake) if said.id == resolved), None)
    if said is None or not _clean(_changes(lake, said)):
        return "no delivery"
    tags = lake.tags()
    return _fate(said, tags, trained(tags))


def fates(lake: Lake) -> Iterator[tuple[Commit, Fate]]:
    """Say what has become of each delivery, newest first."""
    tags = lake.tags()
    learned = trained(tags)
    return ((commit, _fate(commit, tags, learned)) for commit in deliveries(lake))


def claim(lake: Lake, commit: CommitId, attempt: int = 1) -> bool:
    """Take on the run of a delivery.

    Of all that try, at once or ever, one is told True. On a network that lost the answer nobody is; so who looks for what
    was missed must also look at what was claimed long enough ago and not started, and claim its next attempt.

    Parameters
    ----------
    lake
        Repository of the data set.
    commit
        The delivery.
    attempt
        1, or one more than the claims that were made and came to nothing.
    """
    return lake.tag(_name(commit, attempt), commit)


def unseen(lake: Lake, days: float) -> list[Unseen]:
    """Deliveries that no model has learned from, oldest first.

    Parameters
    ----------
    lake
        Repository of the data set.
    days
        How old they may be. What came before the webhook was installed is left out as well.
    """
    tags = lake.tags()
    learned = trained(tags)
    oldest = datetime.now(UTC) - timedelta(days=days)
    found: list[Unseen] = []
    for commit, changes in _line(lake):
        if commit.time < oldest:
            break
        if _clean(changes) and commit.id not in learned:
            found.append(Unseen(commit, attempts(commit.id, tags), commit.metadata.get(TRAINED_IN, "")))
        if any(change.path == HOOK_PATH and change.kind == "added" for change in changes):
            break
    return found[::-1]


def attempts(commit: CommitId, tags: Mapping[str, CommitId]) -> int:
    """Count how often the run of a delivery was claimed."""
    first = _name(commit, 1)
    return sum(at == commit and (name == first or name.startswith(f"{first}.")) for name, at in tags.items())


def trained(tags: Mapping[str, CommitId]) -> set[CommitId]:
    """Commits that a model version says it learned from."""
    return {commit for name, commit in tags.items() if name.startswith(MODEL_TAG)}


def _fate(commit: Commit, tags: Mapping[str, CommitId], learned: set[CommitId]) -> Fate:
    if commit.id in learned:
        return "trained"
    if commit.metadata.get(TRAINED_IN):
        return "trained by its own run"
    return "claimed" if attempts(commit.id, tags) else "unseen"


def _name(commit: CommitId, attempt: int) -> str:
    return f"{CLAIM_TAG}{commit[:SHORT]}" + (f".{attempt}" if attempt > 1 else "")


def _own(lake: Lake) -> Iterator[Commit]:
    """Main's own line of commits, newest first."""
    head = lake.resolve(MAIN)
    commits = {commit.id: commit for commit in lake.log(head)}
    at = commits.get(head)
    while at is not None:
        yield at
        at = commits.get(at.parents[0]) if at.parents else None


def _line(lake: Lake) -> Iterator[tuple[Commit, list[Change]]]:
    """Main's own line, each commit with what it changed."""
    return ((commit, _changes(lake, commit)) for commit in _own(lake))


def _changes(lake: Lake, commit: Commit) -> list[Change]:
    return lake.diff(commit.parents[0], commit.id) if commit.parents else []


def _clean(changes: list[Change]) -> bool:
    return any(change.path.startswith("clean/") for change in changes)
