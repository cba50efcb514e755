"""The report of a look at an A/B test: complete for each verdict, and nothing in it is taken for markup."""

import numpy as np
import pytest

from lakeline.data.spec import DatasetSpec
from lakeline.report.experiment import markdown, page
from lakeline.serving.experiment.assessment import Assessment, Units
from lakeline.serving.experiment.judge import judge
from lakeline.serving.experiment.state import State
from tests.unit.serving.experiment.conftest import SPEC

STATE = State("parcels-2-20240701T000000", 1, 2, 0.5, True, "c" * 40, "<ann>", 1_700_000_000.0)
NOW = STATE.started + 86_400 * 2 if STATE.started else 0.0


def _found(better: float, test: str = "sequential", n: int = 2_000, now: int | None = 1) -> tuple[DatasetSpec, Assessment]:
    chance = np.random.default_rng(1)
    owner = np.arange(n) % 2 == 0
    losses = chance.exponential(size=n) * np.where(owner, (1 - better) ** 2, 1)
    spec = DatasetSpec.model_validate(
        SPEC | {"experiment": {"key": "parcel", "minimum": 200, "maximum": 5_000, "test": test, "effect": 0.1 if test == "fixed" else 0.02}}
    )
    units = Units(losses, owner, n + 7, 3, 0, {"units without truth so far": 41})
    return spec, judge(spec.experiment, (1, 2), 0.5, units, 2.0, now)


@pytest.mark.parametrize(
    ("better", "test", "sentence"),
    [
        (0.3, "sequential", "Version 2 is better than version 1: it is promoted."),
        (0.3, "fixed", "Version 2 is better than version 1: it is promoted."),
        (-0.4, "sequential", "The test of version 2 ends without a winner: version 1 stays."),
        (0.05, "sequential", "The test of version 2 beside version 1 goes on."),
    ],
)
def test_page_and_summary_say_what_becomes_of_the_test_and_why(better: float, test: str, sentence: str):
    spec, found = _found(better, test)
    html, text = page(spec, STATE, found, "experiment-1", NOW), markdown(STATE, found)
    assert f"<h1>{sentence}</h1>" in html
    assert sentence in text.replace("\\", "")
    assert html.count('<svg viewBox="') == (test == "sequential")
    assert "units without truth so far" in html
    assert ">41<" in html
    assert "<script" not in html
    assert "<ann>" not in html


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (3, "The test of version 2 ends without a winner: version 3 is in production now."),
        (None, "The test of version 2 ends without a winner: no version is in production now."),
        (2, "The test of version 2 ends: it is in production by now."),
    ],
)
def test_page_does_not_say_that_a_version_stays_which_is_gone(now: int | None, sentence: str):
    spec, found = _found(0.3, now=now)
    assert f"<h1>{sentence}</h1>" in page(spec, STATE, found, "experiment-1", NOW)


def test_page_of_a_test_that_has_too_little_shows_no_bounds():
    spec, found = _found(0.5, n=300)
    html = page(spec, STATE, found, "experiment-1", NOW)
    assert "Better by" not in html
    assert '<svg viewBox="' not in html
    assert "200 needed at least" in html
    assert "better than version 1" in html
    assert 'class="remark good"' not in html.partition("<dt>Shares")[0], "an estimate that may be chance is no success"


def test_page_of_a_test_without_any_unit_is_whole():
    spec = DatasetSpec.model_validate(SPEC)
    found = judge(spec.experiment, (1, 2), 0.5, Units(np.empty(0), np.empty(0, dtype=np.bool_)), 0.1, 1)
    html = page(spec, STATE, found, "experiment-1", NOW)
    assert "goes on" in html
    assert "0 units of production and 0 of the challenger" in html
    assert "nan" not in html.lower()
