"""The alias `production` moves when every gate holds, and what was decided is told on both sides."""

import json
from pathlib import Path
from typing import Any

import pytest

from lakeline.errors import RegistryError
from lakeline.registry import promote, roll_back, version_info

GOOD, POOR = 0, 1
"""Trials: least squares, which fits these rows, and a tree with one branch, which does not."""


def _gate(decision: Any, name: str) -> Any:
    return next(gate for gate in decision.gates if gate.name == name)


def test_the_first_good_model_is_promoted(world: Any):
    decision = world.run(GOOD)

    assert decision.verdict == "promoted"
    assert [gate.name for gate in decision.gates] == ["rmse maximum", "improvement", "slices", "signature", "smoke"]
    assert decision.previous is None
    assert world.aliases() == {"staging": 1, "production": 1}
    assert world.lake.tags()["model/1"] == world.commit
    info = version_info("ferries", 1)
    assert (info.verdict, info.reasons) == ("promoted", decision.reasons)
    run = world.client.get_run(info.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["verdict"] == "promoted"
    assert json.loads(json.dumps(decision.to_dict()))["verdict"] == "promoted"


def test_a_model_beyond_a_bound_is_held_although_nothing_is_in_production(world: Any):
    decision = world.run(POOR)

    assert decision.verdict == "held"
    assert world.aliases() == {"staging": 1}
    assert decision.reasons == [_gate(decision, "rmse maximum").text]
    assert "min; needed: at most 4." in decision.reasons[0]
    assert world.lake.tags()["model/1"] == world.commit


def test_a_better_model_replaces_production_and_both_say_why(world: Any):
    world.push(gates={})
    assert world.run(POOR).verdict == "promoted"

    decision = world.run(GOOD)

    assert decision.verdict == "promoted"
    assert decision.previous == 1
    assert world.aliases() == {"staging": 2, "production": 2, "previous": 1}
    why = _gate(decision, "improvement").text
    assert "better than production's" in why
    assert "(version 1) on the same 160 rows; needed: not worse." in why
    new, old = world.tags(2), world.tags(1)
    assert new["promoted_over"] == "1"
    assert why in new["promoted_why"]
    assert new["promoted_who"]
    assert new["promoted_at"].startswith("20")
    assert old["replaced_by"] == "2"
    assert why in old["replaced_why"]


def test_a_worse_model_is_held_and_both_say_why(world: Any):
    world.push(gates={"slice_rows": 20})
    world.run(GOOD)

    decision = world.run(POOR)

    assert decision.verdict == "held"
    assert world.aliases() == {"staging": 2, "production": 1}
    assert "worse than production's" in decision.reasons[0]
    assert "slices are worse than production by more than 10 %: route " in decision.reasons[1]
    assert version_info("ferries", 2).verdict == "held"
    challenged = world.tags(1)
    assert challenged["challenged_by"] == "2"
    assert challenged["challenged_outcome"].startswith("held: rmse ")


def test_a_model_as_good_as_production_is_promoted_unless_more_is_needed(world: Any):
    world.run(GOOD)
    assert "is as good as production's" in _gate(world.run(GOOD), "improvement").text
    world.push(gates={"improvement": 0.01})

    decision = world.run(GOOD)

    assert decision.verdict == "held"
    assert decision.reasons[0].endswith("needed: at least 1 % better.")


def test_promoting_again_comes_to_the_same_end(world: Any):
    world.push(gates={})
    world.run(POOR)
    first = world.run(GOOD)

    again = world.promote(2)

    assert again == first
    assert world.aliases() == {"staging": 2, "production": 2, "previous": 1}


@pytest.mark.parametrize("moved", ["nothing", "previous", "production"])
def test_a_retry_after_an_interrupt_between_two_moves_ends_as_it_should(moved: str, world: Any):
    world.push(gates={})
    world.run(POOR)
    version = world.train(GOOD).version
    if moved != "nothing":
        world.client.set_registered_model_alias("ferries", "previous", "1")
    if moved == "production":
        world.client.set_registered_model_alias("ferries", "production", str(version))

    decision = world.promote(version)

    assert (decision.verdict, decision.previous) == ("promoted", 1)
    assert world.aliases() == {"staging": 2, "production": 2, "previous": 1}
    assert world.tags(1)["replaced_by"] == "2"
    assert version_info("ferries", 2).verdict == "promoted"


def test_a_comparison_with_what_is_no_longer_in_production_does_not_count(world: Any):
    world.run(GOOD)
    slow, slow_run = world.train(GOOD).version, dict(world.last)
    world.settle(slow)
    fast = world.train(GOOD).version
    world.promote(fast)

    decision = promote("ferries", slow, slow_run["evaluation"])

    assert decision.verdict == "held"
    assert "version 1 was in production when the candidate was evaluated, and version 3 is now" in decision.reasons[0]
    assert world.aliases()["production"] == fast


def test_other_features_than_productions_are_held(world: Any):
    world.run(GOOD)
    world.push(features={"categorical": ["route"], "numeric": []}, gates={"improvement": -100, "slice_regression": 100})

    decision = world.run(GOOD)

    assert decision.verdict == "held"
    assert decision.reasons == [
        "production (version 1) could not be scored on these rows, because it needs 'load', which these rows do not have: "
        "nothing shows that the candidate is better.",
        "differs from production's version 1: it does not take 'load'.",
    ]


def test_a_production_model_that_cannot_be_scored_is_told_and_not_replaced(world: Any):
    world.push(gates={})
    world.run(GOOD)
    (_folder(world, 1) / "model.skops").write_bytes(b"no longer a model")

    decision = world.run(GOOD)

    assert decision.verdict == "held"
    assert decision.reasons[0].startswith("production (version 1) could not be scored on these rows, because its files can't be loaded")
    assert world.aliases()["production"] == 1


def test_a_registered_model_that_predicts_otherwise_than_when_it_was_made_is_held(world: Any):
    version = world.train(GOOD).version
    path = _folder(world, version) / "model.json"
    card = json.loads(path.read_text())
    card["example"]["predictions"][0] += 0.5
    path.write_text(json.dumps(card))

    decision = world.promote(version)

    assert decision.verdict == "held"
    assert decision.reasons[0].startswith("the registered model predicts its example rows differently, by up to ")


def test_a_registered_model_that_cannot_be_loaded_is_held(world: Any):
    version = world.train(GOOD).version
    (_folder(world, version) / "model.skops").unlink()

    decision = world.promote(version)

    assert decision.verdict == "held"
    assert "can't be loaded or can't predict its own input example" in decision.reasons[0]


def _folder(world: Any, version: int) -> Path:
    from lakeline.registry.peek import _rows

    run = world.client.get_model_version("ferries", str(version)).run_id
    return Path(_rows("SELECT artifact_location FROM logged_models WHERE source_run_id = ?", run)[0][0])


def test_rolling_back_changes_places_and_says_why(world: Any):
    world.push(gates={})
    world.run(POOR)
    world.run(GOOD)

    assert roll_back("ferries", "riders complain") == 1

    assert world.aliases() == {"staging": 2, "production": 1, "previous": 2}
    assert world.tags(1)["promoted_why"] == "riders complain"
    assert world.tags(2)["replaced_by"] == "1"


def test_without_a_previous_version_there_is_no_way_back(world: Any):
    world.run(GOOD)

    with pytest.raises(RegistryError, match="no version has the alias 'previous', so there is no way back"):
        roll_back("ferries", "why not")


def test_a_new_registry_over_an_old_lake_tags_beside_the_old_tag(world: Any, store: Path, empty_store: Path):
    import shutil

    world.run(GOOD)
    world.push(gates={})
    shutil.copy(empty_store, store)
    world.lake.tags()

    world.run(GOOD)

    tags = [tag for tag, commit in world.lake.tags().items() if commit == world.commit]
    assert len(tags) == 1
    assert tags[0].startswith("model/1.")


def test_a_version_that_is_not_there_is_refused(world: Any):
    world.train(GOOD)

    with pytest.raises(RegistryError, match="MLflow at sqlite:"):
        world.promote(7)
