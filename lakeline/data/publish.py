"""The step that merges a delivery which passed its checks into main.

Each of its parts may be the last that a try gets to; the next try finds out how far that came and goes on.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.data.ingest import DELIVERY, note_path
from lakeline.data.specfile import PINNED_SQL, PINNED_YAML, Definition, pinned_spec
from lakeline.data.validate import as_json, report_path
from lakeline.errors import DataError, LakeConflict, LakeNotFound, SpecError
from lakeline.lake import Commit, CommitId, Lake, open_lake
from lakeline.lake.base import MAIN

if TYPE_CHECKING:
    from lakeline.data.profile import Profile

TRAINED_IN = "trained_in"
"""Metadata of a merge that the run which made it trains from itself: that run's id."""

_HISTORY = 50
"""How many commits back on a delivery's branch its other commits are looked for."""

Reports = Mapping[str, Mapping[str, Any]]
"""What `Validation.to_dict` said, by layer."""


@dataclass(frozen=True)
class Published:
    """Commit on main that has the arrivals, their tags, and what they changed (see `profile.changes`)."""

    commit: CommitId
    tags: tuple[str, ...]
    changes: Mapping[str, Any]


def publish(
    dataset: str, branch: str, commit: str, arrivals: Sequence[str], reports: Sequence[Mapping[str, Any]], trained_in: str = ""
) -> Published:
    """Merge a delivery into main, all of it or nothing, tag its arrivals, and delete its branch.

    Parameters
    ----------
    dataset
        Name of the data set.
    branch
        Branch of the delivery.
    commit
        Commit with the clean rows. The branch must be there, but for reports.
    arrivals
        Ids of the arrivals.
    reports
        What `validate` found in the raw and in the clean rows: `Validation.to_dict()` of each.
    trained_in
        Id of the run that goes on to train from the merge, which then says so: its event is to start no other.

    Returns
    -------
    Published
        The same, however many tries it took.

    Raises
    ------
    DataError
        If a report is missing, is of other rows, or says that a check failed; or if no model could be learned from the rows.
    LakeConflict
        If the branch, or the spec on main, is no longer what was validated; or if main has other content at the same paths.
    """
    lake = open_lake(dataset)
    merged = find_merge(lake, commit) or find_same(lake, commit, arrivals)
    if merged is None:
        require_passed(lake, commit, arrivals, reports)
        head, metadata = commit_reports(lake, branch, commit, arrivals, {report["layer"]: report for report in reports})
        metadata |= {TRAINED_IN: trained_in} if trained_in else {}
        merge(lake, head, commit, arrivals, metadata)
        merged = find_merge(lake, commit) or lake.log(MAIN, 1)[0]  # the latter if somebody merged the branch by hand
    tags = tuple(tag(lake, arrival, merged.id) for arrival in arrivals)
    delete(lake, branch, commit)
    told = json.loads(lake.read(merged.id, report_path(arrivals[0])))
    return Published(merged.id, tags, told.get("changes", {}))


def finish(lake: Lake) -> None:
    """Do what runs that were killed between a merge and their end have left to do: tag the arrivals, and delete the branch."""
    merges = [commit for commit in lake.log(MAIN) if "delivery" in commit.metadata]
    tagged = Counter(commit for name, commit in lake.tags().items() if name.startswith(f"{lake.name}/"))
    for merged in reversed(merges):
        arrivals = merged.metadata.get("arrivals", "").split(",")
        if tagged[merged.id] < len(arrivals):
            for arrival in arrivals:
                tag(lake, arrival, merged.id)
    heads = {parent for merged in merges for parent in merged.parents[1:]}
    for branch in lake.branches():
        if branch.head in heads and branch.name.startswith(DELIVERY):
            with contextlib.suppress(LakeNotFound):  # the run isn't dead, and was faster
                lake.delete_branch(branch.name)


def find_merge(lake: Lake, commit: str) -> Commit | None:
    """Find the commit by which an earlier try merged the delivery into main."""
    return next((said for said in lake.log(MAIN) if said.metadata.get("delivery") == commit), None)


def find_same(lake: Lake, commit: str, arrivals: Sequence[str]) -> Commit | None:
    """Find the commit by which another run has brought the very same arrivals into main; None if one of them differs."""
    paths = [path for arrival in arrivals for path in (note_path(arrival), *(f"{layer}/{arrival}.parquet" for layer in ("raw", "clean")))]
    known, ours = ({path: entry.digest for path in paths for entry in lake.ls(ref, path)} for ref in (MAIN, commit))
    if known != ours or any(path not in known for path in paths):
        return None
    merges = (said for said in lake.log(MAIN) if "delivery" in said.metadata)
    return next((said for said in merges if set(arrivals) <= set(said.metadata.get("arrivals", "").split(","))), None)


