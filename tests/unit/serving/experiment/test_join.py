"""What a test is judged by: predictions of its two versions, each once, with the truth that came first, a loss a key or request."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from lakeline.errors import DataError
from lakeline.serving.experiment import join
from lakeline.serving.release import variant_of
from tests.unit.serving.experiment.conftest import HOUR, NAME, Trial


def test_prediction_is_found_by_the_key_that_a_clean_row_has(trial: Trial):
    trial.answer(12.0, key="7")
    trial.deliver({"parcel": [7, 8], "load": [1.0, 1.0], "minutes": [10.0, 99.0]})

    units = trial.units()

    assert units.losses.tolist() == [2.0]
    assert units.challengers.tolist() == [variant_of("7", "test-1", 0.5) == "challenger"]
    assert trial.units("rmse").losses.tolist() == [4.0]


def test_prediction_is_found_by_its_requests_id_and_row(trial: Trial):
    request = trial.answer(1.0, row=0)
    trial.answer(5.0, row=1, request_id=request)
    trial.bring({"request_id": [request, request], "row": [0, 1], "minutes": [2.0, 2.0]})

    units = trial.units()

    assert units.losses.tolist() == [2.0], "one unit: the mean of 1 and 3"
    assert units.rows == 2


def test_key_with_several_requests_is_one_unit(trial: Trial):
    """Its predictions are of one thing, and not independent."""
    for prediction in (11.0, 13.0, 9.0):
        trial.answer(prediction, key="7")
    trial.answer(10.5, key="8")
    trial.deliver({"parcel": [7, 8], "load": [1.0, 1.0], "minutes": [10.0, 10.0]})
    assert sorted(trial.units().losses.tolist()) == pytest.approx([0.5, 5 / 3])


def test_truth_said_twice_counts_once(trial: Trial):
    trial.answer(12.0, key="7")
    trial.deliver({"parcel": [7, 7], "load": [1.0, 2.0], "minutes": [10.0, 10.0]})
    units = trial.units()
    assert (units.losses.tolist(), units.rows) == ([2.0], 1)


def test_truth_that_contradicts_itself_is_left_out(trial: Trial):
    trial.answer(12.0, key="7")
    trial.deliver({"parcel": [7, 7], "load": [1.0, 2.0], "minutes": [10.0, 11.0]})
    units = trial.units()
    assert len(units.losses) == 0
    assert units.left_out == {"predictions of which the truth says different things": 1}


def test_unit_is_judged_by_what_came_first_however_often_one_looks(trial: Trial):
    """What has been judged stays: a sequential test's bounds are for units that don't change."""
    trial.answer(12.0, key="7")
    trial.answer(12.0, key="8")
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]}, "2024")
    before = trial.units()
    trial.deliver({"parcel": [7, 8], "load": [1.0, 1.0], "minutes": [50.0, 11.0]}, "2025")

    after = trial.units()

    assert before.losses.tolist() == [2.0]
    assert after.losses.tolist() == [2.0, 1.0]
    assert after.left_out == {"truth that came later than a unit's first": 1}


def test_arrival_that_is_delivered_again_changes_nothing_that_was_judged(trial: Trial):
    trial.answer(12.0, key="7")
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]})
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [12.0]})
    assert trial.units().losses.tolist() == [2.0]


def test_other_versions_and_other_tests_are_left_out(trial: Trial):
    trial.answer(12.0, key="7", version=3)
    trial.answer(12.0, key="7", experiment="test-0")
    trial.answer(12.0, key="7", experiment=None)
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]})
    units = trial.units()
    assert len(units.losses) == 0
    assert units.left_out == {"answers of other versions": 1}


def test_request_that_was_sent_again_with_its_id_counts_once(trial: Trial):
    request = trial.answer(12.0, key="7")
    trial.answer(30.0, key="7", request_id=request, time=trial.at(HOUR / 2 + 1))
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]})
    units = trial.units()
    assert units.losses.tolist() == [2.0]
    assert units.left_out == {"answers to a request that was sent again": 1}


def test_rows_of_a_request_are_not_confused_where_the_truth_says_no_row(trial: Trial):
    request = trial.answer(1.0, row=0, key="7")
    trial.answer(5.0, row=1, key="7", request_id=request)
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [2.0]})
    trial.bring({"request_id": [request], "minutes": [2.0]})
    units = trial.units()
    assert len(units.losses) == 0
    assert units.left_out == {"rows of requests with several, whose truth doesn't say which": 4}


def test_key_that_the_other_variant_answered_counts_for_its_own(trial: Trial):
    """Intention to treat: what a server could not answer is not for the other one's account."""
    key = next(str(number) for number in range(100) if variant_of(str(number), "test-1", 0.5) == "challenger")
    trial.answer(12.0, key=key, version=1, variant="production")
    trial.bring({"key": [key], "minutes": [10.0]})
    units = trial.units()
    assert (units.challengers.tolist(), units.crossed) == ([True], 1)


def _key_of(variant: str) -> str:
    return next(str(number) for number in range(100) if variant_of(str(number), "test-1", 0.5) == variant)


@pytest.mark.parametrize("later", [1, -1])
def test_number_that_the_challenger_had_none_for_is_counted_though_production_had_one(trial: Trial, later: int):
    """Production answers what the challenger couldn't: the caller has a number, and the challenger is none the better for it."""
    key = _key_of("challenger")
    request = trial.answer(math.nan, key=key)
    trial.answer(12.0, key=key, request_id=request, version=1, variant="production", time=trial.at(HOUR / 2 + later))
    trial.bring({"key": [key], "minutes": [10.0]})

    units = trial.units()

    assert units.broken == 1
    assert (units.losses.tolist(), units.challengers.tolist(), units.crossed) == ([2.0], [True], 1)
    assert units.left_out == {"predictions that are no finite number": 1}


