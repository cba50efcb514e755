"""What a lake says when something isn't there or is in the way: the same words for both stores."""

import difflib
from collections.abc import Iterable, Sequence

from lakeline.errors import LakeConflict, LakeNotFound, LakeUnavailable

_SHOWN = 5


def no_lake(dataset: str, where: str) -> LakeNotFound:
    """Say that a data set has no repository."""
    return LakeNotFound(f"{dataset}: there is no such data set in the lake ({where}). Create it: lakeline dataset push {dataset}")


def gone(dataset: str, where: str) -> LakeUnavailable:
    """Say that the repository of a data set was deleted while it was in use."""
    return LakeUnavailable(
        f"{dataset}: the lake is gone: there is no repository any more ({where}). "
        f"Put it back, or begin anew: lakeline dataset push {dataset}"
    )


def no_ref(dataset: str, ref: str, known: Iterable[str]) -> LakeNotFound:
    """Say that a ref isn't there, and which ones are called nearly so."""
    hint = f"See: lakeline lake branches {dataset}; lakeline lake tags {dataset}"
    return LakeNotFound(f"{dataset}: there is no branch, tag or commit {ref!r}. {_near(ref, known) or hint}")


def no_branch(dataset: str, name: str, known: Iterable[str]) -> LakeNotFound:
    """Say that a branch isn't there, and which ones are called nearly so."""
    return LakeNotFound(f"{dataset}: there is no branch {name!r}. {_near(name, known) or f'See: lakeline lake branches {dataset}'}")


def no_file(dataset: str, ref: str, path: str) -> LakeNotFound:
    """Say that a file isn't at a ref."""
    return LakeNotFound(f"{dataset}: there is no file {path!r} at {ref}. See: lakeline lake show {dataset} {ref}")


def branch_exists(dataset: str, name: str) -> LakeConflict:
    """Say that a branch can't be created."""
    return LakeConflict(f"{dataset}: branch {name} exists already. See: lakeline lake show {dataset} {name}")


def tag_stands(dataset: str, name: str, there: str, wanted: str) -> LakeConflict:
    """Say that a tag names another commit."""
    return LakeConflict(f"{dataset}: tag {name} stands at {there[:12]}, not at {wanted[:12]}. A tag doesn't move; choose another name.")


def moved(dataset: str, branch: str, expected: str, head: str) -> LakeConflict:
    """Say that a branch isn't at the commit that a writer had seen."""
    return LakeConflict(
        f"{dataset}: branch {branch} is at {head[:12]}, not at {expected[:12]}: somebody else committed to it. "
        f"Nothing was committed. See: lakeline lake log {dataset} --ref {branch}; then run the same command again."
    )


def overtaken(dataset: str, branch: str, commit: str, parent: str) -> LakeConflict:
    """Say that another commit came in between the look at the branch and the merge."""
    return LakeConflict(
        f"{dataset}: commit {commit[:12]} on {branch} landed on {parent[:12]}: somebody else committed at the same moment. "
        f"Both commits stand. See: lakeline lake log {dataset} --ref {branch}"
    )


def conflict(dataset: str, source: str, into: str, paths: Sequence[str]) -> LakeConflict:
    """Say which paths both sides of a merge changed."""
    shown = ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
    return LakeConflict(
        f"{dataset}: {source} and {into} both changed {shown}. Nothing was merged. See: lakeline lake diff {dataset} {into} {source}"
    )


def overlap(dataset: str, branch: str, paths: Sequence[str]) -> LakeConflict:
    """Say which paths would be a file and a folder at once."""
    shown = ", ".join(paths[:_SHOWN])
    return LakeConflict(
        f"{dataset}: on {branch}, {shown} would be a file and a folder at once. Nothing was committed. Choose another path."
    )


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"Did you mean {' or '.join(near)}?" if near else ""
