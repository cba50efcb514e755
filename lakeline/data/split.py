"""The step that splits the clean rows of a commit into those to learn from and those held out."""

from __future__ import annotations

import fnmatch
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lakeline.data.spec import DatasetSpec, RandomSplit, TimeSplit
from lakeline.data.specfile import pinned_spec
from lakeline.errors import DataError, UsageError
from lakeline.lake import CommitId, Lake, open_lake

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

VALIDATION = "_validation"
"""Boolean column of train.parquet: rows that trials are compared on."""
FEWEST_ROWS = 10


@dataclass(frozen=True)
class Split:
    """How many rows there are of each kind (those for validation are among those for training), and what they were made from."""

    train_rows: int
    holdout_rows: int
    validation_rows: int
    arrivals: tuple[str, ...]
    lineage: dict[str, str]


def split(dataset: str, commit: str, arrivals: str, train: Path, holdout: Path) -> Split:
    """Split the clean rows of a commit as its spec says.

    One arrival is in memory at a time, and of that only the columns that are learned from, the target, the slices, and the
    column of a split by time. Rows keep their order.

    Parameters
    ----------
    dataset
        Name of the data set.
    commit
        Full commit id. A branch or tag is refused: what it means changes.
    arrivals
        Which arrivals, as a pattern of ids such as "2013-0[1-6]", or several with commas between; "*" is all.
    train, holdout
        Parquet files to write. Column `_validation` of the former marks the rows that trials are compared on.

    Returns
    -------
    Split
        Counts and lineage (`dataset`, `data_commit`, `data_arrivals`, `spec_digest`, `split`).

    Raises
    ------
    UsageError
        If `commit` is no full commit id, or there is no such arrival.
    DataError
        If the target has nulls, NaN or infinities: says how many, and in which row the first one is. Also if the rows are too few.
    """
    lake = open_lake(dataset)
    if lake.resolve(commit) != commit:
        raise UsageError(f"{dataset}: {commit!r} is no full commit id. Give that, which means the same for ever: {lake.resolve(commit)}")
    definition = pinned_spec(lake, commit)
    chosen = _choose(lake, commit, arrivals)
    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        rows = _Rows(lake, CommitId(commit), definition.spec, Path(folder))
        counts = _write(rows, chosen, definition.spec.split, train, holdout)
    lineage = {
        "dataset": dataset,
        "data_commit": commit,
        "data_arrivals": ",".join(chosen),
        "spec_digest": definition.digest,
        "split": definition.spec.split.model_dump_json(),
    }
    return Split(*counts, chosen, lineage)


