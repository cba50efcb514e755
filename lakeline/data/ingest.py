"""Bring arrivals from their source onto a branch of their own in the lake."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
import re
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakeline.data.arrivals import NEXT, arrival_parameters
from lakeline.data.available import MOST, upcoming
from lakeline.data.convert import NoRows, to_parquet
from lakeline.data.source import fetch
from lakeline.data.specfile import pinned_spec
from lakeline.errors import LakeConflict, LakeNotFound, UsageError
from lakeline.lake import open_lake
from lakeline.lake.base import MAIN, CommitId
from lakeline.liveness import under_way
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from lakeline.data.convert import RawFile
    from lakeline.data.source import Fetched
    from lakeline.data.specfile import Definition
    from lakeline.lake.base import Branch, Lake

RUN = "run"
"""Metadata of the commit that begins a delivery: id of the pipeline run that brings it in."""

_PATIENCE = 2.0
"""Seconds that a branch without a commit of its own is given to get one: whose it is isn't known before."""

DELIVERY = "ingest-"
"""How the names of branches begin that deliveries are prepared on."""

_ATTEMPTS = 100
_HISTORY = 50

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where an arrival came from, and what it was: written beside the raw file as _lakeline/arrivals/<arrival>.json.

    `sha256` and `size` (bytes) are of the source file; `data_digest` is of those parts of the spec that decide what
    rows the arrival becomes; `left_out` counts the rows of the file that no arrival of the delivery has, for source.where is null for them.
    """

    arrival: str
    url: str
    sha256: str
    size: int
    rows: int
    schema_digest: str
    spec_digest: str
    data_digest: str
    left_out: int = 0


@dataclass(frozen=True)
class Ingested:
    """What an ingest did: the branch and commit with the raw files of the arrivals that are new."""

    status: Literal["new", "repeated", "under way"]
    branch: str
    commit: CommitId
    arrivals: list[str]
    rows: int
    sources: list[Source]
    message: str
    run: str = ""
    """Id of the run that brings the arrivals in, if it is under way and another."""

    def to_dict(self) -> dict[str, Any]:
        """Represent as JSON can."""
        return dataclasses.asdict(self)


def ingest(dataset: str, arrivals: Sequence[str], run_id: str = "", most: int = MOST) -> Ingested:
    """Bring arrivals from their source onto a branch of the lake, in one commit.

    Everything is fetched, checked and converted before anything is written to the lake. Doing it again does it once:
    what main has is left alone, what another run is bringing in is left to that run, and a branch that an earlier attempt left is
    made anew.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    arrivals
        Ids of the arrivals; or "next" alone: those that follow what main has, as far as the source has them (see `upcoming`).
    run_id
        Id of the pipeline run; LAKELINE_RUN_ID goes before it.
    most
        How many arrivals "next" brings in at once, the oldest first.

    Returns
    -------
    Ingested
        Status "repeated", with no branch and the head of main, if main has all of the arrivals with the same
        source and the same spec of the data, or if nothing follows yet. Status "under way", with that run's branch and the head of
        main, if another run is bringing the same arrivals in.

    Raises
    ------
    UsageError
        If there is no such arrival, or "next" is asked of a lake that has none.
    SourceError
        If a source can't be had or read; the lake is then as it was.
    LakeError
        If the lake can't do it.
    """
    from lakeline.data.publish import finish

    lake = open_lake(dataset)
    finish(lake)
    base = lake.resolve(MAIN)
    definition = pinned_spec(lake, base)
    polled = list(arrivals) == [NEXT]
    wanted = upcoming(lake, definition.spec, base, most) if polled else sorted(set(arrivals))
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
            return ingest(dataset, there, run_id) if there else _nothing_next(dataset, base)
        sources = [_source(definition, arrival, fetched[arrival], files[arrival]) for arrival in fresh]
        claim, commit = _claimed_and_committed(lake, base, definition, sources, files, get_settings().run_id or run_id)
        if claim.owner is not None:
            message = f"{dataset}: {_list(fresh)} is already being brought in by run {claim.owner}; nothing was ingested."
            return Ingested("under way", claim.branch, base, [], 0, [], message, claim.owner)
        branch = claim.branch
    rows = sum(source.rows for source in sources)
    left_out = _left_out({source.url: source.left_out for source in sources})
    message = " ".join([f"{dataset}: {rows:,} rows of {_list(fresh)} are on branch {branch}.", *left_out])
    _log.info("%s", message)
    return Ingested("new", branch, commit, fresh, rows, sources, message)


def rows_left_out(lake: Lake, commit: CommitId | str, arrivals: Sequence[str]) -> list[str]:
    """Say, in a sentence for each source file of some arrivals, how many of its rows no arrival has, for source.where is null for them.

    Parameters
    ----------
    lake, commit
        A commit that has the arrivals' raw rows.
    arrivals
        Ids of arrivals that were brought together.

    Returns
    -------
    list of str
        Nothing of files that all rows were taken of.
    """
    notes = [json.loads(lake.read(commit, note_path(arrival))) for arrival in arrivals if lake.exists(commit, note_path(arrival))]
    return _left_out({note["url"]: note.get("left_out", 0) for note in notes})


def _left_out(counts: Mapping[str, int]) -> list[str]:
    return [
        f"{count:,} {'row' if count == 1 else 'rows'} of {url} left out, for source.where is null there."
        for url, count in counts.items()
        if count
    ]


def _nothing_next(dataset: str, base: CommitId) -> Ingested:
    message = f"{dataset}: the source has nothing yet that follows what main has; nothing was ingested."
    return Ingested("repeated", "", base, [], 0, [], message)


def _known(lake: Lake, base: CommitId, definition: Definition, arrival: str, fetched: Fetched) -> bool:
    """Whether main has this arrival from the same source by the same rules."""
    path = note_path(arrival)
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
    return Source(arrival, fetched.url, fetched.sha256, fetched.size, file.rows, file.schema_digest, **digests, left_out=file.left_out)


@dataclass(frozen=True)
class _Claim:
    """Branch of a delivery: a new one of this run's own; or that of the run `owner`, which is under way."""

    branch: str
    run: str
    owner: str | None = None


