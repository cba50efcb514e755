"""The order in which a test is set up and taken down, and what is left by one that is interrupted anywhere."""

import json
import os
from dataclasses import replace

import pytest

from lakeline.errors import RolloutFailed, UsageError
from lakeline.registry.store import connect
from lakeline.serving.experiment import running
from lakeline.serving.experiment.state import load
from lakeline.serving.smoke import Smoke
from lakeline.settings import get_settings
from tests.ferries import NAME, Ferries
from tests.unit.serving.experiment.standin import SET_UP, TAKE_DOWN, Interrupted, StandIn, aliases_of, state_of


def test_challenger_is_there_before_anybody_is_sent_to_it(site: StandIn):
    state = running.start(NAME, 1)

    assert site.calls == [*SET_UP, "ExperimentStarted"]
    assert state_of() == state
    assert (state.production, state.challenger, state.weight, state.unkeyed) == (2, 1, 0.3, True)
    assert state.started is not None
    assert aliases_of()["challenger"] == 1
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
    assert (state.outcome, state.why, state_of()) == ("stopped", "enough", state)
    assert site.arms["production"].route is None
    assert "challenger" not in aliases_of()
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
    assert not state_of().running


@pytest.mark.parametrize("at", TAKE_DOWN)
def test_stop_that_was_interrupted_ends_when_it_is_run_again(site: StandIn, at: str):
    running.start(NAME, 1)
    site.fails[at] = Interrupted()
    with pytest.raises(Interrupted):
        running.stop(NAME, "enough")
    assert state_of().running
    running.stop(NAME, "enough")
    assert set(site.arms) == {"production"}
    assert not state_of().running


@pytest.mark.parametrize("at", SET_UP[1:])
def test_challenger_that_does_not_get_ready_leaves_all_as_it_was(site: StandIn, at: str):
    site.fails[at] = RolloutFailed("it crashed")
    with pytest.raises(RolloutFailed):
        running.start(NAME, 1)
    assert set(site.arms) == {"production"}
    assert site.arms["production"].route is None
    assert (state_of().outcome, state_of().why) == ("stopped", "it could not be set up: it crashed")
    assert aliases_of() == {"production": 2, "staging": 3}


def test_test_that_runs_is_left_alone_when_it_is_started_again(site: StandIn):
    """A node that is drained just then is no reason to end what has run for days."""
    state = running.start(NAME, 1)
    site.calls.clear()
    site.fails["roll out challenger with route"] = RolloutFailed("its node was drained")
    assert running.start(NAME, 1) == state
    assert site.calls == []


@pytest.mark.parametrize("at", ["try 1", *SET_UP[1:]])
def test_test_that_runs_goes_on_if_what_is_gone_of_it_can_not_be_set_up_again(site: StandIn, at: str):
    state = running.start(NAME, 1)
    site.arms["production"] = replace(site.arms["production"], route=None)
    site.fails[at] = RolloutFailed("its node was drained")
    with pytest.raises(RolloutFailed, match="drained"):
        running.start(NAME, 1)
    assert state_of() == state
    assert "challenger" in site.arms

    assert running.start(NAME, 1) == state
    assert site.arms["production"].route is not None


def test_two_commands_of_one_person_do_not_hold_a_model_together(site: StandIn):
    """A run's tries do, for they are one."""
    state = running.start(NAME, 1)
    running.stop(NAME, "enough")
    running.conclude(NAME, state.id, "end", "worse.")
    assert all(f"process {os.getpid()}" in holder for holder in site.holders)
    running.start(NAME, 1, "run-1")
    running.conclude(NAME, state_of().id, "end", "worse.", "run-2")
    assert site.holders[3:] == ["run-1", "run-2"]


def test_challenger_that_fails_its_tries_starts_no_test(site: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(running, "smoke", lambda *_: Smoke(1, 1, 1.0, 1.0, ["1 of 1 requests failed."]))
    with pytest.raises(RolloutFailed, match="tried with its own example: 1 of 1 requests failed"):
        running.start(NAME, 1)
    assert load(connect(), NAME) is None
    assert site.calls == ["try 1"]


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
    assert not state_of().running
    assert replace(state_of(), why=None).outcome == "stopped"