def require_passed(lake: Lake, commit: str, arrivals: Sequence[str], reports: Sequence[Mapping[str, Any]]) -> None:
    """Raise DataError unless the reports say that these very rows of both layers passed every check."""
    for layer in ("raw", "clean"):
        report = next((report for report in reports if report.get("layer") == layer), None)
        if report is None or set(report["arrivals"]) != set(arrivals):
            raise DataError(f"{lake.name} {', '.join(arrivals)}: the {layer} rows were not validated. Nothing was merged.")
        if not report["passed"] or not all(checked["passed"] for checked in report["arrivals"].values()):
            raise DataError(f"{lake.name} {', '.join(arrivals)}: the {layer} rows failed their checks. Nothing was merged.")
        paths = {f"{layer}/{arrival}.parquet" for arrival in arrivals}
        checked, now = ({entry.path: entry.digest for entry in lake.ls(ref, f"{layer}/")} for ref in (report["commit"], commit))
        other = sorted(path for path in paths if path not in now or now[path] != checked.get(path))
        if other:
            raise DataError(f"{lake.name}: {', '.join(other)} at {commit[:12]} is not what was validated. Nothing was merged.")


def commit_reports(lake: Lake, branch: str, commit: str, arrivals: Sequence[str], reports: Reports) -> tuple[CommitId, dict[str, str]]:
    """Commit to the branch, by arrival, what was found in both layers and what the rows look like.

    Returns
    -------
    tuple
        Head of the branch, and what is to be said of the merge.
    """
    from lakeline.data.profile import changes, schema_digest

    head = lake.resolve(branch)
    _require_same(lake, branch, commit, head)
    definition = pinned_spec(lake, commit)
    _require_spec_of_main(lake, branch, commit, definition)
    source = _source(lake, commit)
    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        profiles = {arrival: _profile(lake, commit, arrival, Path(folder)) for arrival in arrivals}
        digest = schema_digest(Path(folder).glob("*.parquet"))
        earlier = _earlier(lake, arrivals)
        _require_trainable(lake, branch, {arrival: Path(folder) / f"{arrival}.parquet" for arrival in arrivals}, earlier)
    changed = changes(list(earlier.values()), list(profiles.values()))
    files: dict[str, Path | bytes] = {}
    rows = {"raw": 0, "clean": 0}
    for arrival in arrivals:
        layers = {layer: _whole(reports[layer]["arrivals"][arrival]) for layer in rows}
        content = {"source": source.get("source", "")} | layers | {"profile": profiles[arrival], "changes": changed}
        files[report_path(arrival)] = as_json(content)
        rows = {layer: rows[layer] + layers[layer]["rows"] for layer in rows}
    head = lake.commit(branch, files, f"Report the checks of {', '.join(arrivals)}", {"arrivals": ",".join(arrivals)}, expect=head)
    said = {f"rows_{layer}": str(count) for layer, count in rows.items()}
    return head, source | said | {"arrivals": ",".join(arrivals), "schema_digest": digest, "spec_digest": definition.digest}


def merge(lake: Lake, head: CommitId, commit: str, arrivals: Sequence[str], metadata: Mapping[str, str]) -> CommitId:
    """Merge the branch's head into main; `delivery` in the metadata is what a later try finds the merge by."""
    message = f"Publish {', '.join(arrivals)}: {int(metadata['rows_clean']):,} clean rows"
    return lake.merge(head, MAIN, message, {**metadata, "delivery": commit})


def tag(lake: Lake, arrival: str, commit: CommitId) -> str:
    """Tag an arrival: `<dataset>/<arrival>`, or `<dataset>/<arrival>.2`, `.3`, ... if it was published before with other rows."""
    first = f"{lake.name}/{arrival}"
    tags = lake.tags()
    for name in itertools.chain([first], (f"{first}.{again}" for again in itertools.count(2))):
        if name not in tags:
            lake.tag(name, commit)
            return name
        if tags[name] == commit or _content(lake, tags[name], arrival) == _content(lake, commit, arrival):
            return name
    raise AssertionError("there is always a next number")


