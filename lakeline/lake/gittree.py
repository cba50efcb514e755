"""Trees of a git commit as plain dictionaries: to read, to build, to merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import FileMode

if TYPE_CHECKING:
    from collections.abc import Iterator

Files = dict[str, str]
"""Id of the content, by path."""


def flatten(tree: pygit2.Tree) -> Files:
    """Return all files of a tree. Contents are not touched."""
    return dict(_walk(tree, ""))


def _walk(tree: pygit2.Tree, folder: str) -> Iterator[tuple[str, str]]:
    for entry in tree:
        path = f"{folder}{entry.name}"
        if isinstance(entry, pygit2.Tree):
            yield from _walk(entry, f"{path}/")
        else:
            yield path, str(entry.id)


def build(repo: pygit2.Repository, files: Files) -> pygit2.Oid:
    """Write the trees of these files, whose contents the repository has, and return the id of the root."""
    index = pygit2.Index()
    for path, oid in files.items():
        index.add(pygit2.IndexEntry(path, pygit2.Oid(hex=oid), FileMode.BLOB))
    return index.write_tree(repo)


def merged(base: Files, ours: Files, theirs: Files) -> tuple[Files, list[str]]:
    """Merge two sets of files that come from a common one.

    Parameters
    ----------
    base, ours, theirs
        Files at the common ancestor and on both sides.

    Returns
    -------
    Files, list of str
        The merged files, and the paths that both sides changed differently (or that are a file on one side and a folder on the other).
    """
    files: Files = {}
    conflicts: list[str] = []
    for path in sorted({*base, *ours, *theirs}):
        was, our, their = base.get(path), ours.get(path), theirs.get(path)
        if our not in (was, their) and their != was:
            conflicts.append(path)
        chosen = their if our == was else our
        if chosen is not None:
            files[path] = chosen
    return files, conflicts or overlapping(files)


def overlapping(files: Files) -> list[str]:
    """Return the paths that are a file and a folder at once, which git can't have."""
    folders = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/"}
    return sorted(folders & set(files))
