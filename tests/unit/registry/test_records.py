"""Records of moves outlive versions, number any, and are read beside whatever else there is."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakeline.registry import history, models
from lakeline.registry import versions as searched
from lakeline.registry.deployed import (
    DEPLOYED_TAG,
    DEPLOYING_TAG,
    end_deploying,
    find_standing,
    record_deployed,
    record_deploying,
    standing,
)
from lakeline.registry.moves import move_alias
from pipelines.cli import app

from .bare import NAME, Bare


@pytest.fixture
def model(store: Path) -> Bare:
    assert store.is_file()
    return Bare()


def test_history_outlives_versions(model: Bare):
    model.promote(1, 2, 3)
    moves = history(NAME)

    model.client.delete_model_version(NAME, "1")

    assert history(NAME) == moves


def test_move_that_was_made_is_told_as_made_whatever_became_of_its_version_and_its_alias(model: Bare):
    model.promote(1)
    model.client.delete_model_version(NAME, "1")
    assert [move["made"] for move in told()] == [True]
    model.promote(2, 3)
    model.set_in_mlflow(2)

    assert [(move["target"], move["made"]) for move in told() if move["alias"] == "production"] == [(1, True), (2, True), (3, True)]


def test_move_recorded_before_moves_were_marked_is_not_called_unmade_for_a_version_that_is_gone(model: Bare):
    model.client.set_registered_model_tag(NAME, "move.20260101T000000.000000Z", OLD)
    assert [move["made"] for move in told()] == [False]

    model.client.delete_model_version(NAME, "1")

    assert [move["made"] for move in told()] == [True]


def told() -> list[dict[str, Any]]:
    """Moves as the command tells them."""
    return json.loads(CliRunner().invoke(app, ["history", NAME, "--json"], catch_exceptions=False).stdout)["moves"]


def test_history_is_whole_however_many_versions_and_models_there_are(model: Bare, monkeypatch: pytest.MonkeyPatch):
    model.client.set_model_version_tag(NAME, "1", "move.20260101T000000.000000Z", OLD)
    model.promote(2)
    for name in ("barges", "zebras"):
        model.client.create_registered_model(name)
    model.client.create_model_version("zebras", "file:///nowhere")
    model.client.set_registered_model_alias("zebras", "production", "1")
    monkeypatch.setattr(searched, "_PAGE", 1)

    assert [move.target for move in history(NAME) if move.alias == "production"] == [1, 2]
    assert len(models(NAME)) == 4
    assert models("zebras")[0].aliases == ["production"]


OLD = '{"at": "2026-01-01T00:00:00.000000+00:00", "alias": "production", "origin": null, "target": 1, "who": "ada", "why": "first"}'
"""As records were: a tag of the version that was moved to."""


def test_records_of_before_are_read_where_they_are(model: Bare):
    model.client.set_model_version_tag(NAME, "1", "move.20260101T000000.000000Z", OLD)
    model.set_in_mlflow(1)

    (move,) = history(NAME)

    assert (move.who, move.kind) == ("ada", "")
    assert standing(NAME).actor == "ada"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("move.note", "moved to the new cluster"),
        ("move.20260101T000000.000000Z", "by hand"),
        ("move.20260101T000000.000000Z", "[]"),
        ("move.20260101T000000.000000Z", '{"at": "now", "alias": "production", "origin": 1, "target": 2, "who": "x", "why": "y"}'),
        ("move.20260101T000000.000000Z", '{"at": "2026-01-01T00:00:00+00:00"}'),
        (DEPLOYED_TAG, "the second"),
        (DEPLOYING_TAG, "-1"),
        ("deployed_at", "yesterday"),
    ],
)
def test_tag_that_nobody_can_read_stops_nothing(model: Bare, key: str, value: str):
    model.promote(1)
    moves = history(NAME)
    model.client.set_model_version_tag(NAME, "1", key, value)
    model.client.set_registered_model_tag(NAME, key, value)

    assert history(NAME) == moves
    assert standing(NAME).production == 1
    assert move_alias(model.client, NAME, "production", 2, "next") == 2


def test_record_of_a_later_lakeline_is_read_as_far_as_it_is_known(model: Bare):
    model.client.set_registered_model_tag(NAME, "move.20260101T000000.000000Z", OLD.replace('"who"', '"mood": "fine", "who"'))

    assert history(NAME)[0].why == "first"


def test_reason_that_is_long_and_full_of_escapes_fits_into_a_tag(model: Bare):
    for place, why in enumerate(("\x1b" * 3000, "x" * 3000)):
        move_alias(model.client, NAME, "production", 1 + place, why)

    tags = model.client.get_registered_model(NAME).tags
    assert [len(value) < 5000 for value in tags.values()] == [True, True]
    assert len(history(NAME)[-1].why) == 2000


def test_standing_tells_what_may_serve(model: Bare):
    assert find_standing("ghosts") is None
    model.promote(1)
    record_deployed(NAME, 1, "run", "ada")
    at = standing(NAME)
    assert (at.model, at.production, at.deployed, at.deploying, at.pending) == (NAME, 1, 1, None, False)
    model.promote(2)

    record_deploying(NAME, 2)
    model.promote(1)  # and the rollout of 2 is killed half-way
    assert (standing(NAME).deploying, standing(NAME).pending) == (2, True)
    end_deploying(NAME)
    end_deploying(NAME)
    assert not standing(NAME).pending
    record_deploying(NAME, 1)
    assert standing(NAME).pending, "it was begun again, and nobody has seen its end"
    record_deployed(NAME, 1, "run", "ada")
    assert (standing(NAME).deploying, standing(NAME).pending) == (None, False)


def test_since_and_actor_are_of_the_last_move_wherever_it_went(model: Bare, monkeypatch: pytest.MonkeyPatch):
    """A version that is set in MLflow's interface after it was reverted is no older move: its failed run was before."""
    monkeypatch.setenv("LAKELINE_USER", "ada")
    model.promote(1, 2)
    monkeypatch.setenv("LAKELINE_USER", "grace")
    model.promote(1)
    model.set_in_mlflow(2)

    at = standing(NAME)

    assert at.actor == ""
    assert at.since == datetime.fromisoformat(history(NAME)[-1].at)