def delete(lake: Lake, branch: str, commit: str) -> None:
    """Delete the delivery's branch, unless it is gone or somebody has committed something else to it."""
    head = next((known.head for known in lake.branches() if known.name == branch), None)
    if head is not None and _only_reports(lake, commit, head):
        with contextlib.suppress(LakeNotFound):  # see `finish`
            lake.delete_branch(branch)


def _content(lake: Lake, ref: str, arrival: str) -> list[str]:
    return [entry.digest for layer in ("raw", "clean") for entry in lake.ls(ref, f"{layer}/{arrival}.parquet")]


def _only_reports(lake: Lake, commit: str, head: CommitId) -> bool:
    """Whether all that a branch has on top of a commit is reports."""
    below = head == commit or any(commit in said.parents for said in lake.log(head, _HISTORY))
    return below and all(change.path.startswith(report_path("").removesuffix(".json")) for change in lake.diff(commit, head))


def _require_same(lake: Lake, branch: str, commit: str, head: CommitId) -> None:
    if not _only_reports(lake, commit, head):
        raise LakeConflict(
            f"{lake.name}: branch {branch} is no longer at {commit[:12]}, which was validated, but at {head[:12]}. "
            f"Nothing was merged. See: lakeline lake log {lake.name} {branch}"
        )


def _require_spec_of_main(lake: Lake, branch: str, commit: str, definition: Definition) -> None:
    same = all(lake.read(MAIN, path) == lake.read(commit, path) for path in (PINNED_YAML, PINNED_SQL))
    if not same and definition.data_digest != pinned_spec(lake, MAIN).data_digest:
        raise LakeConflict(
            f"{lake.name}: the spec on {MAIN} has changed since branch {branch} was made, so its rows were checked by another spec. "
            f"Nothing was merged. Run the same arrivals again: the branch is then made anew."
        )


def _require_trainable(lake: Lake, branch: str, files: Mapping[str, Path], earlier: Mapping[str, Profile]) -> None:
    """Refuse rows that passed their checks, but that no model can be learned from as the spec on main says."""
    from lakeline.training.trainable import require_trainable

    main = lake.resolve(MAIN)
    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:

        def fetch(arrival: str) -> Path:
            return lake.download(main, f"clean/{arrival}.parquet", Path(folder) / f"{arrival}.parquet")

        rows = {arrival: profile["rows"] for arrival, profile in earlier.items()}
        try:
            require_trainable(pinned_spec(lake, main).spec, files, rows, fetch)
        except (DataError, SpecError) as error:
            where = f"Nothing was merged; the rows are on branch {branch}. See: lakeline lake show {lake.name} {branch}"
            raise DataError(f"{error} {where}") from error


def _source(lake: Lake, commit: str) -> dict[str, str]:
    """What ingest said of where the rows are from."""
    said = next((said.metadata for said in lake.log(commit, _HISTORY) if "source_digest" in said.metadata), {})
    return {key: said[key] for key in ("source", "source_digest") if key in said}


def _profile(lake: Lake, ref: str, arrival: str, folder: Path) -> Profile:
    """Profile of an arrival's clean rows, with the digest of the file that it is of."""
    from lakeline.data.profile import profile

    path = f"clean/{arrival}.parquet"
    entry = next(entry for entry in lake.ls(ref, path) if entry.path == path)
    return profile(lake.download(ref, path, folder / f"{arrival}.parquet")) | {"digest": entry.digest}


def _earlier(lake: Lake, arrivals: Sequence[str]) -> dict[str, Profile]:
    """Profile of each arrival on main, but for those that the delivery replaces; read from the reports, where they are up to date."""
    main = lake.resolve(MAIN)
    found: dict[str, Profile] = {}
    reports = {entry.path for entry in lake.ls(main, report_path("").removesuffix(".json"))}
    for entry in lake.ls(main, "clean/"):
        arrival = entry.path.removeprefix("clean/").removesuffix(".parquet")
        if arrival in arrivals:
            continue
        told = json.loads(lake.read(main, report_path(arrival))) if report_path(arrival) in reports else {}
        known = told.get("profile", {})
        if known.get("digest") != entry.digest:
            with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
                known = _profile(lake, main, arrival, Path(folder))
        found[arrival] = known
    return found


def _whole(report: Mapping[str, Any]) -> dict[str, Any]:
    """Give counts back as whole numbers: on their way from task to task they may have become floating point."""
    checks = [dict(check) | {"failed": int(check["failed"])} for check in report["checks"]]
    return {"passed": report["passed"], "rows": int(report["rows"]), "checks": checks}
