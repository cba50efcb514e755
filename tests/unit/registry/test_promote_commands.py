"""`lakeline promote`, `lakeline rollback` and `lakeline history`, as people and programs call them."""

import json

import pytest
from typer.testing import CliRunner

from lakeline.errors import Interrupted, RegistryError, UsageError, describe
from lakeline.registry.deployed import record_deployed
from lakeline.registry.moves import move_alias
from lakeline.serving.experiment.state import State, save
from lakeline.settings import get_settings
from pipelines.cli import app
from pipelines.commands import promote as commands

from .conftest import NAME, World


def _said(*words: str) -> str:
    result = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def two(world: World) -> World:
    world.settle(world.train().version)
    world.last["run_id"] = "second"
    world.register()
    return world


def test_promoting_and_rolling_back_by_hand(two: World):
    first = _said("promote", NAME, "1", "--why", "the first")
    told = json.loads(_said("promote", NAME, "2", "--why", "newer", "--json"))
    back = _said("rollback", NAME, "--why", "complaints")

    assert "ferries version 1 is in production." in first
    assert f"To serve it on this machine: lakeline run deployment --dataset {NAME}" in first
    assert told == {"model": NAME, "version": 2, "replaced": 1, "deployment": None, "test": None}
    assert "ferries version 1 is in production again; version 2 is `previous`." in back
    assert two.aliases() == {"staging": 2, "production": 1, "previous": 2}
    with pytest.raises(RegistryError, match="took version 2 back to 1 already"):
        _said("rollback", NAME, "--why", "complaints")
    assert [move["kind"] for move in json.loads(_said("history", NAME, "--json"))["moves"]][-1] == "rollback"


def test_history_says_who_moved_what_and_why(two: World, monkeypatch: pytest.MonkeyPatch):
    assert "No alias of ferries has been moved by Lakeline." in _said("history", NAME)
    monkeypatch.setenv("LAKELINE_USER", "grace")
    _said("promote", NAME, "1", "--why", "the first")
    _said("promote", NAME, "2", "--why", "newer")

    table, told = _said("history", NAME), json.loads(_said("history", NAME, "--json"))

    assert [line.split()[-1] for line in table.splitlines() if "production" in line] == ["first", "newer"]
    assert "grace" in table
    production = [(move["origin"], move["target"], move["who"], move["why"]) for move in told["moves"] if move["alias"] == "production"]
    assert production == [(None, 1, "grace", "the first"), (1, 2, "grace", "newer")]


def test_history_tells_a_move_that_was_not_made_and_one_that_was_made_elsewhere(two: World, monkeypatch: pytest.MonkeyPatch):
    client = two.client
    move_alias(client, NAME, "production", 1, "take 1")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", interrupt)
        with pytest.raises(KeyboardInterrupt):
            move_alias(client, NAME, "production", 2, "take 2")

    table, told = _said("history", NAME), json.loads(_said("history", NAME, "--json"))

    assert "(not made) take 2" in table
    assert "own interface" not in table
    assert ([move["made"] for move in told["moves"]], told["production"]) == ([True, False], 1)
    client.delete_registered_model_alias(NAME, "production")
    assert "The alias production stands nowhere now: it was moved in MLflow's own interface." in _said("history", NAME)


def test_interrupt_after_the_alias_moved_says_where_it_stands_and_how_to_go_on(two: World, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise Interrupted(2)

    monkeypatch.setattr(commands, "_deployment", interrupted)
    with pytest.raises(Interrupted) as caught:
        _said("promote", NAME, "1", "--why", "the first")

    said = describe(caught.value)
    assert said.startswith("interrupted. The alias production of ferries stands at version 1; nothing serves on this machine. To go on: ")
    assert "lakeline run deployment --dataset ferries" in said
    assert "Nothing was left half-done" not in said


def test_test_that_goes_on_is_not_passed_over(two: World):
    save(two.client, NAME, State("test-1", 1, 2, 0.3, True, two.commit, "grace", started=1.0))

    assert "Version 2 still answers 30% of requests (A/B test). To end that: lakeline experiment stop ferries" in _said(
        "promote", NAME, "1", "--why", "the first"
    )
    assert json.loads(_said("promote", NAME, "1", "--why", "again", "--json"))["test"] == {"version": 2, "weight": 0.3}


def test_reason_must_be_given(two: World):
    with pytest.raises(UsageError, match="--why is empty"):
        _said("promote", NAME, "1", "--why", " ")
    assert two.aliases() == {"staging": 2}


def test_rolling_back_without_a_previous_version_is_refused(two: World):
    _said("promote", NAME, "1", "--why", "the first")

    with pytest.raises(RegistryError, match="no way back"):
        _said("rollback", NAME, "--why", "complaints")


def test_promoting_again_says_that_nothing_changed(two: World):
    _said("promote", NAME, "1", "--why", "the first")

    assert "ferries version 1 is in production already." in _said("promote", NAME, "1", "--why", "again")


def test_promoting_again_starts_nothing_on_a_cluster_and_says_so(two: World, monkeypatch: pytest.MonkeyPatch):
    """No alias was moved, so MLflow tells nobody."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:1")
    get_settings.cache_clear()
    assert "The registry's webhook starts its deployment." in _said("promote", NAME, "1", "--why", "the first")

    again = _said("promote", NAME, "1", "--why", "again")
    record_deployed(NAME, 1, "run", "somebody")
    served = _said("promote", NAME, "1", "--why", "again")

    assert "It does not serve. To deploy it: lakeline submit deployment --dataset ferries" in again
    assert "It serves." in served
    assert "webhook" not in again + served
