"""A deployment that something stopped is tried again, one whose version failed is not, and none begins before another's end."""

from datetime import timedelta

import pytest

from lakeline.errors import EventsError
from lakeline.events.alias import move_of
from lakeline.registry.deployed import record_deployed, record_deploying, standing
from pipelines import deployments
from tests.kubeflow import Kubeflow
from tests.unit.events.models import Model


def test_deployment_that_something_stopped_is_tried_three_times_and_then_once_an_hour(
    model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch
):
    """A version that fails loses the alias: where it hasn't, something else was in the way. Trainings in between change nothing."""
    model.move(2)
    run = str(deployments.on_alias(model.told(2)).run_id)
    for state in ("FAILED", "CANCELED"):
        assert list(deployments.catch_up(0)) == [], "it goes on"
        pipelines_server.end(run, state)
        for _ in range(100):
            pipelines_server.add(
                "runs", {"display_name": f"training {model.name} x", "experiment_id": pipelines_server.runs[0]["experiment_id"]}
            )
        (again,) = deployments.catch_up(0)
        run = str(again.run_id)
    pipelines_server.end(run, "FAILED")

    assert list(deployments.catch_up(0)) == []
    assert [run["display_name"] for run in pipelines_server.runs].count(f"deployment {model.name} 2") == 3
    monkeypatch.setattr(deployments, "_PAUSE", timedelta(hours=-1))
    assert [one.outcome for one in deployments.catch_up(0)] == ["started"]


def test_run_that_is_being_cancelled_is_under_way(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    run = str(deployments.on_alias(model.told(2)).run_id)
    pipelines_server.end(run, "CANCELING")

    assert list(deployments.catch_up(0)) == []
    assert deployments.on_alias(model.told(2)).outcome == "under way"


def test_version_that_is_set_again_in_mlflow_after_it_was_taken_back_is_tried_again(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    failed = deployments.on_alias(model.told(2))
    before = move_of(standing(model.name))
    pipelines_server.end(str(failed.run_id), "FAILED")
    model.move(1)
    model.client.set_registered_model_alias(model.name, "production", "2")

    assert move_of(standing(model.name)) != before
    assert [one.outcome for one in deployments.catch_up(0)] == ["started"]


def test_move_that_is_made_again_while_the_run_of_the_first_ends_is_deployed_after_it(
    model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deployments, "_INTERVAL", 0.05)
    model.move(2)
    first = deployments.on_alias(model.told(2))
    model.move(1)
    model.move(2)
    text = model.told(2)
    with pytest.raises(EventsError, match="another deployment is still under way"):
        deployments.on_alias(text, patience=0.2)
    pipelines_server.end(str(first.run_id), "FAILED")

    assert deployments.on_alias(text).outcome == "started"


def test_what_a_rollout_that_was_killed_half_way_has_left_is_put_right(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    killed = deployments.on_alias(model.told(2))
    record_deploying(model.name, 2)
    pipelines_server.end(str(killed.run_id), "CANCELED")
    model.move(1)

    assert standing(model.name).deployed == 1
    assert deployments.on_alias(model.told(1)).outcome == "started"
    pipelines_server.end(str(pipelines_server.runs[-1]["run_id"]), "FAILED")
    assert [one.outcome for one in deployments.catch_up(0)] == ["started"]
    record_deployed(model.name, 1, "run", "somebody")
    pipelines_server.end(str(pipelines_server.runs[-1]["run_id"]), "SUCCEEDED")
    assert deployments.on_alias(model.told(1)).outcome == "deployed"
    assert not standing(model.name).pending
