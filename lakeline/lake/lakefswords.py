"""How lakeFS calls what the lake calls otherwise: commits, tags, checksums."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lakeline.lake.base import Commit, CommitId

if TYPE_CHECKING:
    from pathlib import Path

    import lakefs.models

_OWN = ".lakefs."


def describe(commit: lakefs.models.Commit) -> Commit:
    """Return a lakeFS commit as the lake's, without the metadata that lakeFS adds to merges."""
    metadata = {key: value for key, value in (commit.metadata or {}).items() if not key.startswith(_OWN)}
    parents = tuple(CommitId(parent) for parent in commit.parents)
    time_ = datetime.fromtimestamp(commit.creation_date, UTC)
    return Commit(CommitId(commit.id), parents, commit.message, commit.committer, time_, metadata)


def to_tag(name: str) -> str:
    """Return how a tag is called in lakeFS, whose tags can't hold a slash: `model/3` is `model.3` there."""
    return name.replace(".", "._").replace("/", ".")


def from_tag(tag: str) -> str:
    """Return the name of a tag from how it is called in lakeFS."""
    return re.sub(r"\.(_?)", lambda found: "." if found[1] else "/", tag)


def checksum(content: Path | bytes) -> str:
    """Return the checksum that lakeFS gives a file or bytes (MD5, as object stores do)."""
    if isinstance(content, bytes):
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
