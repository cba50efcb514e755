"""A version is built again from its tags alone, and a single bit that differs is told."""

import json
import math
from typing import Any

import pytest

from lakeline.errors import DataError, RegistryError
from lakeline.reproduce import reproduce


@pytest.mark.parametrize("trial", [0, 1])
def test_a_version_is_built_again_bit_for_bit(trial: int, world: Any):
    world.train(trial)
    world.push(title="Ferries, said anew", split={"kind": "random", "seed": 7})  # what comes later changes nothing

    result = reproduce("ferries", 1)

    assert result.notes == []
    assert {"rmse", "mae", "r2", "validation_rmse", "train_rmse", "rmse of route a"} <= result.metrics.keys()
    assert len(result.metrics) == 3 + 3 + 2 + 9
    assert json.loads(json.dumps(result.to_dict()))["model"] == "ferries"


def test_one_bit_of_difference_is_told(world: Any):
    registered = world.train()
    true = world.last["evaluation"]["candidate"]["mae"]
    world.client.log_metric(registered.mlflow_run_id, "mae", math.nextafter(true, 0), step=1)

    with pytest.raises(DataError, match=r"ferries version 1 is not reproduced: 1 of 17 metrics differ: mae was .* and is .*\.$") as caught:
        reproduce("ferries", 1)

    assert repr(true) in str(caught.value)


def test_other_code_that_makes_no_difference_is_noted(world: Any):
    world.train()
    world.client.set_model_version_tag("ferries", "1", "code_version", "an older commit")

    (note,) = reproduce("ferries", 1).notes

    assert note.startswith("the code was an older commit and is ")


def test_a_version_without_lineage_is_refused(world: Any):
    world.train()
    world.client.delete_model_version_tag("ferries", "1", "data_commit")

    with pytest.raises(RegistryError, match="ferries version 1 can't be built again: it was registered without data_commit"):
        reproduce("ferries", 1)


def test_a_version_that_is_not_there_is_refused(world: Any):
    with pytest.raises(RegistryError, match="there is no version 5"):
        reproduce("ferries", 5)
