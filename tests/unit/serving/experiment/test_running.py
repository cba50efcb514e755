"""The order in which a test is set up and taken down, and what is left by one that is interrupted anywhere."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lakeline.errors import RolloutFailed, UsageError
from lakeline.lake import open_lake
from lakeline.registry import history
from lakeline.registry.deployed import standing
from lakeline.registry.store import connect
from lakeline.serving.experiment import running
from lakeline.serving.experiment.state import State, load
from lakeline.serving.smoke import Smoke
from lakeline.settings import get_settings
from tests.ferries import NAME, Ferries, make
from tests.unit.serving.experiment.conftest import SPEC
from tests.unit.serving.experiment.standin import Interrupted, StandIn


@pytest.fixture(scope="session")
def ferries(tmp_path_factory: pytest.TempPathFactory) -> Ferries:
    """Versions of a model: 1 is better than 2."""
    return make(tmp_path_factory.mktemp("ferries"))


@pytest.fixture
def site(ferries: Ferries, home: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Version 2 serves, and has the alias."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(ferries.uri.removeprefix("sqlite:///"), home / "mlflow.db")
    columns = {"route": {"type": "text"}, "load": {"type": "integer"}, "minutes": {"type": "number"}}
    tables = {"raw": {"columns": columns}, "clean": {"columns": columns}}
    spec = SPEC | {"name": NAME, "features": {"numeric": ["load"]}, "experiment": {"minimum": 20, "weight": 0.3}} | tables
    files = {"_lakeline/dataset.yaml": json.dumps(spec).encode(), "_lakeline/transform.sql": b"SELECT * FROM raw"}
    commit = open_lake(NAME, create=True).commit("main", files, "spec")
    for version in ferries.releases:
        connect().set_model_version_tag(NAME, str(version), "data_commit", commit)
    connect().set_registered_model_alias(NAME, "production", "2")
    stand_in = StandIn(arms={"production": ferries.releases[2]})
    monkeypatch.setattr(running, "open_site", lambda: stand_in)
    # Nothing serves at a stand-in's trial, so there is nothing to try.
    monkeypatch.setattr(running, "smoke", lambda *_: Smoke(1, 0, 1.0, 1.0, []))
    return stand_in


SET_UP = ["try 1", "roll out challenger with route", "roll out production with route", "share 0.3"]
TAKE_DOWN = ["share None", "roll out production", "withdraw challenger"]


def _state() -> State:
    state = load(connect(), NAME)
    assert state is not None
    return state


def _aliases() -> dict[str, int]:
    return {name: int(version) for name, version in connect().get_registered_model(NAME).aliases.items()}


def test_challenger_is_there_before_anybody_is_sent_to_it(site: StandIn):
    state = running.start(NAME, 1)

    assert site.calls == [*SET_UP, "ExperimentStarted"]
    assert _state() == state
    assert (state.production, state.challenger, state.weight, state.unkeyed) == (2, 1, 0.3, True)
    assert state.started is not None
    assert _aliases()["challenger"] == 1
    routes = {variant: release.route for variant, release in site.arms.items()}
    assert {variant: route.peer for variant, route in routes.items() if route} == {
        "production": "http://challenger",
        "challenger": "http://production",
    }
    assert {(route.experiment, route.weight) for route in routes.values() if route} == {(state.id, 0.3)}


def test_nobody_is_sent_to_a_challenger_that_goes(site: StandIn):
    running.start(NAME, 1)
    site.calls.clear()

    state = running.stop(NAME, "enough")

    assert site.calls == [*TAKE_DOWN, "ExperimentEnded"]
    assert (state.outcome, state.why, _state()) == ("stopped", "enough", state)
    assert site.arms["production"].route is None
    assert "challenger" not in _aliases()
    assert json.loads(connect().get_model_version(NAME, "1").tags["experiment"])["why"] == "enough"


@pytest.mark.parametrize("at", SET_UP)
def test_start_that_was_interrupted_goes_on_when_it_is_run_again(site: StandIn, at: str):
    site.fails[at] = Interrupted()
    with pytest.raises(Interrupted):
        running.start(NAME, 1)
    begun = load(connect(), NAME)

    state = running.start(NAME, 1)

    assert state.started is not None
    assert begun is None or begun.id == state.id, "servers that have its id stay in the same test"
    assert set(site.arms) == {"production", "challenger"}
    assert site.calls[-1] == "ExperimentStarted"


@pytest.mark.parametrize("at", SET_UP[1:])
def test_start_that_was_interrupted_can_be_stopped(site: StandIn, at: str):
    site.fails[at] = Interrupted()
    with pytest.raises(Interrupted):
        running.start(NAME, 1)
    running.stop(NAME, "never mind")
    assert set(site.arms) == {"production"}
    assert site.arms["production"].route is None
    assert not _state().running


@pytest.mark.parametrize("at", TAKE_DOWN)
def test_stop_that_was_interrupted_ends_when_it_is_run_again(site: StandIn, at: str):
    running.start(NAME, 1)
    site.fails[at] = Interrupted()
    with pytest.raises(Interrupted):
        running.stop(NAME, "enough")
    assert _state().running
    running.stop(NAME, "enough")
    assert set(site.arms) == {"production"}
    assert not _state().running


@pytest.mark.parametrize("at", SET_UP[1:])
def test_challenger_that_does_not_get_ready_leaves_all_as_it_was(site: StandIn, at: str):
    site.fails[at] = RolloutFailed("it crashed")
    with pytest.raises(RolloutFailed):
        running.start(NAME, 1)
    assert set(site.arms) == {"production"}
    assert site.arms["production"].route is None
    assert (_state().outcome, _state().why) == ("stopped", "it could not be set up: it crashed")
    assert _aliases() == {"production": 2, "staging": 3}


def test_challenger_that_fails_its_tries_starts_no_test(site: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(running, "smoke", lambda *_: Smoke(1, 1, 1.0, 1.0, ["1 of 1 requests failed."]))
    with pytest.raises(RolloutFailed, match="tried with its own example: 1 of 1 requests failed"):
        running.start(NAME, 1)
    assert load(connect(), NAME) is None
    assert site.calls == ["try 1"]


def test_winner_is_promoted_once_the_test_is_taken_down(site: StandIn):
    state = running.start(NAME, 1)
    site.calls.clear()

    ended = running.conclude(NAME, state.id, "promote", "9 % better.")

    assert site.calls == [*TAKE_DOWN, "ExperimentEnded"]
    assert ended.outcome == "promoted"
    assert (_aliases()["production"], _aliases()["previous"]) == (1, 2)
    last = [move for move in history(NAME) if move.alias == "production"][-1]
    assert last.why == f"it won the A/B test {state.id}: 9 % better."


@pytest.mark.parametrize("at", TAKE_DOWN)
def test_conclusion_that_was_interrupted_comes_to_the_same_end(site: StandIn, at: str):
    state = running.start(NAME, 1)
    site.fails[at] = Interrupted()
    with pytest.raises(Interrupted):
        running.conclude(NAME, state.id, "promote", "better.")
    assert _aliases()["production"] == 2
    assert running.conclude(NAME, state.id, "promote", "better.").outcome == "promoted"
    assert running.conclude(NAME, state.id, "promote", "better.").outcome == "promoted"
    assert (_aliases()["production"], set(site.arms)) == (1, {"production"})


def test_conclusion_that_was_interrupted_after_the_promotion_says_that_it_was_promoted(site: StandIn, monkeypatch: pytest.MonkeyPatch):
    state = running.start(NAME, 1)

    def interrupt(*_: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(running, "save", interrupt)
        with pytest.raises(Interrupted):
            running.conclude(NAME, state.id, "promote", "better.")
    assert running.look(NAME)[2].verdict == "end", "another version is in production: the challenger"
    assert running.conclude(NAME, state.id, "end", "it moved").outcome == "promoted"


def test_nobody_wins_if_production_moved_in_the_meantime(site: StandIn):
    state = running.start(NAME, 1)
    connect().set_registered_model_alias(NAME, "production", "3")
    ended = running.conclude(NAME, state.id, "promote", "better.")
    assert ended.outcome == "ended"
    assert ended.why == "version 3 is in production now, not version 2, beside which version 1 was tested."
    assert standing(NAME).production == 3


def test_production_that_moved_ends_the_test_at_the_next_look(site: StandIn):
    running.start(NAME, 1)
    connect().set_registered_model_alias(NAME, "production", "3")
    _, _, found = running.look(NAME)
    assert found.verdict == "end"
    assert found.reasons[0].startswith("version 3 is in production now")


def test_test_that_is_over_is_not_concluded_by_a_late_run(site: StandIn):
    first = running.start(NAME, 1)
    running.stop(NAME, "enough")
    assert running.conclude(NAME, first.id, "promote", "better.").outcome == "stopped"
    assert _aliases()["production"] == 2
    with pytest.raises(UsageError, match="is not its last one any more"):
        running.conclude(NAME, "ferries-1-20200101T000000", "promote", "better.")


def test_look_at_a_test_that_nobody_has_asked_anything_goes_on(site: StandIn):
    running.start(NAME, 1)
    state, spec, found = running.look(NAME)
    assert (found.verdict, found.production.version, found.challenger.version) == ("continue", 2, 1)
    assert spec.experiment.minimum == 20
    assert state.running


@pytest.mark.parametrize(
    ("version", "serves", "said"),
    [
        (2, 2, "version 2 is in production already"),
        (1, None, "nothing serves it"),
        (1, 3, "version 3 serves, but the alias production stands at 2"),
    ],
)
def test_what_can_not_be_tested_is_refused(site: StandIn, ferries: Ferries, version: int, serves: int | None, said: str):
    site.arms = {"production": ferries.releases[serves]} if serves else {}
    with pytest.raises(UsageError, match=said):
        running.start(NAME, version)
    assert site.calls == []


def test_second_test_beside_the_first_is_refused(site: StandIn):
    running.start(NAME, 1)
    with pytest.raises(UsageError, match="version 1 is being tested already"):
        running.start(NAME, 3)


def test_what_is_not_there_can_not_be_stopped_or_looked_at(site: StandIn):
    with pytest.raises(UsageError, match="it is in no test"):
        running.stop(NAME, "why not")
    running.start(NAME, 1)
    running.stop(NAME, "enough")
    with pytest.raises(UsageError, match="The last one, of version 1, was stopped: enough"):
        running.look(NAME)


def test_gateway_that_shares_out_requests_is_noted(site: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_SERVING", "kubernetes")
    monkeypatch.setenv("LAKELINE_SERVING_GATEWAY", "gateway/lakeline")
    get_settings.cache_clear()
    assert running.start(NAME, 1).unkeyed is False


def test_state_fits_into_a_tag(site: StandIn):
    running.start(NAME, 1)
    assert running.stop(NAME, "x" * 20_000).running is False
    assert not _state().running
    assert replace(_state(), why=None).outcome == "stopped"
