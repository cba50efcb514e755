"""From raw feature columns to a number: the preprocessing and the estimator of a dataset spec, as one scikit-learn pipeline."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal

from lakeline.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from lakeline.data.spec import DatasetSpec

FeatureType = Literal["text", "number"]
"""How a model takes a column: as text, or as a 64-bit float (which can hold a null, where an integer can't)."""

LINEAR = frozenset({"linear_regression", "ridge", "lasso"})
"""Estimators whose fit depends on equal rows only through their number and their mean target."""

_MOST_CATEGORIES = 254
"""Histogram gradient boosting takes 255 bins a column; one is for what it never saw."""


def feature_types(spec: DatasetSpec) -> dict[str, FeatureType]:
    """How a model of this data set takes each feature, in the order of the spec.

    Raises
    ------
    SpecError
        If a feature is a timestamp.
    """
    types: dict[str, FeatureType] = {}
    for name in spec.features.all:
        kind = spec.clean.columns[name].type
        if kind == "timestamp":
            raise SpecError(f"{spec.name}: feature {name!r} is a timestamp. Derive numbers or text from it in transform.sql.")
        types[name] = "text" if kind in ("text", "any") else "number"
    return types


def pipeline(spec: DatasetSpec, estimator: str, parameters: Mapping[str, Any]) -> Pipeline:
    """Preprocessing and estimator, not fitted yet.

    Linear models get one-hot columns (sparse; a category never seen is all zeros) and standardised numbers, whose
    nulls are filled with the median. Trees get ordinal codes, with a category never seen as null, and numbers as they are:
    they handle nulls by themselves, and histogram gradient boosting treats the codes as categories, not as numbers.

    Parameters
    ----------
    spec
        Says the features and the seed.
    estimator, parameters
        Name of an estimator and scikit-learn's parameters for it.

    Returns
    -------
    Pipeline
        Takes a DataFrame of the raw feature columns, typed as `feature_types` says; predicts the target.

    Raises
    ------
    SpecError
        If the estimator has no such parameter.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    categorical, numeric = _linear_columns() if estimator in LINEAR else _tree_columns(estimator)
    parts = [("categorical", categorical, list(spec.features.categorical)), ("numeric", numeric, list(spec.features.numeric))]
    columns = ColumnTransformer([part for part in parts if part[2]], sparse_threshold=1.0, verbose_feature_names_out=False)
    return Pipeline([("columns", columns), ("model", _estimator(spec, estimator, parameters))])


def _linear_columns() -> tuple[Any, Any]:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    return OneHotEncoder(handle_unknown="ignore"), Pipeline([("fill", fill), ("scale", StandardScaler())])


def _tree_columns(estimator: str) -> tuple[Any, Any]:
    import numpy as np
    from sklearn.preprocessing import OrdinalEncoder

    most = _MOST_CATEGORIES if estimator == "hist_gradient_boosting" else None
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, max_categories=most, dtype=np.float64
    )
    return encoder, "passthrough"


def _estimator(spec: DatasetSpec, name: str, parameters: Mapping[str, Any]) -> Any:
    seed: dict[str, Any] = {"random_state": spec.search.seed}
    defaults: dict[str, dict[str, Any]] = {
        "linear_regression": {"tol": 1e-12},  # of lsqr, used for sparse columns: folded and unfolded rows then agree to about 1e-9
        "ridge": {"tol": 1e-10},
        "lasso": {"tol": 1e-6, "max_iter": 10_000},
        "decision_tree": seed,
        "random_forest": seed,
        "hist_gradient_boosting": seed | {"categorical_features": list(range(len(spec.features.categorical))) or None},
    }
    kind = estimator_class(name)
    if kind is None:
        raise SpecError(f"{spec.name}: search.estimators: there is no estimator {name!r}.")
    known = kind().get_params()
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        lacks = f"{name} has no parameter {', '.join(map(repr, unknown))}"
        raise SpecError(f"{spec.name}: search.estimators: {lacks} (there are: {', '.join(sorted(known))}).")
    return kind(**{**defaults[name], **parameters})


def estimator_class(name: str) -> Any:
    """Class of scikit-learn that an estimator's name stands for; None if it is no such name. Only that one is imported."""
    modules = {
        "linear_regression": ("sklearn.linear_model", "LinearRegression"),
        "ridge": ("sklearn.linear_model", "Ridge"),
        "lasso": ("sklearn.linear_model", "Lasso"),
        "decision_tree": ("sklearn.tree", "DecisionTreeRegressor"),
        "random_forest": ("sklearn.ensemble", "RandomForestRegressor"),
        "hist_gradient_boosting": ("sklearn.ensemble", "HistGradientBoostingRegressor"),
    }
    if name not in modules:
        return None
    module, kind = modules[name]
    return getattr(importlib.import_module(module), kind)


def fit(model: Pipeline, rows: pd.DataFrame, target: np.ndarray, weight: np.ndarray | None = None) -> None:
    """Fit a pipeline in place, on one thread, so that the same rows give the same model to the last bit.

    Parameters
    ----------
    model
        From `pipeline`.
    rows
        Raw feature columns, shape (m, k).
    target
        Shape (m,).
    weight
        Shape (m,): how many rows each row stands for; None for one each. Medians, means and deviations of the
        numeric columns are then those of the rows that were folded.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        if weight is None:
            model.fit(rows, target)
            return
        columns = model.named_steps["columns"]
        columns.fit(rows)
        for name, numeric, names in columns.transformers_:
            if name == "numeric" and hasattr(numeric, "named_steps"):
                _weigh(numeric, rows.loc[:, list(names)], weight)
        model.named_steps["model"].fit(columns.transform(rows), target, sample_weight=weight)


def _weigh(numeric: Pipeline, rows: pd.DataFrame, weight: np.ndarray) -> None:
    """Give the numeric columns' fitted steps the statistics of the rows before they were folded."""
    import numpy as np

    fill, scale = numeric.named_steps["fill"], numeric.named_steps["scale"]
    values = rows.to_numpy(dtype=np.float64)
    for column in range(values.shape[1]):
        present = ~np.isnan(values[:, column])
        if present.any():
            fill.statistics_[column] = _median(values[present, column], weight[present])
    scale.fit(fill.transform(rows), sample_weight=weight)


def _median(values: np.ndarray, counts: np.ndarray) -> float:
    """Median of values which each occur so many times."""
    import numpy as np

    order = np.argsort(values, kind="stable")
    ends = np.cumsum(counts[order])
    n = int(ends[-1])
    middle = np.searchsorted(ends, [(n - 1) // 2, n // 2], side="right")
    return float(values[order][middle].mean())
