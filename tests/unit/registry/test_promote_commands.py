"""`lakeline promote`, `lakeline rollback` and `lakeline history`, as people and programs call them."""

import json

import pytest
from typer.testing import CliRunner

from lakeline.errors import RegistryError, UsageError
from pipelines.cli import app

from .conftest import NAME, World


def _said(*words: str) -> str:
    result = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def two(world: World) -> World:
    world.train()
    world.last["run_id"] = "second"
    world.register()
    return world


def test_promoting_and_rolling_back_by_hand(two: World):
    first = _said("promote", NAME, "1", "--why", "the first")
    told = json.loads(_said("promote", NAME, "2", "--why", "newer", "--json"))
    back = _said("rollback", NAME, "--why", "complaints")

    assert "ferries version 1 is in production." in first
    assert f"To serve it on this machine: lakeline run deployment --dataset {NAME}" in first
    assert told == {"model": NAME, "version": 2, "replaced": 1, "deployment": None}
    assert "ferries version 1 is in production again; version 2 is `previous`." in back
    assert two.aliases() == {"staging": 2, "production": 1, "previous": 2}


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
