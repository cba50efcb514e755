"""`lakeline models` and `lakeline reproduce`, as people and programs call them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakeline.errors import UsageError
from pipelines.cli import app


def _said(*words: str) -> str:
    result = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_versions_are_listed_with_where_they_stand(world: Any):
    world.run()
    world.run(1)

    table, told = _said("models"), json.loads(_said("models", "ferries", "--json"))

    assert "promoted" in table
    assert "ferries 2 was held: rmse " in table
    assert [(each["version"], each["aliases"], each["verdict"]) for each in told["models"]] == [
        (1, ["production"], "promoted"),
        (2, ["staging"], "held"),
    ]
    assert told["models"][1]["metrics"].keys() >= {"rmse", "production_rmse", "validation_rmse"}
    assert told["models"][0]["data_commit"] == world.commit


def test_no_models_yet_says_how_to_get_one(home: Path):
    assert "Train one: lakeline run continuous" in _said("models")
    assert json.loads(_said("models", "--json")) == {"models": []}


def test_an_unknown_model_is_refused_with_those_there_are(world: Any):
    world.train()

    with pytest.raises(UsageError, match=r"there is no model 'ferry'\. There are: ferries\."):
        _said("models", "ferry")


def test_reproducing_says_how_many_metrics_are_the_same(world: Any):
    world.train()
    world.client.set_model_version_tag("ferries", "1", "image", "another")

    text, told = _said("reproduce", "ferries", "1"), json.loads(_said("reproduce", "ferries", "1", "--json"))

    assert "ferries version 1 is reproduced: 17 metrics are the same, bit for bit" in text
    assert "Note: the image was another and is none." in text
    assert told.keys() == {"model", "version", "data_commit", "metrics", "notes", "seconds"}
