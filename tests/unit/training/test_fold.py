"""Folding equal rows leaves a least-squares fit as it is, and gives the same bits every time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeline.data.spec import DatasetSpec
from lakeline.errors import DataError
from lakeline.training import features, fold
from lakeline.training.features import FeatureType

TYPES: dict[str, FeatureType] = {"route": "text", "wet": "number", "load": "number"}


def test_folded_rows_keep_count_mean_and_spread_of_each_group(tmp_path: Path, make_rows: Callable[..., pd.DataFrame]):
    rows = make_rows(500)
    rows.to_parquet(tmp_path / "rows.parquet")

    folded = fold.fold(tmp_path / "rows.parquet", TYPES, "minutes")

    assert folded.weight is not None
    assert folded.rows == 500
    assert folded.weight.sum() == 500
    assert len(folded.target) == len(rows.groupby(["route", "wet", "load"], dropna=False))
    groups = rows.astype({"load": "float64"}).groupby(["route", "wet", "load"], dropna=False)["minutes"]
    assert np.sort(folded.target) == pytest.approx(np.sort(groups.mean().to_numpy()), rel=1e-12)
    assert folded.within == pytest.approx(((rows["minutes"] - groups.transform("mean")) ** 2).sum(), rel=1e-9)


def test_folding_twice_gives_the_same_bits(train: Path):
    first, second = (fold.fold(train, TYPES, "minutes", "fit") for _ in range(2))

    assert first.target.tobytes() == second.target.tobytes()
    assert first.within == second.within
    pd.testing.assert_frame_equal(first.features, second.features, check_exact=True)


_ROW = st.tuples(st.sampled_from(["x", "y", "z", None]), st.sampled_from([0.0, 1.0, 2.5, None]), st.floats(-100, 100))


@pytest.mark.parametrize(
    ("estimator", "parameters"), [("linear_regression", {}), ("ridge", {"alpha": 0.7}), ("lasso", {"alpha": 0.05, "tol": 1e-12})]
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_ROW, min_size=4, max_size=80))
def test_a_fit_on_folded_rows_predicts_as_one_on_the_rows_themselves(
    estimator: str, parameters: dict[str, Any], rows: list[tuple[Any, ...]], tmp_path: Path, make_spec: Callable[..., DatasetSpec]
):
    spec = make_spec(features={"categorical": ["route"], "numeric": ["load"]})
    types: dict[str, FeatureType] = {"route": "text", "load": "number"}
    path = tmp_path / "rows.parquet"
    frame = pd.DataFrame(rows, columns=pd.Index(["route", "load", "minutes"])).astype({"load": "float64", "minutes": "float64"})
    frame["route"] = frame["route"].astype("string")
    frame.to_parquet(path)
    folded, whole = fold.fold(path, types, "minutes"), fold.rows_to_fit(path, types, "minutes", exact=False)
    assert whole.weight is None

    models = [features.pipeline(spec, estimator, parameters) for _ in range(2)]
    features.fit(models[0], folded.features, folded.target, folded.weight)
    features.fit(models[1], whole.features, whole.target)

    predicted = [model.predict(whole.features) for model in models]
    assert predicted[0] == pytest.approx(predicted[1], rel=1e-6, abs=1e-6)
    if estimator != "lasso":  # coordinate descent stops at a duality gap, not at the solution
        assert predicted[0] == pytest.approx(predicted[1], rel=1e-8, abs=1e-8)


def test_rows_that_hardly_repeat_are_left_as_they_are(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"load": np.arange(1000) / 7, "minutes": np.arange(1000.0)}).to_parquet(path)

    rows = fold.rows_to_fit(path, {"load": "number"}, "minutes")

    assert rows.weight is None
    assert len(rows.target) == rows.rows == 1000


def test_rows_are_not_folded_for_an_estimator_that_counts_them(train: Path):
    assert fold.rows_to_fit(train, TYPES, "minutes", exact=True).weight is not None
    assert fold.rows_to_fit(train, TYPES, "minutes", exact=False).weight is None


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_a_target_that_is_no_number_is_refused_with_its_place(tmp_path: Path, bad: float | None):
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"load": [1.0, 2.0, 3.0], "minutes": [1.0, bad, bad]}).to_parquet(path)

    with pytest.raises(DataError, match=r"rows\.parquet: 2 of 3 rows have no finite number in the target 'minutes' \(first: row 2\)"):
        fold.fold(path, {"load": "number"}, "minutes")


def test_no_rows_and_unknown_columns_are_refused_in_a_sentence(train: Path, tmp_path: Path):
    pd.read_parquet(train).iloc[:0].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="no rows to learn from"):
        fold.fold(tmp_path / "none.parquet", TYPES, "minutes")
    with pytest.raises(DataError, match=r"train\.parquet: there is no column 'tide'\. There are: route, "):
        fold.read(train, {"tide": "number"}, "minutes")


ODD_NAMES = ["_target", "_mean", "_weight", "file_row_number", "c0", "y", "X", "x", 'a"b']


def test_no_name_of_a_column_is_one_of_ours(tmp_path: Path):
    """A feature called _target took the place of the target, and file_row_number could not be read at all."""
    path = tmp_path / "rows.parquet"
    plain = pd.DataFrame({f"n{number}": np.arange(40.0) % (number + 2) for number in range(len(ODD_NAMES))})
    plain["minutes"] = plain.sum(axis="columns") + np.arange(40) % 3
    plain.to_parquet(path)
    types: dict[str, FeatureType] = dict.fromkeys(plain.columns[:-1], "number")
    expected, labelled = fold.fold(path, types, "minutes"), fold.read(path, types, "minutes", text=["n0"])

    renamed = dict(zip(types, ODD_NAMES, strict=True))
    plain.rename(columns=renamed).to_parquet(path)
    folded = fold.fold(path, dict.fromkeys(ODD_NAMES, "number"), "minutes")
    read = fold.read(path, dict.fromkeys(ODD_NAMES, "number"), "minutes", text=["_target"])

    assert list(folded.features.columns) == ODD_NAMES
    assert (folded.target == expected.target).all()
    assert (folded.features.to_numpy() == expected.features.to_numpy()).all()
    assert (read.features.to_numpy() == labelled.features.to_numpy()).all()
    assert list(read.text["_target"]) == list(labelled.text["n0"])
