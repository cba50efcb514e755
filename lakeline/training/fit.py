"""Fit the best trial of a search on all training rows."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeline.errors import DataError
from lakeline.training.score import better_by
from lakeline.training.search import TrialResult, failures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from lakeline.data.spec import DatasetSpec
    from lakeline.training.fold import Folded
    from lakeline.training.model import Example

_EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class Fitted:
    """The model that was fitted.

    Attributes
    ----------
    best
        The trial whose estimator and parameters it has.
    rows, folded_rows
        Rows it learned from, before and after equal ones were folded.
    seconds
        How long it took.
    seed
        Of the estimator, and of the search.
    """

    best: TrialResult
    rows: int
    folded_rows: int
    seconds: float
    seed: int


def fit(dataset: str, commit: str, train: Path, results: Sequence[str], model: Path) -> Fitted:
    """Fit the best trial of a search on all training rows, those that trials were compared on included.

    Parameters
    ----------
    dataset, commit
        Say which spec.
    train
        Training rows, Parquet.
    results
        A TrialResult as JSON for each trial.
    model
        Folder to write the model and its card to.

    Returns
    -------
    Fitted
        The trial that won, and what it was fitted on.

    Raises
    ------
    DataError
        If all trials failed: says why.
    """
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import open_lake

    spec = pinned_spec(open_lake(dataset), commit).spec
    return fit_best(spec, commit, train, [TrialResult.from_json(result) for result in results], model)


def choose(spec: DatasetSpec, results: Sequence[TrialResult]) -> TrialResult:
    """Pick the best trial; trial 0 stays the choice unless one beats it by more than the spec's tolerance.

    Raises
    ------
    DataError
        If all trials failed, or there is none.
    """
    good = sorted((result for result in results if not result.error), key=lambda result: result.number)
    if not good:
        raise DataError(f"{spec.name}: no model was made. {failures(vars(result) for result in results) or 'There was no trial'}.")
    metric, best = spec.metric.name, good[0]
    for result in good[1:]:
        if better_by(metric, result.metrics, best.metrics) > 0:
            best = result
    baseline = good[0]
    if baseline.number == 0 and better_by(metric, best.metrics, baseline.metrics) <= spec.search.tolerance:
        return baseline
    return best


def fit_best(spec: DatasetSpec, commit: str, train: Path, results: Sequence[TrialResult], folder: Path) -> Fitted:
    """Choose among the results of trials, fit, and write the model and its card into a folder.

    Raises
    ------
    DataError
        As `choose`.
    """
    from lakeline.training import features, fold
    from lakeline.training.model import Card, save

    clock = time.perf_counter()
    best = choose(spec, results)
    types = features.feature_types(spec)
    pipeline = features.pipeline(spec, best.estimator, best.parameters)
    rows = fold.rows_to_fit(train, types, spec.target.column, exact=best.estimator in features.LINEAR)
    features.fit(pipeline, rows.features, rows.target, rows.weight)
    card = Card(
        dataset=spec.name,
        commit=commit,
        estimator=best.estimator,
        parameters=best.parameters,
        trial=best.number,
        seed=spec.search.seed,
        features=types,
        optional=[name for name in types if spec.clean.columns[name].nullable],
        target=spec.target.column,
        unit=spec.target.unit,
        rows=rows.rows,
        folded_rows=len(rows.target),
        train=_train_metrics(pipeline, rows),
        example=_example(pipeline, rows.features),
    )
    save(pipeline, card, folder)
    return Fitted(best, rows.rows, len(rows.target), time.perf_counter() - clock, spec.search.seed)


def _train_metrics(pipeline: Pipeline, rows: Folded) -> dict[str, float]:
    """RMSE and R² on the rows that were learned from, which folded rows and their spread say exactly."""
    import numpy as np

    from lakeline.training.score import predict

    weight: np.ndarray = np.ones(len(rows.target)) if rows.weight is None else rows.weight
    predicted = predict(pipeline, rows.features, list(rows.features))
    mean = float(np.sum(weight * rows.target)) / rows.rows
    squares = float(np.sum(weight * (rows.target - predicted) ** 2)) + rows.within
    spread = float(np.sum(weight * (rows.target - mean) ** 2)) + rows.within
    return {"rmse": math.sqrt(squares / rows.rows), "r2": 1 - squares / spread if spread else float(squares == 0)}


def _example(pipeline: Pipeline, rows: pd.DataFrame) -> Example:
    import numpy as np

    from lakeline.training.model import Example, plain_rows
    from lakeline.training.score import predict

    few = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, _EXAMPLE_ROWS).astype(int))]
    return Example(list(rows), plain_rows(few), [float(value) for value in predict(pipeline, few, list(rows))])
