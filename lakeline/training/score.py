"""Predict and score: RMSE, MAE and R² of a model on rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

Metrics = dict[str, float]
"""rmse and mae in the unit of the target, r2 without one."""


def predict(model: Any, rows: pd.DataFrame, features: Sequence[str]) -> np.ndarray:
    """Predict each row; where rows repeat, each kind of row is predicted once.

    Parameters
    ----------
    model
        Anything whose `predict` takes a DataFrame of the features.
    rows
        Shape (n, k).
    features
        Columns of `rows` that the model takes, in its order.

    Returns
    -------
    ndarray
        Shape (n,), in the unit of the target.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    names = list(features)
    kinds = rows.groupby(names, sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(kinds, return_index=True)[1]
    with threadpool_limits(limits=1):
        if len(first) < len(rows) / 2:
            return np.asarray(model.predict(rows[names].iloc[first]), dtype=np.float64).ravel()[kinds]
        return np.asarray(model.predict(rows[names]), dtype=np.float64).ravel()


def score(actual: np.ndarray, predicted: np.ndarray) -> Metrics:
    """Score predictions.

    Parameters
    ----------
    actual, predicted
        Shape (n,), n >= 1, in the unit of the target.

    Returns
    -------
    dict
        rmse, mae, r2. Where all of `actual` are equal, r2 is 1 for perfect predictions, else 0.
    """
    import numpy as np

    error = predicted - actual
    squares, spread = float(np.sum(error**2)), float(np.sum((actual - actual.mean()) ** 2))
    r2 = 1 - squares / spread if spread else float(squares == 0)
    return {"rmse": math.sqrt(squares / len(actual)), "mae": float(np.mean(np.abs(error))), "r2": r2}


def better_by(metric: str, candidate: Metrics, other: Metrics) -> float:
    """By which fraction of the other's metric the candidate's is better; negative if it is worse.

    Parameters
    ----------
    metric
        rmse, mae or r2.
    candidate, other
        Metrics of two models on the same rows.
    """
    gain = candidate[metric] - other[metric] if metric == "r2" else other[metric] - candidate[metric]
    if not gain:
        return 0.0
    return gain / abs(other[metric]) if other[metric] else math.copysign(math.inf, gain)
