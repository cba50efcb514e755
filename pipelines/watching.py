"""Notice what is new in the lake and in the registry, and what was run for it: once for each commit, and each move of the alias."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakeline.errors import LakeUnavailable
from lakeline.events.alias import move_of
from lakeline.events.deliveries import deliveries, trained
from lakeline.lake import CommitId, open_lake
from lakeline.registry.deployed import Standing, find_standing
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path


TRIES = 3
"""Times that a deployment which ends without a verdict is tried at once; after that somebody is told."""

PAUSE = 900.0
"""Seconds until it is tried again then: what kept it may have passed."""


@dataclass
class Seen:
    """What a watch has dealt with already; kept in a file, so that a restart neither forgets nor repeats."""

    path: Path
    head: str | None = None
    """Newest commit of main that was looked at."""
    runs: dict[str, str] = field(default_factory=dict)
    """Run that a commit started, by commit."""
    arrivals: dict[str, str] = field(default_factory=dict)
    """Run that an arrival at the source started, by arrival."""
    deployments: dict[str, str] = field(default_factory=dict)
    """Last run that a move of the alias production started, by move."""
    tries: dict[str, int] = field(default_factory=dict)
    """Runs that it started, by move."""
    ended: dict[str, float] = field(default_factory=dict)
    """When the last of them ended, in seconds since 1970, by move."""

    def save(self) -> None:
        """Write it whole or not at all."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({name: value for name, value in vars(self).items() if name != "path"}, indent=1), encoding="utf-8")
        fresh.replace(self.path)


@contextmanager
def watching(dataset: str) -> Generator[Seen]:
    """Hold the watch of a data set: one process at a time, so that one commit starts one run.

    Raises
    ------
    LakeUnavailable
        If another process on this machine holds it.
    """
    from filelock import FileLock, Timeout

    folder = get_settings().home / "watch"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset}.json"
    lock = FileLock(path.with_suffix(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LakeUnavailable(f"{dataset}: another `lakeline watch` of it runs on this machine. End that one first.") from None
    try:
        yield Seen(path, **json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else Seen(path)
    finally:
        lock.release()


def untrained(dataset: str, seen: Seen) -> list[CommitId]:
    """Commits of main with new data that no run has learned from, oldest first.

    A commit counts as dealt with if a model version says that it learned from it (tag model/<version>), or if a run of
    this watch ended on it, in whatever way. The first watch of a lake looks at the newest delivery only: it is no
    archaeologist.

    Parameters
    ----------
    dataset
        Name of the data set.
    seen
        What was dealt with before.
    """
    lake = open_lake(dataset)
    learned = trained(lake.tags())
    fresh: list[CommitId] = []
    for commit in deliveries(lake):
        if commit.id in learned or commit.id == seen.head:
            break
        if commit.id not in seen.runs:
            fresh.append(commit.id)
        if seen.head is None:
            break
    return fresh[::-1]


def promoted(dataset: str) -> Standing | None:
    """Where the alias production was moved to, if another version serves.

    Only of a model that is served: who doesn't serve it here has asked for no server. A deployment that ends with a verdict ends the
    difference as well. One that the place kept from an end doesn't, nor one that crashes: see `stuck`.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.
    """
    from lakeline.serving.site import open_site

    if "production" not in open_site().serving(dataset):
        return None
    at = find_standing(dataset)
    return at if at is not None and at.pending else None


def stuck(at: Standing | None, seen: Seen) -> str | None:
    """Say that a move of the alias isn't deployed for now, and what to do; None if it is to be."""
    if at is None or seen.tries.get(move_of(at), 0) < TRIES or time.time() > seen.ended.get(move_of(at), 0.0) + PAUSE:
        return None
    log = get_settings().runs / seen.deployments[move_of(at)] / "run.log"
    return (
        f"{at.model}: version {at.production} has the alias production, and its deployment has come to no end in "
        f"{seen.tries[move_of(at)]} tries. The next is {PAUSE / 60:g} minutes after the last. What happened last: {log}. "
        f"At once: lakeline run deployment --dataset {at.model}. To go back: lakeline rollback {at.model}"
    )


def arrived(dataset: str, arrivals: Sequence[str], seen: Seen) -> list[str]:
    """Arrivals that the source has, the lake hasn't, and no run of this watch has tried.

    Parameters
    ----------
    dataset
        Name of the data set.
    arrivals
        Ids of those to look for; or "next" alone, for those that follow what the lake has.
    seen
        What was tried before.
    """
    from lakeline.data.arrivals import NEXT
    from lakeline.data.available import available, upcoming
    from lakeline.data.specfile import pinned_spec

    lake = open_lake(dataset)
    spec = pinned_spec(lake, lake.resolve("main")).spec
    if list(arrivals) == [NEXT]:
        return [arrival for arrival in upcoming(lake, spec) if arrival not in seen.arrivals]
    known = {entry.path for entry in lake.ls("main", "clean/")}
    wanted = [arrival for arrival in arrivals if f"clean/{arrival}.parquet" not in known and arrival not in seen.arrivals]
    return [arrival for arrival in wanted if available(spec, arrival)]
