"""What scikit-learn would refuse of a search is found in the spec, by scikit-learn's own rules."""

import subprocess
import sys
from typing import Any

import pytest

from lakeline.data.spec import Search
from lakeline.data.specfile import local_spec
from lakeline.training.features import estimator_class
from lakeline.training.parameters import _OURS, unfit


def said(estimator: str, **parameters: Any) -> list[str]:
    search = Search.model_validate({"estimators": [{"name": "linear_regression"}, {"name": estimator, "parameters": parameters}]})
    flaws = list(unfit(local_spec("flights").spec.model_copy(update={"search": search})))
    assert all(flaw.path[:4] == ("search", "estimators", 1, "parameters") and flaw.path[4] in parameters for flaw in flaws)
    return [flaw.text for flaw in flaws]


@pytest.mark.parametrize("name", ["flights", "nyc-taxi", "bike-sharing"])
def test_searches_that_are_shipped_are_taken(name: str):
    assert list(unfit(local_spec(name).spec)) == []


@pytest.mark.parametrize(
    ("estimator", "parameters", "text"),
    [
        ("hist_gradient_boosting", {"n_estimators": 5}, "hist_gradient_boosting has no such parameter. There are: early_stopping, "),
        ("hist_gradient_boosting", {"max_itr": 5}, "hist_gradient_boosting has no such parameter. Did you mean 'max_iter'?"),
        ("hist_gradient_boosting", {"max_iter": 0}, "must be an int in the range [1, inf). It is 0"),
        ("hist_gradient_boosting", {"max_iter": {"low": 50, "high": 100}},
         "must be an int in the range [1, inf). It is 50.0. Give the range integer: true"),
        ("hist_gradient_boosting", {"learning_rate": {"low": -1, "high": 1}}, "must be a float in the range (0.0, inf). It is -1.0"),
        ("hist_gradient_boosting", {"max_bins": {"low": 2, "high": 300, "integer": True}},
         "must be an int in the range [2, 255]. It is 300"),
        ("hist_gradient_boosting", {"loss": {"choices": ["squared_error", "squared"]}}, "must be a str among "),
        ("ridge", {"solver": "fast"}, "must be a str among "),
        ("ridge", {"alpha": None}, "must be "),
        ("random_forest", {"n_jobs": 2}, "can't be set here: a fit takes one thread"),
        ("random_forest", {"random_state": 1}, "can't be set here: search.seed decides on it"),
        ("decision_tree", {"min_samples_leaf": {"low": 1, "high": 8}},
         "must be an int in the range [1, inf) or a float in the range (0.0, 1.0)."),
    ],
)  # fmt: skip
def test_parameter_that_a_fit_would_refuse_is_said(estimator: str, parameters: dict[str, Any], text: str):
    (one,) = said(estimator, **parameters)

    assert one.startswith(text)


@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [
        ("decision_tree", {"max_depth": {"choices": [None, 5]}, "min_samples_leaf": {"low": 0.01, "high": 0.2}}),
        ("random_forest", {"max_features": {"choices": ["sqrt", 0.5, 3]}, "bootstrap": False}),
        ("lasso", {"alpha": {"low": 0.001, "high": 1, "log": True}, "selection": "random"}),
    ],
)
def test_values_that_scikit_learn_takes_are_taken(estimator: str, parameters: dict[str, Any]):
    assert said(estimator, **parameters) == []


def test_rules_are_those_of_every_estimator():
    # _validate_params is scikit-learn's own: were it to go, nothing would be refused, or all.
    for name in ("linear_regression", "ridge", "lasso", "decision_tree", "random_forest", "hist_gradient_boosting"):
        kind = estimator_class(name)
        assert set(kind._parameter_constraints) >= set(kind().get_params())
        parameter = next(one for one in kind().get_params() if one not in _OURS)
        assert len(said(name, **{parameter: "nonsense"})) == 1


def test_command_line_does_not_import_scikit_learn_to_say_what_it_can_do():
    code = "import sys, pipelines.cli; from lakeline.data import specfile, spec; assert 'sklearn' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True)
