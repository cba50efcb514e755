"""Moves of aliases: recorded, reverted, and made by hand."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakeline.errors import RegistryError
from lakeline.registry import history, promote_by_hand, revert, roll_back, version_info
from lakeline.registry.deployed import example_of
from lakeline.registry.files import DIGEST_TAG, fetch_version, files_digest
from lakeline.registry.moves import exclusively, move_alias
from lakeline.registry.store import connect
from lakeline.training.model import Example, read_card

from .conftest import NAME, World


def stands(alias: str) -> int | None:
    found = connect().get_registered_model(NAME).aliases.get(alias)
    return None if found is None else int(found)


def three(world: World) -> None:
    world.settle(world.train().version)
    for run_id in ("second", "third"):
        world.last["run_id"] = run_id
        world.settle(world.register().version)


def test_promotion_is_in_the_history_with_who_when_and_why(world: World, monkeypatch: pytest.MonkeyPatch):
    three(world)
    monkeypatch.setenv("LAKELINE_USER", "ada")

    promote_by_hand(NAME, 1, "first")
    promote_by_hand(NAME, 2, "better on Sundays")

    *_, last = [move for move in history(NAME) if move.alias == "production"]
    assert (last.origin, last.target, last.who, last.why) == (1, 2, "ada", "better on Sundays")
    assert last.at.endswith("+00:00")
    assert (stands("production"), stands("previous")) == (2, 1)


def test_of_two_that_promote_at_once_the_second_sees_what_the_first_did(world: World):
    """MLflow moves an alias from wherever it stands: who has looked before another's move would undo it unseen."""
    three(world)
    promote_by_hand(NAME, 1, "first")

    with ThreadPoolExecutor(1) as pool:
        with exclusively(NAME):
            other = pool.submit(promote_by_hand, NAME, 2, "better on Sundays", 1)
            time.sleep(0.3)
            move_alias(connect(), NAME, "production", 3, "better on Mondays", expect=1)
        with pytest.raises(RegistryError, match="meanwhile version 3 has come into production"):
            other.result()

    assert stands("production") == 3


def test_promoting_what_is_in_production_changes_nothing(world: World):
    three(world)
    promote_by_hand(NAME, 1, "first")
    before = history(NAME)

    promote_by_hand(NAME, 1, "again")

    assert history(NAME) == before
    assert stands("previous") is None


def test_version_that_is_not_there_is_refused(world: World):
    three(world)

    with pytest.raises(RegistryError, match=r"no version 9 .* It has: 1, 2, 3"):
        promote_by_hand(NAME, 9, "why not")


def test_version_whose_files_are_gone_is_not_promoted_by_hand(world: World):
    three(world)
    promote_by_hand(NAME, 1, "first")
    path = Path(connect().get_model_version_download_uri(NAME, "2").removeprefix("file://"))
    (path / "model.skops").unlink()

    with pytest.raises(RegistryError, match="version 2 was not promoted: the registered model can't be loaded"):
        promote_by_hand(NAME, 2, "hope")

    assert stands("production") == 1


def test_reverting_brings_back_what_served_and_what_was_before_it(world: World):
    three(world)
    for version in (1, 2, 3):
        promote_by_hand(NAME, version, "next")

    revert(NAME, 3, 2, "it predicts NaN")

    assert (stands("production"), stands("previous")) == (2, 1)
    tags = version_info(NAME, 3).tags
    assert (tags["rolled_back_to"], tags["rolled_back_why"]) == ("2", "it predicts NaN")
    assert history(NAME)[-1].why == "version 3 was rolled back: it predicts NaN"


def test_reverting_the_first_version_leaves_nothing_in_production(world: World):
    three(world)
    promote_by_hand(NAME, 1, "first")

    revert(NAME, 1, None, "it is too slow")

    assert (stands("production"), stands("previous")) == (None, None)
    assert history(NAME)[-1].target is None


def test_version_that_fails_when_it_is_no_longer_in_production_is_not_the_way_back(world: World):
    """1 serves; 3 was promoted while 2 was being rolled out."""
    three(world)
    for version in (1, 2, 3):
        promote_by_hand(NAME, version, "next")

    assert revert(NAME, 2, 1, "it is too slow") == 3

    assert (stands("production"), stands("previous")) == (3, 1)
    assert version_info(NAME, 2).tags["rolled_back_why"] == "it is too slow"
    assert revert(NAME, 3, 1, "so is this") == 1
    assert (stands("production"), stands("previous")) == (1, None)


def test_interrupted_move_is_recorded_once(world: World, monkeypatch: pytest.MonkeyPatch):
    three(world)
    client = connect()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", interrupt)
        with pytest.raises(KeyboardInterrupt):
            move_alias(client, NAME, "production", 1, "first")

    move_alias(client, NAME, "production", 1, "first")

    assert [(move.origin, move.target) for move in history(NAME) if move.alias == "production"] == [(None, 1)]


def test_move_that_is_made_again_later_is_recorded_again(world: World):
    three(world)
    client = connect()
    for version in (1, 2, 1, 2):
        move_alias(client, NAME, "production", version, "as ever")

    assert [(move.origin, move.target) for move in history(NAME)] == [(None, 1), (1, 2), (2, 1), (1, 2)]


def test_rolling_back_by_hand_is_in_the_history(world: World):
    three(world)
    for version in (1, 2):
        promote_by_hand(NAME, version, "next")

    roll_back(NAME, "complaints")

    assert (stands("production"), stands("previous")) == (1, 2)
    assert history(NAME)[-1].why == "complaints"


def test_history_of_an_unknown_model_says_where_to_look(world: World):
    with pytest.raises(RegistryError, match="no model 'ghosts' in the registry"):
        history("ghosts")


def test_fetched_files_have_the_digest_that_was_registered(world: World, tmp_path: Path):
    world.train()

    digest = fetch_version(NAME, 1, tmp_path / "1")

    assert digest == version_info(NAME, 1).tags[DIGEST_TAG] == files_digest(tmp_path / "1")
    assert (tmp_path / "1" / "MLmodel").is_file()


def test_rows_to_try_a_version_with_are_had_without_its_other_files(world: World, tmp_path: Path):
    world.train()
    path = Path(connect().get_model_version_download_uri(NAME, "1").removeprefix("file://"))
    card = read_card(path)
    (path / "model.skops").unlink()

    assert example_of(NAME, 1) == card.example


@pytest.mark.parametrize("has", [True, False])
def test_rows_of_a_model_made_elsewhere_are_those_of_its_input_example(world: World, tmp_path: Path, has: bool):
    info = {"artifact_path": "rows.json", "pandas_orient": "split", "type": "dataframe"}
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": {}} | ({"saved_input_example_info": info} if has else {})))
    (tmp_path / "rows.json").write_text('{"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}')
    (tmp_path / "model.pkl").write_text("large")
    connect().create_registered_model("barges")
    connect().create_model_version("barges", tmp_path.as_uri())

    assert example_of("barges", 1) == (Example(["a", "b"], [[1, "x"], [2, "y"]], []) if has else None)


def test_files_that_were_changed_are_refused(world: World, tmp_path: Path):
    world.train()
    path = Path(connect().get_model_version_download_uri(NAME, "1").removeprefix("file://"))
    (path / "model.json").write_text((path / "model.json").read_text() + " ")

    with pytest.raises(RegistryError, match="version 1: its files are not those that were registered"):
        fetch_version(NAME, 1, tmp_path / "1")
