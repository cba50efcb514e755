"""Fold rows with equal features into one weighted row each, which leaves a least-squares fit as it is and makes it cheap."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lakeline.data.names import numbered
from lakeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    import duckdb
    import numpy as np
    import pandas as pd

    from lakeline.training.features import FeatureType

    Part = Literal["all", "fit", "validation"]

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


@dataclass(frozen=True)
class Labelled:
    """Rows to score, in the order of the file.

    Attributes
    ----------
    features
        DataFrame of shape (n, k): text columns as str or None, numbers as float64.
    target
        Shape (n,), in the unit that the model predicts.
    text
        Values of more columns by name, each of shape (n,).
    """

    features: pd.DataFrame
    target: np.ndarray
    text: dict[str, pd.Series]


def fold(path: Path, features: Mapping[str, FeatureType], target: str, part: Part = "all") -> Folded:
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
    part
        Which rows to take: of training rows, the last column says which are for validation.

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
    source = _Source(path, features, target, part)
    rows, _ = source.count()
    names = ", ".join(source.features)
    table = source.frame(f"""
        SELECT {names}, avg(y) AS mean, count(*)::DOUBLE AS weight, var_pop(y) * count(*) AS within
        FROM ({source.select()}) GROUP BY ALL ORDER BY {names}
        """)  # noqa: S608 (names are ours)
    mean, weight, within = (table.pop(name).to_numpy() for name in ("mean", "weight", "within"))
    return Folded(_named(table, features), mean, weight, rows, float(within.sum()))


def rows_to_fit(path: Path, features: Mapping[str, FeatureType], target: str, part: Part = "all", *, exact: bool = True) -> Folded:
    """Rows to fit on: folded where that is exact and leaves notably fewer of them, else as they are.

    Parameters
    ----------
    path, features, target, part
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
    source = _Source(path, features, target, part)
    rows, distinct = source.count()
    if exact and distinct < WORTH_FOLDING * rows:
        return fold(path, features, target, part)
    table = source.frame(source.select())
    values = table.pop("y").to_numpy()
    return Folded(_named(table, features), values, None, rows, 0.0)


def read(path: Path, features: Mapping[str, FeatureType], target: str, *, text: Sequence[str] = (), part: Part = "all") -> Labelled:
    """Read rows to score, in the order of the file.

    Parameters
    ----------
    path, features, target, part
        As for `fold`.
    text
        More columns, read as text.

    Raises
    ------
    DataError
        As `fold`.
    """
    source = _Source(path, features, target, part)
    source.count()
    table = source.frame(source.select(text))
    values = table.pop("y").to_numpy()
    more = {name: table.pop(f"t{number}") for number, name in enumerate(text)}
    return Labelled(_named(table, features), values, more)


def require_readable(path: Path, features: Mapping[str, FeatureType], target: str, *, text: Sequence[str] = ()) -> None:
    """Read rows as `read` does, and keep none of them.

    Raises
    ------
    DataError
        As `fold`.
    """
    source = _Source(path, features, target, "all")
    source.count()
    source.ask(f"SELECT bit_xor(hash(read)) FROM ({source.select(text)}) AS read")  # noqa: S608 (names are ours)


def column_names(path: Path) -> list[str]:
    """Columns of a Parquet file."""
    import pyarrow.parquet as pq

    return list(pq.read_schema(path).names)


class _Source:
    """Some rows of a Parquet file in SQL, whose columns have names of ours: no name of a user's can be one of them."""

    def __init__(self, path: Path, features: Mapping[str, FeatureType], target: str, part: Part) -> None:
        names = column_names(path)
        self._path, self._names, self._types, self._target = path, names, features, target
        last = f"c{len(names) - 1}"
        self._where = {"all": "true", "fit": f"NOT {last}", "validation": last}[part]
        self._from = numbered("$path", len(names))
        self.features = [f"f{number}" for number in range(len(features))]
        self._database = connect()

    def select(self, text: Sequence[str] = ()) -> str:
        """SELECT of the features as a model takes them (f0, …), the target (y) and more columns as text (t0, …)."""
        sql = {"text": "VARCHAR", "number": "DOUBLE"}
        taken = [f"{self._column(name)}::{sql[kind]} AS f{number}" for number, (name, kind) in enumerate(self._types.items())]
        taken += [f"{self._column(self._target)}::DOUBLE AS y"]
        taken += [f"{self._column(name)}::VARCHAR AS t{number}" for number, name in enumerate(text)]
        return f"SELECT {', '.join(taken)} FROM {self._from} WHERE {self._where}"  # noqa: S608 (names are ours)

    def frame(self, query: str) -> pd.DataFrame:
        """Run a query."""
        return self.ask(query).df()

    def ask(self, query: str) -> Any:
        """Run a query; what can't be read is an error of the data."""
        import duckdb

        try:
            return self._database.execute(query, {"path": str(self._path)})
        except duckdb.Error as error:
            what = f"{self._path.name}: can't read {self._target!r} and the features of it"
            raise DataError(f"{what}: {str(error).splitlines()[0]}") from error

    def count(self) -> tuple[int, int]:
        """Count the rows and, about, those with different features; refuse what can't be learned from."""
        target = self._column(self._target)
        bad = f"NOT coalesce(isfinite({target}::DOUBLE), false)"
        query = f"""
            SELECT count(*), approx_count_distinct(hash({", ".join(self._column(name) for name in self._types)})),
                count(*) FILTER ({bad}), min(file_row_number) FILTER ({bad})
            FROM {self._from} WHERE {self._where}
        """  # noqa: S608 (names are ours)
        rows, distinct, missing, first = self.ask(query).fetchone() or (0, 0, 0, 0)
        if missing:
            raise DataError(
                f"{self._path.name}: {missing:,} of {rows:,} rows have no finite number in the target {self._target!r} "
                f"(first: row {first + 1:,}). Filter them out in transform.sql, or check for them in the spec's clean columns."
            )
        if not rows:
            raise DataError(
                f"{self._path.name}: no rows to learn from or to score. "
                "Check the arrivals that were asked for, and the filters of transform.sql."
            )
        return int(rows), int(distinct)

    def _column(self, name: str) -> str:
        if name not in self._names:
            raise DataError(f"{self._path.name}: there is no column {name!r}. There are: {', '.join(self._names)}.")
        return f"c{self._names.index(name)}"


def _named(table: pd.DataFrame, features: Mapping[str, FeatureType]) -> pd.DataFrame:
    table.columns = list(features)
    return table