def _claimed_and_committed(
    lake: Lake, base: CommitId, definition: Definition, sources: list[Source], files: dict[str, RawFile], run: str
) -> tuple[_Claim, CommitId]:
    """Claim a delivery and commit it; a run that was too slow, and whose branch another has taken over, looks again at whose it is."""
    arrivals = [source.arrival for source in sources]
    claim = _claim(lake, base, arrivals, run)
    for again in (True, False):
        if claim.owner is not None:
            break
        try:
            return claim, _commit(lake, base, claim, definition, sources, files)
        except (LakeConflict, LakeNotFound):
            if not again:
                raise
            claim = _claim(lake, base, arrivals, run)
    return claim, base


def _claim(lake: Lake, base: CommitId, arrivals: list[str], run: str) -> _Claim:
    """Make a branch for a delivery, unless another run that is under way has one. To make a branch is atomic: it is the claim.

    What ended runs have left of the same delivery goes; a branch whose run is nobody's that is known here is left alone, and this
    delivery gets one with a number. A branch that stays without a commit is of a run that was killed, or is slow: it is taken over, and
    of two that commit to it, one does.
    """
    name = delivery_branch(arrivals)
    until = time.monotonic() + _PATIENCE
    for _ in range(_ATTEMPTS):
        published = {commit.id for commit in lake.log(MAIN)}
        others = {branch.name: branch for branch in lake.branches() if re.fullmatch(rf"{re.escape(name)}(_\d+)?", branch.name)}
        owners = {branch.name: _owner(lake, branch, arrivals, published) for branch in others.values()}
        if any(owner is None for owner in owners.values()) and time.monotonic() < until:
            time.sleep(0.1)
            continue
        ended = [others[branch] for branch, owner in owners.items() if owner is None and others[branch].head != base]
        empty = next((branch for branch, owner in owners.items() if owner is None and others[branch].head == base), None)
        for branch, owner in owners.items():
            state = owner is not None and owner != run and under_way(owner)
            if owner and state:
                return _Claim(branch, run, owner)
            if owner is not None and state is False:
                ended.append(others[branch])
        for branch in (branch for branch in ended if owners[branch.name] == run):
            _supersede(lake, branch)
            others.pop(branch.name)
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        branch = empty or next(branch for branch in names if branch not in others)
        try:
            if branch not in others:
                lake.create_branch(branch, base)
        except LakeConflict:  # another run was faster
            continue
        for left in (left for left in ended if owners[left.name] != run):
            _supersede(lake, left)
        return _Claim(branch, run)
    raise LakeConflict(f"{lake.name}: other runs make and delete branches {name} all the time. See: lakeline lake branches {lake.name}")


