"""The lake: versioned storage with one interface and two stores, git and lakeFS."""

from lakeline.lake.base import Branch, Change, Commit, CommitId, Entry, Lake
from lakeline.lake.stores import list_lakes, open_lake

__all__ = ["Branch", "Change", "Commit", "CommitId", "Entry", "Lake", "list_lakes", "open_lake"]
