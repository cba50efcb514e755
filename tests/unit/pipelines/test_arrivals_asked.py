"""What the command line makes of an arrival's options."""

import pytest

from lakeline.data.spec import Arrival, DatasetSpec
from lakeline.data.specfile import local_spec
from lakeline.errors import UsageError
from pipelines.commands.run import arrivals_asked, pipeline_arguments


@pytest.mark.parametrize(
    ("text", "extra", "ids"),
    [
        ("green-2022-01", [], ["green-2022-01"]),
        ("green-2022-01,green-2022-03", [], ["green-2022-01", "green-2022-03"]),
        ("next", [], ["next"]),
        (None, ["--color", "green", "--year", "2022", "--month", "1"], ["green-2022-01"]),
        (None, ["--month=12", "--year=2023", "--color=yellow"], ["yellow-2023-12"]),
    ],
)
def test_arrival_by_id_or_by_parameters(text: str | None, extra: list[str], ids: list[str]):
    assert arrivals_asked(local_spec("nyc-taxi").spec, text, extra) == ids


def only(**parameters: dict[str, object]) -> DatasetSpec:
    spec = local_spec("nyc-taxi").spec
    arrival = Arrival.model_validate({"id": "all" + "".join(f"-{{{name}}}" for name in parameters), "parameters": parameters})
    return spec.model_copy(update={"arrival": arrival})


@pytest.mark.parametrize(
    ("spec", "id_"),
    [
        (only(), "all"),
        (only(n={"minimum": 1, "maximum": 1}), "all-1"),
        (only(n={"minimum": 1, "maximum": 1}, colour={"type": "text", "choices": ["red"]}), "all-1-red"),
    ],
)
def test_only_arrival_that_there_can_be_is_not_asked_for(spec: DatasetSpec, id_: str):
    assert arrivals_asked(spec, None, []) == [id_]
    assert arrivals_asked(spec, id_, []) == [id_]
    with pytest.raises(UsageError, match=f"no option '--month'. Its only arrival is {id_}, which need not be named"):
        arrivals_asked(spec, None, ["--month", "1"])


def test_parameter_with_a_single_value_is_not_asked_for():
    spec = only(year={"minimum": 2013, "maximum": 2013}, month={"minimum": 1, "maximum": 12})

    assert arrivals_asked(spec, None, ["--month", "7"]) == ["all-2013-7"]
    with pytest.raises(UsageError, match=r"which arrival\? Give --month 1, or --arrival with ids such as all-2013-1\."):
        arrivals_asked(spec, None, [])


@pytest.mark.parametrize(
    ("text", "extra", "said"),
    [
        (None, [], "which arrival"),
        (None, ["--colour", "green"], "no option '--colour'"),
        (None, ["green"], "no option 'green'"),
        (None, ["--color"], "--color needs a value"),
        (None, ["--color", "blue", "--year", "2022", "--month", "1"], "blue"),
        (None, ["--color", "green", "--year", "2022", "--month", "13"], "there is no month 13"),
        (None, ["--color", "green", "--year", "2022", "--month", "May"], "month"),
        ("green-2022-01", ["--month", "1"], "not both"),
        ("green-2022-1x", [], "green-2022-1x"),
    ],
)
def test_what_is_no_arrival_is_refused_with_what_to_give(text: str | None, extra: list[str], said: str):
    with pytest.raises(UsageError, match=said):
        arrivals_asked(local_spec("nyc-taxi").spec, text, extra)


def test_next_may_be_told_how_many_at_once():
    spec = local_spec("flights").spec
    asked = pipeline_arguments("continuous", "flights", "next", [], "*", 0, lambda: spec, 3)
    assert (asked["arrivals"], asked["most"]) == (["next"], 3)
    assert "most" not in pipeline_arguments("data", "flights", "next", [], "*", 0, lambda: spec)

    with pytest.raises(UsageError, match=r"--most 3 is for --arrival next"):
        pipeline_arguments("data", "flights", "2013-01", [], "*", 0, lambda: spec, 3)
    with pytest.raises(UsageError, match=r"--most 3 means nothing to it"):
        pipeline_arguments("training", "flights", None, [], "*", 0, lambda: spec, 3)
