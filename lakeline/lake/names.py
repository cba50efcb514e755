"""What may be called what in a lake: the rules that both stores share."""

import re
from collections.abc import Iterable, Mapping

from lakeline.errors import LakeError, UsageError
from lakeline.lake.base import MAIN

SHORTEST_ID = 4
"""Fewest digits that a commit id may be shortened to."""

_DATASET = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,199}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+|/[A-Za-z0-9][A-Za-z0-9_-]*)*")
_TAG_LENGTH = 200
_REF = re.compile(r"(?P<base>[A-Za-z0-9_][A-Za-z0-9_./-]*)(?P<steps>([~^][0-9]*)*)")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")


def check_dataset(name: str) -> str:
    """Return the name of a data set; UsageError if no data set can be called so."""
    if not _DATASET.fullmatch(name):
        raise UsageError(f"{name!r} can't be the name of a data set: use 3 to 63 small letters, digits and -, not - first.")
    return name


def check_branch(name: str) -> str:
    """Return the name of a branch; UsageError if no branch can be called so."""
    if not _BRANCH.fullmatch(name):
        raise UsageError(f"{name!r} can't be the name of a branch: use letters, digits, - and _, not - first.")
    return name


def check_tag(name: str) -> str:
    """Return the name of a tag; UsageError if no tag can be called so."""
    if not _TAG.fullmatch(name) or name.endswith(".lock") or len(name) > _TAG_LENGTH:
        raise UsageError(f"{name!r} can't be the name of a tag: use letters, digits, - and _, with single / and . between them.")
    return name


def check_path(path: str) -> str:
    """Return the path of a file in the lake; UsageError if no file can be there."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or _UNSAFE.search(path):
        raise UsageError(f"{path!r} can't be a path in the lake: use names joined by /, such as raw/2013-01.parquet.")
    return path


def check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return metadata as a dictionary of text; LakeError if a value is something else."""
    checked = dict(metadata or {})
    for key, value in checked.items():
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] (numbers come from untyped callers)
            raise LakeError(f"commit metadata {key!r} is {value!r}, not text. Metadata values are text in the lake.")
    return checked


def refuse_main(name: str) -> None:
    """Raise UsageError for the branch that must never be deleted."""
    if name == MAIN:
        raise UsageError(f"branch {MAIN} can't be deleted: it holds what was published.")


def split_ref(ref: str) -> tuple[str, str]:
    """Split `main~2` into `main` and the steps back, `~2`; UsageError if it can't be a ref."""
    match = _REF.fullmatch(ref)
    if match is None:
        raise UsageError(f"{ref!r} can't be a branch, a tag or a commit.")
    return match["base"], match["steps"]


def check_changes(files: Iterable[str], remove: Iterable[str]) -> None:
    """Check the paths of a commit; UsageError if one can't be there, or is to be written and removed."""
    both = {check_path(path) for path in files} & {check_path(path) for path in remove}
    if both:
        raise UsageError(f"{', '.join(sorted(both))}: to be written and removed in the same commit. Choose one.")