def other_run(lake: Lake, arrivals: Sequence[str], run: str) -> str | None:
    """Id of another run that is under way and brings the same arrivals in; None if there is none."""
    published = {commit.id for commit in lake.log(MAIN)}
    wanted = sorted(set(arrivals))
    owners = (_owner(lake, branch, wanted, published) for branch in lake.branches() if branch.name.startswith(delivery_branch(wanted)))
    return next((owner for owner in owners if owner and owner != run and under_way(owner)), None)


def delivery_branch(arrivals: Sequence[str]) -> str:
    """Name of the branch that a delivery is prepared on."""
    return f"{DELIVERY}{arrivals[0]}" if len(arrivals) == 1 else f"{DELIVERY}{arrivals[0]}--{arrivals[-1]}"


def _owner(lake: Lake, branch: Branch, arrivals: Sequence[str], published: Container[str]) -> str | None:
    """Id of the run that a branch of a delivery is of; "" if it doesn't say, None if nothing was committed to it yet."""
    if branch.head in published:
        return None
    own = [commit.metadata for commit in lake.log(branch.head, _HISTORY) if commit.id not in published]
    # Only the first of its commits says whose it is: those of later steps lie on top.
    return next((metadata[RUN] for metadata in own if RUN in metadata and metadata.get("arrivals") == ",".join(arrivals)), "")


def _supersede(lake: Lake, left: Branch) -> None:
    """Delete what an ended run has left, unless it is something else by now."""
    if any(branch == left for branch in lake.branches()):
        _log.info("%s: branch %s of an earlier attempt is made anew", lake.name, left.name)
        try:
            lake.delete_branch(left.name)
        except LakeNotFound:
            return


def _commit(
    lake: Lake, base: CommitId, claim: _Claim, definition: Definition, sources: list[Source], files: dict[str, RawFile]
) -> CommitId:
    arrivals = [source.arrival for source in sources]
    content: dict[str, Path | bytes] = {f"raw/{arrival}.parquet": files[arrival].path for arrival in arrivals}
    for source in sources:
        content[note_path(source.arrival)] = (json.dumps(dataclasses.asdict(source), indent=2) + "\n").encode()
    metadata = {
        "arrivals": ",".join(arrivals),
        "rows_raw": str(sum(source.rows for source in sources)),
        "schema_digest": _joint([source.schema_digest for source in sources]),
        "source": ", ".join(sorted({source.url for source in sources})[:3]) + (" and others" if len({s.url for s in sources}) > 3 else ""),  # noqa: PLR2004
        "source_digest": _joint([source.sha256 for source in sources]),
        "spec_digest": definition.digest,
    } | ({RUN: claim.run} if claim.run else {})
    return lake.commit(claim.branch, content, f"Ingest {_list(arrivals)}", metadata, expect=base)


def _joint(digests: list[str]) -> str:
    """Make one digest of several: the one that all have, or the digest of all."""
    distinct = sorted(set(digests))
    return distinct[0] if len(distinct) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _list(arrivals: Sequence[str]) -> str:
    return ", ".join(arrivals) if len(arrivals) <= 3 else f"{arrivals[0]} to {arrivals[-1]} ({len(arrivals)} arrivals)"  # noqa: PLR2004


def note_path(arrival: str) -> str:
    """Path in the lake of what is noted of an arrival's source."""
    return f"_lakeline/arrivals/{arrival}.json"
