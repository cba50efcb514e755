"""Bring arrivals from their source onto a branch of their own in the lake."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakeline.data.arrivals import NEXT, arrival_parameters
from lakeline.data.available import upcoming
from lakeline.data.convert import NoRows, to_parquet
from lakeline.data.source import fetch
from lakeline.data.specfile import pinned_spec
from lakeline.errors import UsageError
from lakeline.lake import open_lake
from lakeline.lake.base import MAIN, CommitId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lakeline.data.convert import RawFile
    from lakeline.data.source import Fetched
    from lakeline.data.specfile import Definition
    from lakeline.lake.base import Lake

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where an arrival came from, and what it was: written beside the raw file as _lakeline/arrivals/<arrival>.json.

    `sha256` and `size` (bytes) are of the source file; `data_digest` is of those parts of the spec that decide what
    rows the arrival becomes.
    """

    arrival: str
    url: str
    sha256: str
    size: int
    rows: int
    schema_digest: str
    spec_digest: str
    data_digest: str


@dataclass(frozen=True)
class Ingested:
    """What an ingest did: the branch and commit with the raw files of the arrivals that are new."""

    status: Literal["new", "repeated"]
    branch: str
    commit: CommitId
    arrivals: list[str]
    rows: int
    sources: list[Source]
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Represent as JSON can."""
        return dataclasses.asdict(self)


def ingest(dataset: str, arrivals: Sequence[str]) -> Ingested:
    """Bring arrivals from their source onto a branch of the lake, in one commit.

    Everything is fetched, checked and converted before anything is written to the lake. Doing it again does it once:
    what main has is left alone, and a branch that a failed attempt left is made anew.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    arrivals
        Ids of the arrivals; or "next" alone: those that follow what main has, as far as the source has them (see `upcoming`).

    Returns
    -------
    Ingested
        Status "repeated", with no branch and the head of main, if main has all of the arrivals with the same
        source and the same spec of the data, or if nothing follows yet.

    Raises
    ------
    UsageError
        If there is no such arrival, or "next" is asked of a lake that has none.
    SourceError
        If a source can't be had or read; the lake is then as it was.
    LakeError
        If the lake can't do it.
    """
    lake = open_lake(dataset)
    base = lake.resolve(MAIN)
    definition = pinned_spec(lake, base)
    polled = list(arrivals) == [NEXT]
    wanted = upcoming(lake, definition.spec, base) if polled else sorted(set(arrivals))
    if polled and not wanted:
        return _nothing_next(dataset, base)
    for arrival in wanted:
        arrival_parameters(definition.spec, arrival)
    if not wanted:
        raise UsageError(f"{dataset}: which arrivals? Name at least one.")
    with tempfile.TemporaryDirectory(prefix="lakeline-ingest-") as name:
        folder = Path(name)
        fetched = {arrival: fetch(definition.spec, arrival, folder / "source") for arrival in wanted}
        fresh = [arrival for arrival in wanted if not _known(lake, base, definition, arrival, fetched[arrival])]
        for arrival in wanted:
            if arrival not in fresh:
                _log.info("%s %s: main has it already", dataset, arrival)
        if not fresh:
            return Ingested("repeated", "", base, [], 0, [], f"{dataset}: main has {_list(wanted)} already; nothing was ingested.")
        try:
            files = _convert(definition, {arrival: fetched[arrival] for arrival in fresh}, folder)
        except NoRows as error:
            if not polled or definition.spec.source.where is None:
                raise
            # A file that several arrivals share is there before the rows of each are.
            there = [arrival for arrival in wanted[: wanted.index(error.arrival)] if arrival in fresh]
            return ingest(dataset, there) if there else _nothing_next(dataset, base)
        sources = [_source(definition, arrival, fetched[arrival], files[arrival]) for arrival in fresh]
        branch, commit = _commit(lake, base, definition, sources, files)
    rows = sum(source.rows for source in sources)
    return Ingested("new", branch, commit, fresh, rows, sources, f"{dataset}: {rows:,} rows of {_list(fresh)} are on branch {branch}.")


def _nothing_next(dataset: str, base: CommitId) -> Ingested:
    message = f"{dataset}: the source has nothing yet that follows what main has; nothing was ingested."
    return Ingested("repeated", "", base, [], 0, [], message)


def _known(lake: Lake, base: CommitId, definition: Definition, arrival: str, fetched: Fetched) -> bool:
    """Whether main has this arrival from the same source by the same rules."""
    path = _note(arrival)
    if not (lake.exists(base, path) and lake.exists(base, f"clean/{arrival}.parquet")):
        return False
    known = json.loads(lake.read(base, path))
    return known["sha256"] == fetched.sha256 and known["data_digest"] == definition.data_digest


def _convert(definition: Definition, fetched: dict[str, Fetched], folder: Path) -> dict[str, RawFile]:
    """Convert each source file once, however many arrivals are in it."""
    together: defaultdict[Fetched, list[str]] = defaultdict(list)
    for arrival, source in fetched.items():
        together[source].append(arrival)
    files: dict[str, RawFile] = {}
    for source, arrivals in together.items():
        files |= to_parquet(definition.spec, source, arrivals, folder)
    return files


def _source(definition: Definition, arrival: str, fetched: Fetched, file: RawFile) -> Source:
    digests = {"spec_digest": definition.digest, "data_digest": definition.data_digest}
    return Source(arrival, fetched.url, fetched.sha256, fetched.size, file.rows, file.schema_digest, **digests)


def _commit(lake: Lake, base: CommitId, definition: Definition, sources: list[Source], files: dict[str, RawFile]) -> tuple[str, CommitId]:
    arrivals = [source.arrival for source in sources]
    branch = f"ingest-{arrivals[0]}" if len(arrivals) == 1 else f"ingest-{arrivals[0]}--{arrivals[-1]}"
    if any(one.name == branch for one in lake.branches()):
        _log.info("%s: branch %s of an earlier attempt is made anew", lake.name, branch)
        lake.delete_branch(branch)
    lake.create_branch(branch, base)
    content: dict[str, Path | bytes] = {f"raw/{arrival}.parquet": files[arrival].path for arrival in arrivals}
    for source in sources:
        content[_note(source.arrival)] = (json.dumps(dataclasses.asdict(source), indent=2) + "\n").encode()
    metadata = {
        "arrivals": ",".join(arrivals),
        "rows_raw": str(sum(source.rows for source in sources)),
        "schema_digest": _joint([source.schema_digest for source in sources]),
        "source": ", ".join(sorted({source.url for source in sources})[:3]) + (" and others" if len({s.url for s in sources}) > 3 else ""),  # noqa: PLR2004
        "source_digest": _joint([source.sha256 for source in sources]),
        "spec_digest": definition.digest,
    }
    return branch, lake.commit(branch, content, f"Ingest {_list(arrivals)}", metadata, expect=base)


def _joint(digests: list[str]) -> str:
    """Make one digest of several: the one that all have, or the digest of all."""
    distinct = sorted(set(digests))
    return distinct[0] if len(distinct) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _list(arrivals: Sequence[str]) -> str:
    return ", ".join(arrivals) if len(arrivals) <= 3 else f"{arrivals[0]} to {arrivals[-1]} ({len(arrivals)} arrivals)"  # noqa: PLR2004


def _note(arrival: str) -> str:
    return f"_lakeline/arrivals/{arrival}.json"
