"""The report of a look at an A/B test: complete for each verdict, and nothing in it is taken for markup."""

import numpy as np
import pytest

from lakeline.data.spec import DatasetSpec
from lakeline.report.experiment import markdown, page
from lakeline.serving.experiment.judge import Assessment, Units, judge
from lakeline.serving.experiment.state import State
from tests.unit.serving.experiment.conftest import SPEC

STATE = State("parcels-2-20240701T000000", 1, 2, 0.5, True, "c" * 40, "<ann>", 1_700_000_000.0)
NOW = STATE.started + 86_400 * 2 if STATE.started else 0.0


def _found(better: float, test: str = "sequential", n: int = 2_000) -> tuple[DatasetSpec, Assessment]:
    chance = np.random.default_rng(1)
    owner = np.arange(n) % 2 == 0
    losses = chance.exponential(size=n) * np.where(owner, (1 - better) ** 2, 1)
    spec = DatasetSpec.model_validate(
        SPEC | {"experiment": {"key": "parcel", "minimum": 200, "maximum": 5_000, "test": test, "effect": 0.1 if test == "fixed" else 0.02}}
    )
    units = Units(losses, owner, n + 7, 3, 0, {"units without truth so far": 41})
    return spec, judge(spec.experiment, (1, 2), 0.5, units, 2.0)


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


def test_page_of_a_test_without_any_unit_is_whole():
    spec = DatasetSpec.model_validate(SPEC)
    found = judge(spec.experiment, (1, 2), 0.5, Units(np.empty(0), np.empty(0, dtype=np.bool_)), 0.1)
    html = page(spec, STATE, found, "experiment-1", NOW)
    assert "goes on" in html
    assert "0 units of production and 0 of the challenger" in html
    assert "nan" not in html.lower()
