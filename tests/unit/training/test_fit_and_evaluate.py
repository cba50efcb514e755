"""The best trial is fitted on all training rows, kept as files, and scored next to the model in production."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lakeline.data.spec import DatasetSpec
from lakeline.errors import DataError
from lakeline.training import model as files
from lakeline.training.evaluate import Rival, compare
from lakeline.training.fit import fit_best
from lakeline.training.score import better_by, predict, score
from lakeline.training.search import try_out

FEATURES = ["route", "wet", "load"]


@pytest.mark.parametrize("estimator", ["linear_regression", "decision_tree", "random_forest", "hist_gradient_boosting"])
def test_a_model_read_back_predicts_what_was_recorded(estimator: str, make_spec: Callable[..., DatasetSpec], train: Path, tmp_path: Path):
    spec = make_spec(search={"estimators": [{"name": estimator}]})

    fitted = fit_best(spec, "c0ffee", train, [try_out(spec, train, 0)], tmp_path / "model")
    pipeline, card = files.load(tmp_path / "model")

    assert fitted.rows == card.rows == 2000
    assert (fitted.folded_rows < 100) == (estimator == "linear_regression")
    assert (card.estimator, card.commit, card.optional) == (estimator, "c0ffee", [])
    assert card.features == {"route": "text", "wet": "number", "load": "number"}
    assert 1.0 < card.train["rmse"] < 2.5
    example = files.example_frame(card.example, card.features)
    assert list(pipeline.predict(example)) == pytest.approx(card.example.predictions, rel=1e-12)


def test_training_metrics_of_folded_rows_are_those_of_the_rows(make_spec: Callable[..., DatasetSpec], train: Path, tmp_path: Path):
    spec = make_spec()
    fit_best(spec, "c0ffee", train, [try_out(spec, train, 0)], tmp_path / "model")
    pipeline, card = files.load(tmp_path / "model")
    rows = pd.read_parquet(train).astype({"wet": "float64", "load": "float64"})

    whole = score(rows["minutes"].to_numpy(), predict(pipeline, rows, FEATURES))

    assert card.train["rmse"] == pytest.approx(whole["rmse"], rel=1e-9)
    assert card.train["r2"] == pytest.approx(whole["r2"], rel=1e-9)


def test_a_file_with_a_type_that_could_run_code_is_not_loaded(make_spec: Callable[..., DatasetSpec], train: Path, tmp_path: Path):
    import skops.io

    spec = make_spec()
    fit_best(spec, "c0ffee", train, [try_out(spec, train, 0)], tmp_path / "model")
    skops.io.dump({"reader": pickle.Unpickler}, tmp_path / "model" / files.MODEL_FILE)

    with pytest.raises(DataError, match=r"model\.skops: holds types that a model of ours has no use for .*It was not loaded"):
        files.load(tmp_path / "model")


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"there is no model here"):
        files.load(tmp_path)


@pytest.fixture
def candidate(make_spec: Callable[..., DatasetSpec], train: Path, tmp_path: Path) -> Path:
    spec = make_spec()
    fit_best(spec, "c0ffee", train, [try_out(spec, train, 0)], tmp_path / "model")
    return tmp_path / "model"


class Constant:
    """A model that always says the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return np.full(len(rows), self.value)


def test_both_models_are_scored_on_the_same_rows_and_slices(make_spec: Callable[..., DatasetSpec], candidate: Path, holdout: Path):
    result = compare(make_spec(), candidate, holdout, Rival(7, {"route": "text"}, Constant(15.0)))

    rows = pd.read_parquet(holdout)
    assert result.rows == len(rows) == 700
    assert result.production == score(rows["minutes"].to_numpy(), np.full(700, 15.0))
    assert result.production is not None
    assert result.candidate["rmse"] < 2.5 < result.production["rmse"]
    assert (result.production_version, result.production_reason) == (7, None)
    assert [each["value"] for each in result.slices] == ["a", "b", "c", "(none)"]
    assert sum(each["rows"] for each in result.slices) == 700
    here = rows.loc[rows["route"] == "b", "minutes"].to_numpy()
    assert result.slices[1]["production"] == score(here, np.full(len(here), 15.0))
    assert len(result.sample) == 700
    assert all(len(each) == 3 and each[2] == 15.0 for each in result.sample)
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_without_production_there_is_nothing_to_compare_with(make_spec: Callable[..., DatasetSpec], candidate: Path, holdout: Path):
    result = compare(make_spec(), candidate, holdout, None)

    assert (result.production, result.production_version, result.production_reason) == (None, None, None)
    assert all(each["production"] is None for each in result.slices)
    assert result.sample[0][2] is None


class _Fails:
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        raise ValueError("of another time")


