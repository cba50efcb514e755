"""The step that splits the clean rows of a commit into those to learn from and those held out."""

from __future__ import annotations

import fnmatch
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lakeline.data.spec import DatasetSpec, RandomSplit, TimeSplit
from lakeline.data.specfile import pinned_spec
from lakeline.errors import DataError, UsageError
from lakeline.lake import Lake, open_lake

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Times = npt.NDArray[np.float64 | np.int64]

VALIDATION = "_validation"
"""Boolean column of train.parquet: rows that trials are compared on. It is called otherwise where the rows have one of that name."""
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
        Parquet files to write. The last column of the former, `_validation`, marks the rows that trials are compared on.

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

        def fetch(arrival: str) -> Path:
            return lake.download(commit, f"clean/{arrival}.parquet", Path(folder) / f"{arrival}.parquet")

        shares = split_files(definition.spec, chosen, fetch, train, holdout)
    lineage = {
        "dataset": dataset,
        "data_commit": commit,
        "data_arrivals": ",".join(chosen),
        "spec_digest": definition.digest,
        "split": definition.spec.split.model_dump_json(),
    }
    return Split(shares.train, shares.holdout, shares.validation, chosen, lineage)


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


def time_cut(times: Times, fraction: float) -> np.float64 | np.int64:
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


def mark(names: Sequence[str]) -> str:
    """Name of the column of train.parquet, its last one, that marks the rows which trials are compared on: none that the rows have."""
    name = VALIDATION
    while name in names:
        name = f"_{name}"
    return name


@dataclass(frozen=True)
class Shares:
    """How many rows there are to learn from (those for validation among them), held out, and for validation."""

    train: int = 0
    holdout: int = 0
    validation: int = 0

    def __add__(self, other: Shares) -> Shares:
        return Shares(self.train + other.train, self.holdout + other.holdout, self.validation + other.validation)

    def problem(self) -> str | None:
        """Why nothing can be learned from such a split, if so."""
        total = self.train + self.holdout
        if total < FEWEST_ROWS:
            return f"{total} clean rows are too few to learn from and to hold some out; {FEWEST_ROWS} are the least."
        if not min(self.train, self.holdout, self.validation) or self.train == self.validation:
            return (
                f"splitting {total:,} rows leaves {self.train - self.validation:,} to learn from, {self.validation:,} for validation "
                f"and {self.holdout:,} held out; each needs some. Change `split` in the spec."
            )
        return None


def random_shares(rows: int, rule: RandomSplit) -> Shares:
    """How many rows of an arrival `random_masks` takes for what."""
    holdout = math.ceil(rule.holdout * rows)
    return Shares(rows - holdout, holdout, math.ceil(rule.validation * (rows - holdout)))


def time_shares(times: Times, rule: TimeSplit) -> Shares:
    """How many of all rows a split by time takes for what."""
    valid, held = _cuts(times, rule)
    holdout = int((times >= held).sum())
    return Shares(len(times) - holdout, holdout, int(((times >= valid) & (times < held)).sum()))


def _choose(lake: Lake, commit: str, patterns: str) -> tuple[str, ...]:
    known = [entry.path.removeprefix("clean/").removesuffix(".parquet") for entry in lake.ls(commit, "clean/")]
    if not known:
        raise DataError(f"{lake.name}: commit {commit[:12]} has no clean rows. Bring some: lakeline run data --dataset {lake.name}")
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    chosen = tuple(arrival for arrival in known if any(fnmatch.fnmatchcase(arrival, pattern) for pattern in wanted))
    if not chosen:
        raise UsageError(f"{lake.name}: no arrival at {commit[:12]} matches {patterns!r}. There are: {', '.join(known)}.")
    return chosen


def split_files(spec: DatasetSpec, arrivals: Sequence[str], fetch: Callable[[str], Path], train: Path, holdout: Path) -> Shares:
    """Split clean rows that are files.

    Parameters
    ----------
    spec, arrivals, train, holdout
        As for `split`.
    fetch
        Gives the clean rows of an arrival, as a file that is deleted when it was split.

    Raises
    ------
    DataError
        As `split`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lakeline.data.reader import Reader

    reader, rule = Reader(spec), spec.split
    files = {arrival: fetch(arrival) for arrival in arrivals} if isinstance(rule, TimeSplit) else {}
    # Of all rows, the times alone are in memory at once.
    times = {arrival: reader.times(path, arrival, rule.column) for arrival, path in files.items()} if isinstance(rule, TimeSplit) else {}
    cuts = _cuts(np.concatenate(list(times.values())), rule) if isinstance(rule, TimeSplit) else None
    writers: dict[Path, pq.ParquetWriter] = {}
    shares = Shares()

    def append(path: Path, table: pa.Table) -> None:
        if path not in writers:
            path.parent.mkdir(parents=True, exist_ok=True)
            writers[path] = pq.ParquetWriter(path, table.schema, compression="zstd")
        writers[path].write_table(table)

    try:
        for arrival in arrivals:
            path = files.get(arrival) or fetch(arrival)
            table = reader.table(path, arrival)
            path.unlink()
            if cuts is not None:
                at = times.pop(arrival)
                held, valid = at >= cuts[1], (at >= cuts[0]) & (at < cuts[1])
            else:
                held, valid = random_masks(table.num_rows, rule)  # type: ignore[arg-type]
            rest = table.append_column(mark(table.column_names), pa.array(valid)).filter(pa.array(~held))
            append(train, rest)
            append(holdout, table.filter(pa.array(held)))
            shares += Shares(rest.num_rows, int(held.sum()), int(valid.sum()))
    finally:
        for writer in writers.values():
            writer.close()
    problem = shares.problem()
    if problem:
        raise DataError(f"{', '.join(arrivals)}: {problem}")
    return shares


def _cuts(times: Times, rule: TimeSplit) -> tuple[np.float64 | np.int64, np.float64 | np.int64]:
    """Times from which on rows are for validation, and held out."""
    if not len(times):
        return np.int64(0), np.int64(0)
    held = time_cut(times, rule.holdout)
    rest = times[times < held]
    return (time_cut(rest, rule.validation) if len(rest) else held), held
