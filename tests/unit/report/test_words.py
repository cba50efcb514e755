"""Numbers, times and durations as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeline.report import words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"), (13.1, "13.10"), (13.14159, "13.14"), (0.00012345, "0.0001234"), (1234567.8, "1,234,568"), (-5.25, "−5.250"),
        (41020.0, "41,020"), (1e-9, "1.000e-09"), (4e20, "4.000e+20"),
            (None, "–"), (math.nan, "–"), (math.inf, "∞"), ("text", "text"), (True, "yes"),
    ],
)  # fmt: skip
def test_number(value: object, said: str):
    assert words.number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0226, "2.3 %"), (0.00056, "0.06 %"), (-0.5, "−50.0 %"), (0, "0 %"), (1e-7, "< 0.01 %"), (1e300, "over 100,000,000 %")],
)
def test_percent(value: float, said: str):
    assert words.percent(value).replace("\u00a0", " ") == said


@pytest.mark.parametrize(("seconds", "said"), [(0.0123, "12 ms"), (38.44, "38.4 s"), (75, "1 min 15 s"), (3725, "1 h 2 min"), (None, "–")])
def test_duration(seconds: float | None, said: str):
    assert words.duration(seconds).replace("\u00a0", " ") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1383307200, "1 November 2013, 12:00 UTC"),
        ("2013-11-01T14:00:00+02:00", "1 November 2013, 12:00 UTC"),
        ("2013-11-01T12:00:00", "1 November 2013, 12:00 UTC"),
        ("yesterday", "yesterday"),
    ],
)
def test_moment(value: object, said: str):
    assert words.moment(value)[0] == said


def test_two_numbers_have_the_digits_that_tell_them_apart():
    assert words.pair(13.164, 13.157) == ("13.164", "13.157")
    assert words.pair(13.1, 13.4) == ("13.10", "13.40")
    assert words.pair(13.1, 13.1) == ("13.10", "13.10")


def test_brief_number_has_no_zeros_at_its_end():
    assert [words.brief(value) for value in (3.2, 0.1, 25.0, 1e-9, 1.5e-7, 1200)] == ["3.2", "0.1", "25", "1e-9", "1.5e-7", "1,200"]


def test_long_enumeration_keeps_its_ends():
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed([f"2013-{month:02d}" for month in range(1, 7)]) == "2013-01 to 2013-06 (6 of them)"


@given(st.floats() | st.integers() | st.text() | st.booleans() | st.none())
def test_every_value_can_be_said(value: object):
    said = [
        words.number(value),
        words.brief(value),
        words.count(value),
        words.percent(value),
        words.duration(value),
        words.moment(value)[0],
    ]
    assert all(isinstance(each, str) for each in said)
    assert not [each for each in said if "nan" in each or "inf" in each] or isinstance(value, str)


@given(st.floats(min_value=-1e12, max_value=1e12))
def test_number_keeps_four_digits(value: float):
    said = float(words.number(value).replace(",", "").replace("−", "-"))
    assert said == pytest.approx(value, rel=6e-4)
