"""The way back: by hand and by itself, after moves in MLflow's own interface, after an interrupt, and by two people at once."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from lakeline.errors import RegistryError
from lakeline.registry import history, moves, promotion, records, revert, roll_back
from lakeline.registry.deployed import record_deployed, standing
from lakeline.registry.moves import record_unrecorded
from lakeline.registry.records import unmade

from .bare import NAME, Bare

VERSIONS = {1, 2, 3, 4}


@pytest.fixture
def model(store: Path) -> Bare:
    assert store.is_file()
    return Bare()


def test_second_rollback_of_the_same_move_is_refused(model: Bare, monkeypatch: pytest.MonkeyPatch):
    """Two people on call see the same alarm: the second would bring the bad version back."""
    model.promote(1, 2)
    monkeypatch.setenv("LAKELINE_USER", "ada")
    assert roll_back(NAME, "wrong by an hour") == 1
    moves = history(NAME)

    with pytest.raises(
        RegistryError,
        match=r"ada took version 2 back to 1 already, .*: 'wrong by an hour'. Nothing .* lakeline promote ferries 2 --why",
    ):
        roll_back(NAME, "wrong by an hour")

    assert (model.both, history(NAME)) == ((1, 2), moves)
    model.promote(2)
    assert roll_back(NAME, "it is, really") == 1


def test_rollback_after_a_move_in_mlflow_goes_to_what_was_there_before(model: Bare):
    model.promote(1, 2)
    model.set_in_mlflow(3)

    assert roll_back(NAME, "complaints") == 2
    assert model.both == (2, 3)


def test_rollback_after_a_move_in_mlflow_prefers_what_serves(model: Bare):
    model.promote(1, 2)
    record_deployed(NAME, 1, "run", "ada")  # 2 was never deployed
    model.set_in_mlflow(3)

    assert roll_back(NAME, "complaints") == 1


def test_move_in_mlflow_is_recorded_by_its_deployment(model: Bare):
    model.promote(1, 2)
    record_deployed(NAME, 2, "run", "ada")
    model.set_in_mlflow(3)
    since = standing(NAME).since

    record_unrecorded(NAME, 3, 2)
    record_unrecorded(NAME, 3, 2)

    last = history(NAME)[-1]
    assert (last.origin, last.target, last.who, last.why) == (2, 3, "unknown", "set in MLflow")
    assert standing(NAME).since == since, "its run goes on"
    assert len([move for move in history(NAME) if move.alias == "production"]) == 3
    assert model.both == (3, 2)
    assert revert(NAME, 3, 2, "NaN") == 2
    assert model.both == (2, 1)


def test_what_was_recorded_or_served_before_is_not_recorded_again(model: Bare):
    model.promote(1, 2)
    moves = history(NAME)

    record_unrecorded(NAME, 2, 1)
    record_unrecorded(NAME, 1, 1)

    assert history(NAME) == moves


def interrupted(model: Bare, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Interrupt what is done between the moves of `previous` and `production`."""
    client = type(model.client)
    real = client.set_registered_model_alias

    def stop(self: Any, name: str, alias: str, version: str) -> None:
        if alias == "production":
            raise KeyboardInterrupt
        real(self, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", stop)
        with pytest.raises(KeyboardInterrupt):
            act()


def test_rollback_that_was_interrupted_is_done_by_the_same_command(model: Bare, monkeypatch: pytest.MonkeyPatch):
    model.promote(1, 2)
    interrupted(model, monkeypatch, lambda: roll_back(NAME, "complaints"))
    assert model.both == (2, 2)
    assert [move.target for move in unmade(history(NAME), 2, VERSIONS)] == [1]

    assert roll_back(NAME, "complaints") == 1

    assert model.both == (1, 2)
    assert unmade(history(NAME), 1, VERSIONS) == []
    assert [(move.origin, move.target) for move in history(NAME) if move.alias == "production"] == [(None, 1), (1, 2), (2, 1)]


def test_rollback_after_a_promotion_that_was_interrupted_goes_to_what_was_there_before(model: Bare, monkeypatch: pytest.MonkeyPatch):
    model.promote(1, 2)
    interrupted(model, monkeypatch, lambda: model.promote(3))
    assert model.both == (2, 2)

    assert roll_back(NAME, "2 is bad") == 1
    assert [move.target for move in unmade(history(NAME), 1, VERSIONS)] == [3], "explained by what came later"


def test_revert_restores_the_way_back_that_there_was(model: Bare):
    model.promote(1, 2)
    roll_back(NAME, "complaints")
    model.promote(3)

    assert revert(NAME, 3, 1, "NaN") == 1

    assert model.both == (1, 2)


def test_revert_leaves_the_way_back_alone_where_no_record_says_what_it_was(model: Bare):
    model.promote(1, 2)
    model.set_in_mlflow(3)

    assert revert(NAME, 3, 2, "NaN") == 2

    assert model.both == (2, 1)


def test_version_that_fails_after_it_was_taken_back_by_hand_is_not_the_way_back(model: Bare):
    model.promote(1, 2, 3)
    roll_back(NAME, "complaints")  # while 3 is being rolled out

    assert revert(NAME, 3, 2, "NaN") == 2

    assert model.both == (2, 1)


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait for another, as on a server: those who move aliases take turns on one machine only."""
    for module in (moves, promotion):
        monkeypatch.setattr(module, "exclusively", contextlib.nullcontext)


@pytest.mark.usefixtures("no_turns")
def test_promotion_made_while_another_version_fails_stays(model: Bare, monkeypatch: pytest.MonkeyPatch):
    model.promote(1, 2)
    real = records.record

    def slowly(client: Any, name: str, version: int, event: str, **said: Any) -> None:
        real(client, name, version, event, **said)
        if event == "rolled_back":
            monkeypatch.setattr(records, "record", real)
            model.promote(3)

    monkeypatch.setattr(records, "record", slowly)

    assert revert(NAME, 2, 1, "NaN") == 3
    assert model.both == (3, 1)


@pytest.mark.usefixtures("no_turns")
def test_of_two_people_who_promote_at_once_one_is_told(model: Bare, monkeypatch: pytest.MonkeyPatch):
    """Each has looked at what it takes the place of."""
    model.promote(1)
    real = records.record

    def slowly(client: Any, name: str, version: int, event: str, **said: Any) -> None:
        real(client, name, version, event, **said)
        monkeypatch.setattr(records, "record", real)
        model.promote(3)

    monkeypatch.setattr(records, "record", slowly)

    with pytest.raises(RegistryError, match="meanwhile version 3 has come into production, and version 2 was to take the place of 1"):
        model.promote(2)
    assert model.both == (3, 1)
