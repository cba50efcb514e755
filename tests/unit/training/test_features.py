"""One pipeline from raw columns to a number, that takes what it has never seen."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lakeline.data.spec import DatasetSpec
from lakeline.errors import SpecError
from lakeline.training import features

ESTIMATORS: list[tuple[str, dict[str, Any]]] = [
    ("linear_regression", {}),
    ("ridge", {"alpha": 1.0}),
    ("lasso", {"alpha": 0.01}),
    ("decision_tree", {"max_depth": 5}),
    ("random_forest", {"n_estimators": 5}),
    ("hist_gradient_boosting", {"max_iter": 10}),
]


def _frame(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.loc[:, ["route", "wet", "load"]].astype({"wet": "float64", "load": "float64"})


@pytest.mark.parametrize(("estimator", "parameters"), ESTIMATORS)
def test_a_category_never_seen_and_a_null_are_predicted_all_the_same(
    estimator: str, parameters: dict[str, Any], make_spec: Callable[..., DatasetSpec], make_rows: Callable[..., pd.DataFrame]
):
    rows = make_rows(600)
    model = features.pipeline(make_spec(), estimator, parameters)
    features.fit(model, _frame(rows), rows["minutes"].to_numpy())

    strange = pd.DataFrame({"route": ["q", None, "a"], "wet": [0.0, 1.0, np.nan], "load": [np.nan, 99.0, 1.0]})

    assert np.isfinite(model.predict(strange)).all()


@pytest.mark.parametrize(("estimator", "parameters"), ESTIMATORS)
def test_the_same_rows_give_the_same_bits(
    estimator: str, parameters: dict[str, Any], make_spec: Callable[..., DatasetSpec], make_rows: Callable[..., pd.DataFrame]
):
    rows = make_rows(600)
    models = [features.pipeline(make_spec(), estimator, parameters) for _ in range(2)]
    for model in models:
        features.fit(model, _frame(rows), rows["minutes"].to_numpy())

    first, second = (model.predict(_frame(rows)) for model in models)

    assert first.tobytes() == second.tobytes()


def test_more_categories_than_boosting_takes_are_grouped(make_spec: Callable[..., DatasetSpec]):
    chance = np.random.default_rng(0)
    rows = pd.DataFrame({"route": chance.integers(0, 700, 5000).astype(str), "wet": 0.0, "load": 1.0})
    model = features.pipeline(make_spec(), "hist_gradient_boosting", {"max_iter": 5})

    features.fit(model, rows, chance.normal(size=5000))

    assert np.isfinite(model.predict(rows)).all()


def test_medians_of_folded_rows_are_those_of_the_rows(make_spec: Callable[..., DatasetSpec]):
    spec = make_spec(features={"numeric": ["load"]})
    loads = np.array([1.0, 2.0, 7.0, np.nan])
    counts = np.array([3.0, 2.0, 1.0, 4.0])
    whole = features.pipeline(spec, "ridge", {"alpha": 1.0})
    folded = features.pipeline(spec, "ridge", {"alpha": 1.0})
    target = np.array([1.0, 5.0, 2.0, 3.0])
    features.fit(whole, pd.DataFrame({"load": np.repeat(loads, counts.astype(int))}), np.repeat(target, counts.astype(int)))
    features.fit(folded, pd.DataFrame({"load": loads}), target, counts)

    medians = [model.named_steps["columns"].named_transformers_["numeric"].named_steps["fill"].statistics_[0] for model in (whole, folded)]

    assert medians[0] == medians[1] == 1.5


def test_a_misspelt_parameter_is_refused_with_those_there_are(make_spec: Callable[..., DatasetSpec]):
    with pytest.raises(SpecError, match=r"ferries: search.estimators: ridge has no parameter 'alhpa' \(there are: alpha, "):
        features.pipeline(make_spec(), "ridge", {"alhpa": 1})


def test_a_timestamp_is_no_feature(make_spec: Callable[..., DatasetSpec]):
    with pytest.raises(SpecError, match="feature 'at' is a timestamp"):
        features.feature_types(make_spec(features={"categorical": ["at"]}))
