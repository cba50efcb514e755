"""Whether the source has an arrival: asked without bringing it here."""

from typing import Any

import pytest

from lakeline.data.available import available, upcoming
from lakeline.data.specfile import local_spec
from lakeline.errors import SourceError, UsageError
from lakeline.lake import Lake, open_lake


def test_local_copy_is_there_without_asking_the_server(things: Any, site: Any):
    things.define(("http://127.0.0.1:1", site.url))
    things.copy()

    assert available(local_spec("things").spec, "m01")
    assert site.requests == []


def test_server_says_which_files_it_has(things: Any, site: Any):
    things.define(("http://127.0.0.1:1", site.url))
    site.put("things-02.csv", b"rows")
    site.mischief.extend([lambda _: False, lambda handler: handler.answer(403) or True])
    spec = local_spec("things").spec

    assert [available(spec, arrival) for arrival in ("m02", "m03", "m04")] == [True, False, False]


def test_server_in_trouble_is_not_taken_for_one_without_the_file(things: Any, site: Any):
    things.define(("http://127.0.0.1:1", site.url))
    site.mischief.append(lambda handler: handler.answer(503) or True)

    with pytest.raises(SourceError, match="answers 503"):
        available(local_spec("things").spec, "m02")


def test_server_out_of_reach_is_said_to_be(things: Any):
    with pytest.raises(SourceError, match="out of reach"):
        available(local_spec("things").spec, "m02")


def test_impossible_arrival_is_refused(things: Any):
    with pytest.raises(UsageError, match="there is no month 13"):
        available(local_spec("things").spec, "m13")


def test_package_has_what_it_was_installed_with():
    assert available(local_spec("flights").spec, "2013-12")


def test_package_has_the_files_that_it_has(monkeypatch: pytest.MonkeyPatch):
    spec = local_spec("flights").spec
    other = spec.model_copy(update={"source": spec.source.model_copy(update={"path": "data/{year}.csv"})})

    assert not available(other, "2013-12")


@pytest.fixture
def lake(things: Any, site: Any) -> Lake:
    """A lake that has the first arrival of a data set, whose server has the next three, and one after a gap."""
    things.push(("http://127.0.0.1:1", site.url))
    made = open_lake("things")
    made.commit("main", {"clean/m01.parquet": b"rows"}, "Put")
    for month in (1, 2, 3, 4, 6):
        site.put(f"things-{month:02d}.csv", b"rows")
    return made


def test_what_follows_is_asked_for_until_it_is_not_there(lake: Lake, site: Any):
    spec = local_spec("things").spec

    assert upcoming(lake, spec) == ["m02", "m03", "m04"]
    assert len(site.requests) == 4
    assert upcoming(lake, spec, most=2) == ["m02", "m03"]
    lake.commit("main", {"clean/m04.parquet": b"rows"}, "Put")
    assert upcoming(lake, spec) == []


def test_server_in_trouble_ends_the_look(lake: Lake, site: Any):
    site.mischief.extend([lambda _: False, lambda handler: handler.answer(503) or True])

    with pytest.raises(SourceError, match="answers 503"):
        upcoming(lake, local_spec("things").spec)


def test_lake_without_arrivals_has_nothing_that_anything_follows(things: Any):
    things.push()

    with pytest.raises(UsageError, match=r"next after what.*Name the first ones"):
        upcoming(open_lake("things"), local_spec("things").spec)


def test_next_of_a_data_set_with_a_single_arrival_is_that_one_until_the_lake_has_it(things: Any, site: Any):
    once = ('id: "m{month:02d}"\n  parameters:\n    month: { type: integer, minimum: 1, maximum: 12 }', "id: all\n  parameters: {}")
    things.push(("http://127.0.0.1:1", site.url), ("{month:02d}.csv\n  format", "all.csv\n  format"), ("-{month:02d}.csv", ".csv"), once)
    lake, spec = open_lake("things"), local_spec("things").spec

    assert upcoming(lake, spec) == []
    site.put("things.csv", b"rows")
    assert upcoming(lake, spec) == ["all"]
    lake.commit("main", {"clean/all.parquet": b"rows"}, "Put")
    assert upcoming(lake, spec) == []
