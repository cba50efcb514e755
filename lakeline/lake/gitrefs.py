"""Branches and tags of a git repository: found by name, moved only from where they were seen."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pygit2

from lakeline.errors import LakeNotFound
from lakeline.lake import words
from lakeline.lake.names import SHORTEST_ID, check_branch, split_ref

HEADS, TAGS = "refs/heads/", "refs/tags/"
_FULL_ID = 40
_PATIENCE = 2.0


def listed(repo: pygit2.Repository, prefix: str) -> dict[str, str]:
    """Return the commit of each branch (`HEADS`) or tag (`TAGS`), by name and sorted."""
    found = sorted((ref.name, str(ref.peel(pygit2.Commit).id)) for ref in repo.references.objects if ref.name.startswith(prefix))
    return {name.removeprefix(prefix): commit for name, commit in found}


def find(repo: pygit2.Repository, dataset: str, ref: str) -> pygit2.Commit:
    """Return the commit of a branch, a tag or a (shortened) id, with steps back such as `main~2`; LakeNotFound if there is none."""
    base, steps = split_ref(ref)
    commit = _named(repo, base) or _by_id(repo, base)
    if commit is None:
        raise words.no_ref(dataset, ref, [*listed(repo, HEADS), *listed(repo, TAGS)])
    if not steps:
        return commit
    try:
        return repo.revparse_single(f"{commit.id}{steps}").peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise LakeNotFound(f"{dataset}: there is no commit {ref!r}: the history of {base} is shorter.") from error


def find_branch(repo: pygit2.Repository, dataset: str, name: str) -> pygit2.Commit:
    """Return the head of a branch; LakeNotFound if there is no such branch."""
    found = repo.references.get(HEADS + check_branch(name))
    if found is None:
        raise words.no_branch(dataset, name, listed(repo, HEADS))
    return found.peel(pygit2.Commit)


def move(repo: pygit2.Repository, name: str, old: pygit2.Oid | None, new: pygit2.Oid) -> bool:
    """Move a ref from one commit to another, or make it; False, and nothing done, if it isn't where it should be.

    The caller holds the lake's lock.
    """
    _clear(repo, name)
    if old is None:
        try:
            repo.references.create(name, new)
        except pygit2.AlreadyExistsError:
            return False
        return True
    with repo.transaction() as transaction:
        transaction.lock_ref(name)
        if repo.references[name].target != old:
            return False
        transaction.set_target(name, new)
    return True


def delete(repo: pygit2.Repository, name: str) -> None:
    """Delete a ref. The caller holds the lake's lock."""
    _clear(repo, name)
    repo.references.delete(name)


def _named(repo: pygit2.Repository, name: str) -> pygit2.Commit | None:
    for prefix in (HEADS, TAGS):
        with contextlib.suppress(ValueError, pygit2.GitError):
            if found := repo.references.get(prefix + name):
                return found.peel(pygit2.Commit)
    return None


def _by_id(repo: pygit2.Repository, text: str) -> pygit2.Commit | None:
    if not SHORTEST_ID <= len(text) <= _FULL_ID:
        return None
    try:
        return repo[text].peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError):
        return None


def _clear(repo: pygit2.Repository, name: str) -> None:
    """Remove git's own lock files of a writer that was killed.

    A living git process holds them for milliseconds; none of ours can, for the caller holds the lake's lock.
    """
    deadline = time.monotonic() + _PATIENCE
    for lock in (Path(repo.path, f"{name}.lock"), Path(repo.path, "packed-refs.lock")):
        while lock.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        lock.unlink(missing_ok=True)
