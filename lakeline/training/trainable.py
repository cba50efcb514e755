"""Prove that arrivals can be learned from before they are merged, with the code that will split them and fit on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lakeline.data.reader import Reader
from lakeline.data.spec import TimeSplit
from lakeline.data.split import Shares, random_shares, time_shares
from lakeline.errors import DataError
from lakeline.training.features import feature_types
from lakeline.training.fold import require_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lakeline.data.spec import DatasetSpec
    from lakeline.data.split import Times


def require_trainable(spec: DatasetSpec, files: Mapping[str, Path], others: Mapping[str, int], fetch: Callable[[str], Path]) -> None:
    """Refuse arrivals that would leave main with rows which no model can be learned from.

    Each column is read as the one type that the spec gives it, so arrivals which can each be read go together. What takes all of them is
    whether a split leaves rows of each kind. At random, their numbers say so. By time, it does of arrivals each of which can be split by
    itself; only where the new ones can't, such as those of a day where days are split, are the times of the others read.

    Parameters
    ----------
    spec
        The data set's.
    files
        Clean rows by arrival.
    others
        Number of clean rows of each other arrival that main has.
    fetch
        Gives the clean rows of one of those.

    Raises
    ------
    DataError
        If they can't be learned from: says why, where that is known in which row, and what to do.
    SpecError
        If the spec's features can't be.
    """
    reader, types = Reader(spec), feature_types(spec)
    shares = Shares()
    for arrival, path in files.items():
        rows = sum(batch.num_rows for batch in reader.batches(path, arrival))
        require_readable(path, types, spec.target.column, text=spec.slices)
        if not isinstance(spec.split, TimeSplit):
            shares += random_shares(rows, spec.split)
    if isinstance(spec.split, TimeSplit):
        rule = spec.split
        times = [reader.times(path, arrival, rule.column) for arrival, path in files.items()]
        shares = time_shares(np.concatenate(times), rule)
        if shares.problem() and others:
            times += [found for arrival in others if (found := _times(reader, fetch(arrival), arrival, rule.column)) is not None]
            shares = time_shares(np.concatenate(times), rule)
    else:
        for rows in others.values():
            shares += random_shares(rows, spec.split)
    problem = shares.problem()
    if problem:
        together = " with what main has" if others else ""
        more = f"More arrivals may be brought in by one run: lakeline run data --dataset {spec.name} --arrival FIRST..LAST"
        raise DataError(f"{spec.name} {', '.join(files)}{together}: {problem} {more}.")


def _times(reader: Reader, path: Path, arrival: str, column: str) -> Times | None:
    """Times of an arrival on main; None if a model can't learn from that one anyhow, which is no fault of the new ones."""
    try:
        return reader.times(path, arrival, column)
    except DataError:
        return None