def random_masks(rows: int, rule: RandomSplit) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Draw which rows of an arrival are held out, and which of the others are for validation.

    The held-out ones are those of scikit-learn's `train_test_split(..., test_size=holdout, random_state=seed)`.

    Returns
    -------
    tuple of arrays
        Two masks of shape (rows,); no row is in both.
    """
    held, valid = np.zeros(rows, bool), np.zeros(rows, bool)
    held[np.random.RandomState(rule.seed).permutation(rows)[: math.ceil(rule.holdout * rows)]] = True
    rest = np.flatnonzero(~held)
    drawn = np.random.RandomState(rule.seed + 1).permutation(len(rest))[: math.ceil(rule.validation * len(rest))]
    valid[rest[drawn]] = True
    return held, valid


def time_cut(times: npt.NDArray[np.float64 | np.int64], fraction: float) -> np.float64 | np.int64:
    """Find the time from which on at least this fraction of rows lies; rows at that very time are not parted.

    If that is the earliest time of all, the next one is taken, if there is one: some rows must be before the cut.

    Parameters
    ----------
    times
        Shape (n,), in any order.
    fraction
        More than 0, less than 1.
    """
    earlier = len(times) - math.ceil(fraction * len(times))
    cut = np.partition(times, earlier)[earlier]
    later = times[times > cut]
    return later.min() if len(later) and cut == times.min() else cut


class _Rows:
    """The rows of a commit, by arrival, with the columns and types that the spec gives them."""

    def __init__(self, lake: Lake, commit: CommitId, spec: DatasetSpec, folder: Path) -> None:
        import pyarrow as pa

        self._lake, self._commit, self._spec, self._folder = lake, commit, spec, folder
        time = (spec.split.column,) if isinstance(spec.split, TimeSplit) else ()
        self._names = list(dict.fromkeys((*spec.features.all, spec.target.column, *spec.slices, *time)))
        # One type a kind, so that arrivals whose files differ in theirs (int32, int64) go together.
        types = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string(), "timestamp": pa.timestamp("us"), "boolean": pa.bool_()}
        self._types: dict[str, pa.DataType | None] = {name: types.get(spec.clean.columns[name].type) for name in self._names}

    def times(self, arrival: str, column: str) -> npt.NDArray[np.float64 | np.int64]:
        """Values of the column that rows are split by."""
        return as_times(self._read(arrival, [column]).column(0))

    def table(self, arrival: str) -> pa.Table:
        """All columns; the file is then deleted."""
        table = self._read(arrival, self._names)
        (self._folder / f"{arrival}.parquet").unlink()
        self._require_target(arrival, table)
        return table

    def _read(self, arrival: str, names: Sequence[str]) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._folder / f"{arrival}.parquet"
        if not path.exists():
            self._lake.download(self._commit, f"clean/{arrival}.parquet", path)
        table = pq.ParquetFile(path).read(columns=list(names))
        missing = [name for name in names if name not in table.column_names]
        if missing:
            raise DataError(f"{self._lake.name} {arrival}: the clean rows have no column {', '.join(missing)}, which the spec learns from.")
        for position, name in enumerate(table.column_names):
            wanted, column = self._types[name], table.column(name)
            try:
                if wanted is not None and column.type != wanted:
                    table = table.set_column(position, name, column.cast(wanted))
                else:
                    self._types[name] = column.type
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(f"{self._lake.name} {arrival}: clean column {name} is {column.type}, no {wanted}: {error}") from error
        return table.select(list(names)).replace_schema_metadata(None)

    def _require_target(self, arrival: str, table: pa.Table) -> None:
        import pyarrow.compute

        pc: Any = pyarrow.compute  # its functions are made when it is imported
        target = self._spec.target.column
        finite = pc.fill_null(pc.is_finite(table.column(target)), False)
        bad = np.flatnonzero(~np.asarray(finite))
        if len(bad):
            raise DataError(
                f"{self._lake.name} {arrival}: {len(bad):,} of {table.num_rows:,} clean rows have no {target}, which is the target "
                f"(first: row {bad[0] + 1:,}). Have transform.sql leave them out, push it (lakeline dataset push {self._lake.name}) "
                f"and run the arrival again."
            )


def as_times(column: pa.ChunkedArray) -> npt.NDArray[np.float64 | np.int64]:
    """Turn timestamps (into microseconds since 1970) or numbers into an array that can be compared.

    Raises
    ------
    DataError
        If there are nulls or NaN, which are before or after nothing.
    """
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # its functions are made when it is imported
    nulls = np.flatnonzero(np.asarray(pc.is_null(column, nan_is_null=True)))
    if len(nulls):
        raise DataError(f"{len(nulls):,} of {len(column):,} rows have no time to split them by (first: row {nulls[0] + 1:,}).")
    return np.asarray(column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column)


def _choose(lake: Lake, commit: str, patterns: str) -> tuple[str, ...]:
    known = [entry.path.removeprefix("clean/").removesuffix(".parquet") for entry in lake.ls(commit, "clean/")]
    if not known:
        raise DataError(f"{lake.name}: commit {commit[:12]} has no clean rows. Bring some: lakeline run data --dataset {lake.name}")
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    chosen = tuple(arrival for arrival in known if any(fnmatch.fnmatchcase(arrival, pattern) for pattern in wanted))
    if not chosen:
        raise UsageError(f"{lake.name}: no arrival at {commit[:12]} matches {patterns!r}. There are: {', '.join(known)}.")
    return chosen


def _write(rows: _Rows, arrivals: Sequence[str], rule: RandomSplit | TimeSplit, train: Path, holdout: Path) -> tuple[int, int, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cuts = _cuts(rows, arrivals, rule) if isinstance(rule, TimeSplit) else None
    writers: dict[Path, pq.ParquetWriter] = {}
    counts = [0, 0, 0]

    def append(path: Path, table: pa.Table) -> None:
        if path not in writers:
            path.parent.mkdir(parents=True, exist_ok=True)
            writers[path] = pq.ParquetWriter(path, table.schema, compression="zstd")
        writers[path].write_table(table)

    try:
        for arrival in arrivals:
            table = rows.table(arrival)
            if isinstance(rule, TimeSplit) and cuts is not None:
                times = as_times(table.column(rule.column))
                held, valid = times >= cuts[1], (times >= cuts[0]) & (times < cuts[1])
            else:
                held, valid = random_masks(table.num_rows, rule)  # type: ignore[arg-type]
            rest = table.append_column(VALIDATION, pa.array(valid)).filter(pa.array(~held))
            append(train, rest)
            append(holdout, table.filter(pa.array(held)))
            counts = [counts[0] + rest.num_rows, counts[1] + int(held.sum()), counts[2] + int(valid.sum())]
    finally:
        for writer in writers.values():
            writer.close()
    total = counts[0] + counts[1]
    which = ", ".join(arrivals)
    if total < FEWEST_ROWS:
        raise DataError(f"{which}: {total} clean rows are too few to learn from and to hold some out; {FEWEST_ROWS} are the least.")
    if not min(counts) or counts[0] == counts[2]:
        raise DataError(
            f"{which}: splitting {total:,} rows leaves {counts[0] - counts[2]:,} to learn from, {counts[2]:,} for validation "
            f"and {counts[1]:,} held out; each needs some. Change `split` in the spec."
        )
    return counts[0], counts[1], counts[2]


def _cuts(rows: _Rows, arrivals: Sequence[str], rule: TimeSplit) -> tuple[np.float64 | np.int64, np.float64 | np.int64]:
    """Times from which on rows are for validation, and held out. Of all rows, the times alone are in memory at once."""
    times = np.concatenate([rows.times(arrival, rule.column) for arrival in arrivals])
    if not len(times):
        return np.int64(0), np.int64(0)
    held = time_cut(times, rule.holdout)
    rest = times[times < held]
    return (time_cut(rest, rule.validation) if len(rest) else held), held
