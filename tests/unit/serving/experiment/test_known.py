"""What was known when it was predicted is no truth to judge a prediction by, however often it is said."""

import math
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lakeline.lake import CommitId
from tests.unit.serving.experiment.conftest import HOUR, Trial


def test_truth_from_before_the_test_is_none(trial: Trial):
    commit = trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]})
    later = trial.lake.log(commit, 1)[0].time.timestamp() + 10
    trial.state = replace(trial.state, started=later)
    trial.answer(12.0, key="7", time=trial.at(1))
    assert len(trial.units().losses) == 0


def _moment_after(trial: Trial, commit: CommitId) -> float:
    """The first second after a commit's own, once it is over: commits have no finer time, and the next one is to be later."""
    moment = trial.lake.log(commit, 1)[0].time.timestamp() + 1
    time.sleep(max(0.0, moment + 1 - time.time()))
    return moment


def test_arrival_from_before_the_test_that_is_delivered_again_is_no_news(trial: Trial):
    """What its file said already was known when the test began; what it says now for the first time was not."""
    commit = trial.deliver({"parcel": [7, 9], "load": [1.0, 1.0], "minutes": [10.0, math.nan]})
    trial.state = replace(trial.state, started=_moment_after(trial, commit))
    for key in ("7", "8", "9"):
        trial.answer(12.0, key=key, time=trial.at(0))
    trial.deliver({"parcel": [7, 8, 9], "load": [1.0] * 3, "minutes": [11.0, 9.0, 8.0]})

    units = trial.units()

    assert units.losses.tolist() == [3.0, 4.0]
    assert units.left_out == {"units without truth so far": 1}


def test_truth_that_was_brought_before_the_test_is_no_news_under_another_name(trial: Trial):
    """Files that people bring may hold all that is known so far."""
    commit = trial.bring({"key": ["7"], "minutes": [10.0]}, "june")
    trial.state = replace(trial.state, started=_moment_after(trial, commit))
    for key in ("7", "8"):
        trial.answer(12.0, key=key, time=trial.at(0))
    trial.bring({"key": ["7", "8"], "minutes": [10.0, 9.0]}, "july")

    units = trial.units()

    assert units.losses.tolist() == [3.0]
    assert units.left_out == {"predictions made when their truth was known": 1}


@pytest.mark.parametrize("again", ["2024", "2025"])
def test_prediction_of_what_is_known_is_left_out_however_often_that_is_said(trial: Trial, again: str):
    commit = trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]})
    moment = datetime.fromtimestamp(_moment_after(trial, commit), UTC)
    for key in ("7", "8"):
        trial.answer(12.0, key=key, time=moment)
    trial.deliver({"parcel": [7, 8], "load": [1.0] * 2, "minutes": [10.0, 3.0]}, again)

    units = trial.units()

    assert units.losses.tolist() == [9.0]
    assert units.left_out == {"predictions made when their truth was known": 1}


def test_prediction_of_what_is_known_already_is_left_out(trial: Trial):
    trial.answer(12.0, key="7")
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]})
    trial.answer(10.0, key="7", time=trial.at(HOUR + 60))
    units = trial.units()
    assert units.losses.tolist() == [2.0]
    assert units.left_out == {"predictions made when their truth was known": 1}
