"""What a git commit says: its message, with metadata as a trailer that plain git can show."""

from __future__ import annotations

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pygit2

from lakeline.lake.base import Commit, CommitId

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRAILER = "Lakeline-Metadata: "


def compose(message: str, metadata: Mapping[str, str]) -> str:
    """Return the text of a git commit.

    Metadata is one line of JSON in a trailer: `git log --format='%(trailers:key=Lakeline-Metadata,valueonly)'`.
    """
    text = message.rstrip("\n")
    if metadata or _TRAILER in text:
        return f"{text}\n\n{_TRAILER}{json.dumps(metadata, sort_keys=True)}\n"
    return f"{text}\n"


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Return message and metadata from the text of a git commit; one that somebody else wrote has no metadata."""
    message, found, trailer = text.removesuffix("\n").rpartition(f"\n\n{_TRAILER}")
    if found and "\n" not in trailer:
        try:
            metadata = json.loads(trailer)
        except ValueError:
            metadata = None
        if isinstance(metadata, dict):
            return message, {str(key): str(value) for key, value in metadata.items()}
    return text.removesuffix("\n"), {}


def describe(commit: pygit2.Commit) -> Commit:
    """Return a git commit as the lake's."""
    message, metadata = parse(commit.message)
    parents = tuple(CommitId(str(oid)) for oid in commit.parent_ids)
    return Commit(CommitId(str(commit.id)), parents, message, commit.author.name, datetime.fromtimestamp(commit.commit_time, UTC), metadata)


def signature(repo: pygit2.Repository) -> pygit2.Signature:
    """Return who commits: as git is configured, or else the name of the account (a pod's may have none)."""
    try:
        return repo.default_signature
    except (KeyError, ValueError, pygit2.GitError):
        pass
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid-{os.getuid()}"
    return pygit2.Signature(user, f"{user}@{socket.gethostname() or 'localhost'}")
