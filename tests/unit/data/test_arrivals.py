"""Ids of arrivals: what they are made of, and what a person gets to know of a wrong one."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeline.data.arrivals import arrival_id, arrival_parameters, expand, following, series
from lakeline.data.spec import DatasetSpec
from lakeline.data.specfile import local_spec
from lakeline.errors import UsageError


@pytest.fixture(scope="module")
def taxi() -> DatasetSpec:
    """Read a spec whose arrivals have a colour, a year and a month."""
    return local_spec("nyc-taxi").spec


@pytest.fixture(scope="module")
def flights() -> DatasetSpec:
    """Read a spec whose arrivals have a year, which can be 2013 only, and a month."""
    return local_spec("flights").spec


@given(color=st.sampled_from(["green", "yellow"]), year=st.integers(2009, 2100), month=st.integers(1, 12))
def test_id_reads_back_into_its_parameters(taxi: DatasetSpec, color: str, year: int, month: int):
    parameters = {"color": color, "year": year, "month": month}

    assert arrival_parameters(taxi, arrival_id(taxi, parameters)) == parameters


def test_parameter_with_one_possible_value_need_not_be_given(flights: DatasetSpec):
    assert arrival_id(flights, {"month": "7"}) == "2013-07"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"color": "green", "year": 2022, "month": 13}, "nyc-taxi green-2022-13: there is no month 13. Give --month 1 to 12."),
        ({"color": "blue", "year": 2022, "month": 1}, "nyc-taxi blue-2022-01: there is no color blue. Give --color green or yellow."),
        ({"color": "green", "year": 2022}, "nyc-taxi: which month? Give --month 1 to 12."),
        ({"color": "green", "year": "MMXXII", "month": 1}, "nyc-taxi: year 'MMXXII' is not a whole number. Give --year 2009 to 2100."),
        (
            {"color": "green", "year": 2022, "month": 1, "day": 2},
            "nyc-taxi: an arrival has no 'day'. Give --color green --year 2009 --month 1, or --arrival with ids such as green-2009-01.",
        ),
    ],
)
def test_impossible_parameters_are_refused_with_what_is_possible(taxi: DatasetSpec, parameters: dict[str, int | str], message: str):
    with pytest.raises(UsageError) as error:
        arrival_id(taxi, parameters)

    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arrival", "message"),
    [
        ("green-2022-13", "there is no month 13. Give --month 1 to 12."),
        ("green-2022-1", "Did you mean green-2022-01?"),
        ("2022-01", "Its arrivals are named like green-2009-01."),
        ("../../etc/passwd", "Its arrivals are named like green-2009-01."),
    ],
)
def test_impossible_id_is_refused_with_what_is_possible(taxi: DatasetSpec, arrival: str, message: str):
    with pytest.raises(UsageError) as error:
        arrival_parameters(taxi, arrival)

    assert str(error.value).startswith(f"nyc-taxi {arrival}: ")
    assert str(error.value).endswith(message)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("2013-01", ["2013-01"]),
        ("2013-03, 2013-01,2013-03", ["2013-01", "2013-03"]),
        ("2013-01..2013-03,2013-12", ["2013-01", "2013-02", "2013-03", "2013-12"]),
    ],
)
def test_list_and_range_are_expanded_in_order(flights: DatasetSpec, text: str, ids: list[str]):
    assert expand(flights, text) == ids


def test_range_turns_over_the_year(taxi: DatasetSpec):
    assert expand(taxi, "green-2022-11..green-2023-02") == ["green-2022-11", "green-2022-12", "green-2023-01", "green-2023-02"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2013-03..2013-01", "the range runs backwards. Give 2013-01..2013-03."),
        ("2013-01..2013-13", "there is no month 13"),
        (" , ", "which arrivals?"),
    ],
)
def test_wrong_range_is_refused(flights: DatasetSpec, text: str, message: str):
    with pytest.raises(UsageError, match=message):
        expand(flights, text)


def test_range_without_bounds_is_refused(things: Any):
    things.define(('"m{month:02d}"', '"{part}-{month:02d}"'), ("    month: {", "    part: { type: text }\n    month: {"))
    spec = local_spec("things").spec

    assert expand(spec, "a-01..a-02") == ["a-01", "a-02"]
    with pytest.raises(UsageError, match="part can't be counted"):
        expand(spec, "a-01..b-02")


def test_range_of_a_million_is_refused(things: Any):
    things.define(("maximum: 12", "maximum: 1000000"))

    with pytest.raises(UsageError, match="at most 10,000 arrivals"):
        expand(local_spec("things").spec, "m01..m999999")


def test_months_follow_each_other_over_the_years(taxi: DatasetSpec):
    assert list(itertools.islice(following(taxi, "green-2022-11"), 3)) == ["green-2022-12", "green-2023-01", "green-2023-02"]


def test_nothing_follows_the_last_possible_arrival(taxi: DatasetSpec, flights: DatasetSpec):
    assert list(following(flights, "2013-10")) == ["2013-11", "2013-12"]
    assert list(following(flights, "2013-12")) == []
    assert list(following(taxi, "green-2100-12")) == []


def test_names_before_the_first_number_make_a_series_each(taxi: DatasetSpec, flights: DatasetSpec):
    assert series(taxi, "yellow-2022-11") == ("yellow",)
    assert series(flights, "2013-10") == ()


@given(year=st.integers(2009, 2099), month=st.integers(1, 12), count=st.integers(1, 30))
def test_what_follows_is_what_a_range_has(taxi: DatasetSpec, year: int, month: int, count: int):
    first = arrival_id(taxi, {"color": "green", "year": year, "month": month})
    counted = list(itertools.islice(following(taxi, first), count))

    assert [first, *counted] == expand(taxi, f"{first}..{counted[-1]}") if counted else year == 2100


def test_what_can_not_be_counted_is_said(taxi: DatasetSpec):
    def changed(name: str, **update: object) -> DatasetSpec:
        parameters = dict(taxi.arrival.parameters)
        parameters[name] = parameters[name].model_copy(update=update)
        arrival = taxi.arrival.model_copy(update={"id": "{color}-{year}-{month}", "parameters": parameters})
        return taxi.model_copy(update={"arrival": arrival})

    with pytest.raises(UsageError, match="month has no minimum"):
        list(following(changed("month", minimum=None), "green-2022-12"))
    with pytest.raises(UsageError, match="month is text without choices"):
        list(following(changed("month", type="text", minimum=None, maximum=None), "green-2022-12"))
    endless = following(changed("year", maximum=None), "green-2022-12")
    assert list(itertools.islice(endless, 1)) == ["green-2023-1"]