def test_row_that_neither_has_a_number_for_is_nobodys_failure(trial: Trial):
    key = _key_of("challenger")
    request = trial.answer(math.nan, key=key)
    trial.answer(math.nan, key=key, request_id=request, version=1, variant="production")
    assert trial.units().broken == 0


def test_number_that_production_had_none_for_is_not_on_the_challengers_account(trial: Trial):
    key = _key_of("production")
    request = trial.answer(math.inf, key=key)
    trial.answer(12.0, key=key, request_id=request, version=2, variant="challenger", time=trial.at(HOUR / 2 + 1))
    trial.bring({"key": [key], "minutes": [10.0]})
    units = trial.units()
    assert (units.broken, units.losses.tolist(), units.challengers.tolist()) == (0, [2.0], [False])


def test_request_without_a_key_that_both_versions_answered_is_nobodys_behind_a_gateway(trial: Trial):
    """It is sent again, and given to the other one: only the gateway knew whose it was at first, not the number of a version."""
    trial.state = replace(trial.state, unkeyed=False)
    again, once = trial.answer(12.0, version=2, variant="challenger"), trial.answer(13.0, version=2, variant="challenger")
    trial.answer(30.0, request_id=again, version=1, variant="production", time=trial.at(HOUR / 2 + 1))
    trial.bring({"request_id": [again, once], "minutes": [10.0, 10.0]})

    units = trial.units()

    assert (units.losses.tolist(), units.challengers.tolist(), units.crossed) == ([3.0], [True], 0)
    assert units.left_out == {"requests without a key that both versions answered": 1}


@pytest.mark.parametrize("unkeyed", [True, False])
def test_request_without_a_key_counts_for_whom_it_was_given_to(trial: Trial, unkeyed: bool):
    """By its id where servers share requests out; where a gateway does, nothing but the answer says so."""
    trial.state = replace(trial.state, unkeyed=unkeyed)
    request = next(f"r{number}" for number in range(100) if variant_of(f"r{number}", "test-1", 0.5) == "challenger")
    trial.answer(12.0, request_id=request, version=1, variant="production")
    trial.bring({"request_id": [request], "minutes": [10.0]})
    units = trial.units()
    assert units.challengers.tolist() == [unkeyed]
    assert units.crossed == unkeyed


def test_truth_without_a_number_and_predictions_without_one_are_counted(trial: Trial):
    keys = {
        variant: next(str(n) for n in range(100) if variant_of(str(n), "test-1", 0.5) == variant)
        for variant in ("production", "challenger")
    }
    trial.answer(math.nan, key=keys["challenger"])
    trial.answer(math.inf, key=keys["production"])
    trial.answer(1.0, key="1000")
    trial.deliver({"parcel": [int(keys["challenger"]), int(keys["production"]), 1000], "load": [1.0] * 3, "minutes": [1.0, 1.0, math.nan]})
    units = trial.units()
    assert len(units.losses) == 0
    assert units.broken == 1
    assert units.left_out == {
        "predictions that are no finite number": 2,
        "truth without a number": 1,
        "units without truth so far": 1,
    }


def test_units_come_in_the_order_of_their_truth_and_then_of_their_requests(trial: Trial):
    for number, minutes in enumerate((50, 20, 40)):
        trial.answer(float(number), key=str(number), time=trial.at(60.0 * minutes))
    trial.deliver({"parcel": [2], "load": [1.0], "minutes": [0.0]}, "2024")
    trial.deliver({"parcel": [0, 1], "load": [1.0] * 2, "minutes": [0.0] * 2}, "2025")
    assert trial.units().losses.tolist() == [2.0, 1.0, 0.0]


def test_log_that_is_not_there_yet_is_an_empty_one(trial: Trial):
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]})
    assert len(trial.units().losses) == 0


def test_file_that_is_still_being_written_is_left_alone(trial: Trial):
    trial.answer(12.0, key="7")
    trial.flush()
    folder = next((trial.log / NAME).iterdir())
    (folder / ".unfinished.parquet").write_bytes(b"PAR1")
    trial.deliver({"parcel": [7], "load": [1.0], "minutes": [10.0]})
    assert len(trial.units().losses) == 1


def test_damaged_file_of_the_log_is_an_error_that_says_where(trial: Trial):
    trial.answer(12.0, key="7")
    trial.flush()
    (next((trial.log / NAME).iterdir()) / "damaged.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="can't be read"):
        trial.units()


def test_hundred_thousand_rows_are_joined_in_seconds_and_in_little_memory(trial: Trial, monkeypatch: pytest.MonkeyPatch):
    """What doesn't fit goes to the disk: logs grow for weeks, and the step that reads them has 1 GiB."""
    monkeypatch.setattr(join, "MEMORY", "48MB")
    chance = np.random.default_rng(0)
    keys = [str(number) for number in range(50_000)]
    for key in keys:
        trial.answer(float(chance.normal()), key=key)
        trial.answer(float(chance.normal()), key=key)
    trial.deliver({"parcel": list(range(50_000)), "load": [1.0] * 50_000, "minutes": [0.0] * 50_000})
    trial.flush()
    began = time.monotonic()
    units = trial.units()
    assert len(units.losses) == 50_000
    assert units.challengers.mean() == pytest.approx(0.5, abs=0.02)
    assert time.monotonic() - began < 30