@pytest.mark.parametrize(
    ("rival", "reason"),
    [
        (Rival(7, {"tide": "number"}, Constant(1.0)), "it needs 'tide', which these rows do not have"),
        (Rival(7, {"route": "text"}, _Fails()), "it can't predict these rows: ValueError: of another time"),
        (Rival(7, {"route": "text"}, Constant(float("nan"))), "700 of its predictions are not finite"),
        (Rival(7, reason="its files can't be loaded"), "its files can't be loaded"),
    ],
)
def test_a_production_model_that_fails_is_reported(
    rival: Rival, reason: str, make_spec: Callable[..., DatasetSpec], candidate: Path, holdout: Path
):
    result = compare(make_spec(), candidate, holdout, rival)

    assert result.candidate["rmse"] < 2.5
    assert (result.production, result.production_version) == (None, 7)
    assert reason in str(result.production_reason)


def test_a_production_model_may_take_a_column_in_another_way(make_spec: Callable[..., DatasetSpec], candidate: Path, holdout: Path):
    class Texts(Constant):
        def predict(self, rows: pd.DataFrame) -> np.ndarray:
            assert {type(value) for value in rows["load"].dropna()} == {str}
            return super().predict(rows)

    assert compare(make_spec(), candidate, holdout, Rival(7, {"load": "text"}, Texts(15.0))).production_reason is None


def test_a_holdout_with_a_null_target_is_refused(make_spec: Callable[..., DatasetSpec], candidate: Path, holdout: Path):
    rows = pd.read_parquet(holdout)
    rows.loc[3, "minutes"] = None
    rows.to_parquet(holdout)

    with pytest.raises(DataError, match=r"1 of 700 rows have no finite number in the target 'minutes' \(first: row 4\)"):
        compare(make_spec(), candidate, holdout, None)


def test_scores_where_all_targets_are_equal():
    same = np.full(3, 2.0)
    assert score(same, same)["r2"] == 1.0
    assert score(same, same + 1)["r2"] == 0.0


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "fraction"),
    [("rmse", 9.0, 10.0, 0.1), ("mae", 11.0, 10.0, -0.1), ("r2", 0.6, 0.5, 0.2), ("rmse", 0, 0, 0)],
)
def test_better_is_less_error_or_more_r2(metric: str, ours: float, theirs: float, fraction: float):
    assert better_by(metric, {metric: ours}, {metric: theirs}) == pytest.approx(fraction)


def test_reference_of_one_real_month(data: Path, make_spec: Callable[..., Any], tmp_path: Path):
    """Numbers of shared/data: 80/20 split with seed 42, one-hot of two zones, least squares."""
    import duckdb

    source = data / "nyc-taxi" / "green_tripdata_2021-03.parquet"
    if not source.exists():
        pytest.skip(f"{source.name} is not in LAKELINE_DATA")
    columns = {"pu": {"type": "text"}, "do": {"type": "text"}, "duration": {"type": "number"}}
    parts = {"columns": columns}
    spec = make_spec(
        raw=parts, clean=parts, target={"column": "duration"}, features={"categorical": ["pu", "do"]}, slices=[],
        search={"estimators": [{"name": "linear_regression"}]},
    )  # fmt: skip
    query = """
        SELECT PULocationID::VARCHAR AS pu, DOLocationID::VARCHAR AS do, false AS _validation,
            date_diff('microsecond', lpep_pickup_datetime, lpep_dropoff_datetime) / 6e7 AS duration
        FROM read_parquet(?) WHERE duration BETWEEN 1 AND 60
    """
    rows = duckdb.execute(query, [str(source)]).df()
    held = np.random.RandomState(42).permutation(len(rows))[: int(np.ceil(0.2 * len(rows)))]
    rows.to_parquet(tmp_path / "all.parquet")
    rows.drop(index=list(held)).to_parquet(tmp_path / "train.parquet")
    rows.loc[held].to_parquet(tmp_path / "holdout.parquet")
    baseline = try_out(spec, tmp_path / "train.parquet", 0)
    trial = [type(baseline)(0, "linear_regression", {}, {"rmse": 1.0}, 0.0, 0.0)]

    fitted = fit_best(spec, "c0ffee", tmp_path / "train.parquet", trial, tmp_path / "model")
    fit_best(spec, "c0ffee", tmp_path / "all.parquet", trial, tmp_path / "whole")
    pipeline, card = files.load(tmp_path / "whole")

    assert len(rows) == 80_372
    assert fitted.folded_rows < 0.25 * fitted.rows
    assert compare(spec, tmp_path / "model", tmp_path / "holdout.parquet", None).candidate["rmse"] == pytest.approx(10.4884, abs=5e-5)
    assert card.train["rmse"] == pytest.approx(10.3549, abs=5e-5)
    assert pipeline.named_steps["model"].intercept_ == pytest.approx(25.3165, abs=0.05)
