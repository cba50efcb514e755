"""The step that makes clean rows of raw ones, with the transform.sql of the pinned spec."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lakeline.data.arrivals import arrival_parameters
from lakeline.data.specfile import Definition, pinned_spec
from lakeline.errors import DataError
from lakeline.lake import Commit, CommitId, Lake, open_lake

_HISTORY = 50
"""How many commits back on a delivery's branch an earlier try is looked for."""


@dataclass(frozen=True)
class Transformed:
    """Where the clean rows are, and how many rows each arrival had before and after."""

    commit: CommitId
    rows_raw: int
    rows_clean: int
    per_arrival: Mapping[str, tuple[int, int]]


def transform(dataset: str, branch: str, commit: str, arrivals: Sequence[str]) -> Transformed:
    """Run transform.sql over each arrival's raw rows, and commit the clean rows to the branch, in the types that the spec declares.

    In the SQL, `raw` is one arrival; `getvariable('arrival')` is its id, and `getvariable('<parameter>')` each
    parameter of it. One arrival is on the disk at a time besides what it becomes, and DuckDB spills what doesn't fit in memory.

    Parameters
    ----------
    dataset
        Name of the data set.
    branch
        Branch of the delivery.
    commit
        Commit with the raw rows: head of the branch, unless an earlier try came as far as committing, whose commit is then returned.
    arrivals
        Ids of the arrivals.

    Returns
    -------
    Transformed
        With the new head of the branch.

    Raises
    ------
    DataError
        If the SQL fails, or leaves no rows of an arrival.
    LakeConflict
        If the branch has gone on from `commit` in another way.
    """
    from lakeline.data.profile import schema_digest

    lake = open_lake(dataset)
    done = _earlier_try(lake, branch, commit, arrivals)
    if done:
        return _read_rows(lake, done.id, arrivals)
    definition = pinned_spec(lake, commit)
    rows: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        files: dict[str, Path | bytes] = {}
        for arrival in arrivals:
            parameters = {"arrival": arrival, **arrival_parameters(definition.spec, arrival)}
            rows[arrival], files[f"clean/{arrival}.parquet"] = _clean(lake, commit, arrival, definition, Path(folder), parameters)
        before, after = (sum(counts[i] for counts in rows.values()) for i in (0, 1))
        metadata = {
            "arrivals": ",".join(arrivals),
            "rows_raw": str(before),
            "rows_clean": str(after),
            "schema_digest": schema_digest(path for path in files.values() if isinstance(path, Path)),
            "spec_digest": definition.digest,
        }
        message = f"Transform {', '.join(arrivals)}: {after:,} of {before:,} rows kept"
        head = lake.commit(branch, files, message, metadata, expect=CommitId(commit))
    return Transformed(head, before, after, rows)


def _clean(
    lake: Lake, commit: str, arrival: str, definition: Definition, folder: Path, parameters: Mapping[str, int | str]
) -> tuple[tuple[int, int], Path]:
    from lakeline.data.conversion import write_converted
    from lakeline.data.sql import run_sql

    origin = f"{lake.name} {arrival}"
    raw = lake.download(commit, f"raw/{arrival}.parquet", folder / f"{arrival}.raw.parquet")
    result, out = folder / f"{arrival}.result.parquet", folder / f"{arrival}.clean.parquet"
    fix = f"Put datasets/{lake.name}/transform.sql right, push it (lakeline dataset push {lake.name}) and run this arrival again."
    try:
        before, after = run_sql(definition.sql, raw, result, parameters, origin=origin)
    except DataError as error:
        raise DataError(f"{error}. Nothing was merged. {fix}") from error
    finally:
        raw.unlink(missing_ok=True)
    if after == 0:
        raise DataError(f"{origin}: all {before:,} rows were filtered out by transform.sql. Nothing was merged. {fix}")
    write_converted(result, out, definition.spec.clean)
    result.unlink()
    return (before, after), out


def _earlier_try(lake: Lake, branch: str, commit: str, arrivals: Sequence[str]) -> Commit | None:
    """Find what an earlier try, whose success was not heard of, has committed on top of `commit`."""
    for said in lake.log(branch, _HISTORY):
        if said.parents == (commit,) and said.metadata.get("arrivals") == ",".join(arrivals) and "rows_clean" in said.metadata:
            return said
    return None


def _read_rows(lake: Lake, commit: CommitId, arrivals: Sequence[str]) -> Transformed:
    import pyarrow.parquet as pq

    rows: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        for arrival in arrivals:
            raw, clean = (lake.download(commit, f"{layer}/{arrival}.parquet", Path(folder) / layer) for layer in ("raw", "clean"))
            rows[arrival] = (pq.read_metadata(raw).num_rows, pq.read_metadata(clean).num_rows)
    return Transformed(commit, sum(before for before, _ in rows.values()), sum(after for _, after in rows.values()), rows)
