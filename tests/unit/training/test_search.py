"""A search draws the same trials from the same spec, and a trial that fails is a result, not an end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lakeline.data.spec import DatasetSpec
from lakeline.errors import DataError, PlaceTrouble
from lakeline.training.fit import choose
from lakeline.training.search import TrialResult, failures, sample, try_out


def test_trial_0_is_the_first_estimator_with_what_the_spec_fixes(make_spec: Callable[..., DatasetSpec]):
    estimators = [{"name": "lasso", "parameters": {"alpha": {"low": 0.1, "high": 1}, "max_iter": 500, "positive": {"choices": [True]}}}]

    trial = sample(make_spec(search={"estimators": estimators}), 0)

    assert (trial.number, trial.estimator, trial.parameters) == (0, "lasso", {"max_iter": 500})


def test_each_estimator_has_a_turn_and_then_those_with_a_space(make_spec: Callable[..., DatasetSpec]):
    tried = [sample(make_spec(), number).estimator for number in range(7)]

    boosting = "hist_gradient_boosting"
    assert tried == ["linear_regression", "ridge", boosting, "ridge", boosting, "ridge", boosting]


def test_draws_are_the_same_for_a_seed_and_lie_in_their_space(make_spec: Callable[..., DatasetSpec]):
    space = {
        "max_depth": {"low": 2, "high": 9, "integer": True},
        "min_samples_leaf": {"low": 1, "high": 500, "log": True, "integer": True},
        "ccp_alpha": {"low": 0.0, "high": 0.1},
        "criterion": {"choices": ["squared_error", "friedman_mse"]},
        "max_features": {"choices": [None]},
    }
    search = {"estimators": [{"name": "decision_tree", "parameters": space}]}

    first = [sample(make_spec(search=search), number).parameters for number in range(1, 60)]
    again = [sample(make_spec(search=search), number).parameters for number in range(1, 60)]
    other = [sample(make_spec(search=search | {"seed": 7}), number).parameters for number in range(1, 60)]

    assert first == again
    assert first != other
    for drawn in first:
        assert 2 <= drawn["max_depth"] <= 9
        assert isinstance(drawn["max_depth"], int)
        assert 1 <= drawn["min_samples_leaf"] <= 500
        assert 0 <= drawn["ccp_alpha"] <= 0.1
        assert drawn["max_features"] is None
    assert {drawn["criterion"] for drawn in first} == {"squared_error", "friedman_mse"}


def test_a_trial_is_scored_on_rows_it_has_not_seen(make_spec: Callable[..., DatasetSpec], train: Path):
    result = try_out(make_spec(), train, 0)

    assert result.error is None
    assert 1.3 < result.metrics["rmse"] < 2.5  # the noise has a deviation of 1.5
    assert result.metrics["mae"] < result.metrics["rmse"]
    assert 0.9 < result.metrics["r2"] < 1
    assert result.seconds > 0
    assert TrialResult.from_json(result.to_json()) == result


def test_a_trial_again_has_the_same_metrics(make_spec: Callable[..., DatasetSpec], train: Path):
    assert try_out(make_spec(), train, 2).metrics == try_out(make_spec(), train, 2).metrics


def test_a_trial_that_fails_says_why(make_spec: Callable[..., DatasetSpec], train: Path, tmp_path: Path):
    impossible = {"estimators": [{"name": "ridge", "parameters": {"alpha": -1.0}}]}

    result = try_out(make_spec(search=impossible), train, 0)

    assert result.metrics == {}
    assert result.error is not None
    assert "alpha" in result.error
    assert "no rows" in str(try_out(make_spec(), _without_validation(train, tmp_path), 0).error)


def _without_validation(train: Path, folder: Path) -> Path:
    import pandas as pd

    pd.read_parquet(train).assign(_validation=False).to_parquet(folder / "none.parquet")
    return folder / "none.parquet"


def test_what_scikit_learn_warns_of_is_noted(make_spec: Callable[..., DatasetSpec], train: Path):
    hasty = {"estimators": [{"name": "lasso", "parameters": {"alpha": 1e-6, "max_iter": 1, "tol": 1e-14}}]}

    assert "converge" in str(try_out(make_spec(search=hasty), train, 0).note)


def _result(number: int, rmse: float, error: str | None = None) -> TrialResult:
    return TrialResult(number, "ridge", {}, {} if error else {"rmse": rmse, "mae": rmse, "r2": 1 - rmse / 100}, 1.0, 0.0, error)


@pytest.mark.parametrize(("tolerance", "chosen"), [(0.0, 2), (0.01, 2), (0.2, 0)])
def test_the_baseline_is_kept_unless_a_trial_beats_it_by_the_tolerance(
    tolerance: float, chosen: int, make_spec: Callable[..., DatasetSpec]
):
    spec = make_spec(search={"tolerance": tolerance, "estimators": [{"name": "ridge"}]})

    assert choose(spec, [_result(2, 9.0), _result(1, 9.5), _result(0, 10.0)]).number == chosen


def test_equally_good_trials_leave_the_earlier_one(make_spec: Callable[..., DatasetSpec]):
    assert choose(make_spec(), [_result(3, 9.0), _result(1, 9.0), _result(0, 9.0, error="no")]).number == 1


def test_more_of_r2_is_better(make_spec: Callable[..., DatasetSpec]):
    assert choose(make_spec(metric={"name": "r2"}), [_result(0, 10.0), _result(1, 9.0)]).number == 1


def test_want_of_disk_fails_no_trial(make_spec: Callable[..., DatasetSpec], train: Path, monkeypatch: pytest.MonkeyPatch):
    from lakeline.training import fold

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/scratch")

    monkeypatch.setattr(fold, "rows_to_fit", full)

    with pytest.raises(PlaceTrouble, match=r"^ferries: trial 0 \(linear_regression\) could not be made: the disk is full"):
        try_out(make_spec(), train, 0)


def test_failures_are_counted_and_each_reason_is_said_once():
    results = [
        _result(0, 9.0),
        _result(3, 0, error="it rained"),
        _result(1, 0, error="it rained\nall day"),
        _result(2, 0, error="it snowed"),
    ]

    assert failures(map(vars, results)) == "3 of 4 trials failed: 1, 3 (ridge): it rained; 2 (ridge): it snowed"
    assert failures(map(vars, results[:1])) is None


def test_a_search_whose_trials_all_failed_says_why_the_first_did(make_spec: Callable[..., DatasetSpec]):
    with pytest.raises(DataError, match=r"ferries: no model was made. 2 of 2 trials failed: 0 \(ridge\): it rained; 1 \(ridge\): other."):
        choose(make_spec(), [_result(1, 0, error="other"), _result(0, 0, error="it rained")])
