"""Fold rows with equal features into one weighted row each, which leaves a least-squares fit as it is and makes it cheap."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeline.data.quoting import quote
from lakeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb
    import numpy as np
    import pandas as pd

    from lakeline.training.features import FeatureType

WORTH_FOLDING = 0.5
"""Rows are folded when fewer than this fraction of them are left."""


@dataclass(frozen=True)
class Folded:
    """Rows to fit on.

    Attributes
    ----------
    features
        DataFrame of shape (m, k): text columns as str or None, numbers as float64.
    target
        Shape (m,): mean target of the rows that each row stands for, in the unit that the model predicts.
    weight
        Shape (m,): how many rows each row stands for; None if each stands for itself.
    rows
        Number n >= m of rows before folding.
    within
        Sum over all n rows of (target - mean of its group)^2: what no function of the features can explain.
    """

    features: pd.DataFrame
    target: np.ndarray
    weight: np.ndarray | None
    rows: int
    within: float


def connect() -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory, on one thread: sums are then taken in the order of the rows, the same every time."""
    import duckdb

    return duckdb.connect(":memory:", config={"threads": 1, "temp_directory": tempfile.gettempdir()})


def fold(path: Path, features: Mapping[str, FeatureType], target: str, where: str = "true") -> Folded:
    """Fold rows with equal features into one weighted row each.

    Least squares on the folded rows has the same normal equations as on the rows themselves,
    so the fit is the same, not an approximation: for a group g of n_g rows with mean target m_g,
    sum_i (y_i - f(x_g))^2 = n_g (m_g - f(x_g))^2 + const.

    Parameters
    ----------
    path
        Parquet file of n rows.
    features
        Columns that decide which rows are equal, and how each is read. Nulls are equal to each other.
    target
        Numeric column, in the unit that the model predicts.
    where
        SQL condition on the rows to take.

    Returns
    -------
    Folded
        m <= n rows with weight (count), mean target and the within-group sum of squares, sorted by the features; the same
        bit for bit for the same file.

    Raises
    ------
    DataError
        If `target` has nulls, NaN or infinities: says how many, and in which row the first one is. If no row is left.
    """
    database = connect()
    rows, _ = _count(database, path, features, target, where)
    names = ", ".join(quote(name) for name in features)
    table = database.execute(
        f"""
        SELECT {names}, avg(_target) AS _mean, count(*)::DOUBLE AS _weight, var_pop(_target) * count(*) AS _within
        FROM (SELECT {columns(features)}, {quote(target)}::DOUBLE AS _target FROM read_parquet(?) WHERE {where})
        GROUP BY ALL ORDER BY {names}
        """,  # noqa: S608 (names are quoted, the condition is ours)
        [str(path)],
    ).df()
    mean, weight, within = (table.pop(name).to_numpy() for name in ("_mean", "_weight", "_within"))
    return Folded(table, mean, weight, rows, float(within.sum()))


def rows_to_fit(path: Path, features: Mapping[str, FeatureType], target: str, where: str = "true", *, exact: bool = True) -> Folded:
    """Rows to fit on: folded where that is exact and leaves notably fewer of them, else as they are.

    Parameters
    ----------
    path, features, target, where
        As for `fold`.
    exact
        Whether the fit depends on equal rows only through their number and their mean target.

    Returns
    -------
    Folded
        With `weight` None if the rows are as they were.

    Raises
    ------
    DataError
        As `fold`.
    """
    database = connect()
    rows, distinct = _count(database, path, features, target, where)
    if exact and distinct < WORTH_FOLDING * rows:
        return fold(path, features, target, where)
    table = database.execute(
        f"SELECT {columns(features)}, {quote(target)}::DOUBLE AS _target FROM read_parquet(?) WHERE {where}",  # noqa: S608
        [str(path)],
    ).df()
    values = table.pop("_target").to_numpy()
    return Folded(table, values, None, rows, 0.0)


def read(path: Path, features: Mapping[str, FeatureType], target: str, *, text: Sequence[str] = (), where: str = "true") -> pd.DataFrame:
    """Read rows to score, in the order of the file.

    Parameters
    ----------
    path, features, target, where
        As for `fold`.
    text
        More columns, read as text; each is called `_slice_` and its name.

    Returns
    -------
    DataFrame
        Feature columns, `_target` (float64) and the columns of `text`.

    Raises
    ------
    DataError
        As `fold`.
    """
    database = connect()
    _count(database, path, features, target, where)
    more = "".join(f", {quote(name)}::VARCHAR AS {quote('_slice_' + name)}" for name in text)
    query = f"SELECT {columns(features)}, {quote(target)}::DOUBLE AS _target{more} FROM read_parquet(?) WHERE {where}"  # noqa: S608
    return database.execute(query, [str(path)]).df()


def column_names(path: Path) -> list[str]:
    """Columns of a Parquet file."""
    return [str(row[0]) for row in connect().execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()]


def _count(
    database: duckdb.DuckDBPyConnection, path: Path, features: Mapping[str, FeatureType], target: str, where: str
) -> tuple[int, int]:
    """Count the rows and, about, those with different features; refuse what can't be learned from."""
    import duckdb

    bad = f"NOT coalesce(isfinite({quote(target)}::DOUBLE), false)"
    query = f"""
        SELECT count(*), approx_count_distinct(hash({", ".join(quote(name) for name in features)})),
            count(*) FILTER ({bad}), min(file_row_number) FILTER ({bad})
        FROM read_parquet(?, file_row_number = true) WHERE {where}
    """  # noqa: S608
    try:
        found = database.execute(query, [str(path)]).fetchone()
    except duckdb.Error as error:
        raise DataError(f"{path.name}: can't read {target!r} and the features of it: {str(error).splitlines()[0]}") from error
    rows, distinct, missing, first = found or (0, 0, 0, 0)
    if missing:
        raise DataError(
            f"{path.name}: {missing:,} of {rows:,} rows have no finite number in the target {target!r} (first: row {first + 1:,}). "
            "Filter them out in transform.sql, or check for them in the spec's clean columns."
        )
    if not rows:
        raise DataError(
            f"{path.name}: no rows to learn from or to score. Check the arrivals that were asked for, and the filters of transform.sql."
        )
    return int(rows), int(distinct)


def columns(features: Mapping[str, FeatureType]) -> str:
    """SQL that reads features as a model takes them."""
    sql = {"text": "VARCHAR", "number": "DOUBLE"}
    return ", ".join(f"{quote(name)}::{sql[kind]} AS {quote(name)}" for name, kind in features.items())
