"""A promotion is followed to what comes of it."""

import threading
import time
from typing import Any

import pytest

from lakeline.errors import PipelinesError
from lakeline.registry.deployed import record_deployed, record_deploying
from pipelines import awaiting, deployments, outcome
from tests.kubeflow import Kubeflow
from tests.unit.events.models import Model


def test_promotion_is_followed_to_what_comes_of_it(model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(awaiting, "_INTERVAL", 0.05)
    model.move(2)
    old = deployments.on_alias(model.told(2))
    pipelines_server.end(str(old.run_id), "FAILED")
    model.move(1)
    model.move(2)

    def deploy() -> None:
        time.sleep(0.3)
        run = deployments.on_alias(model.told(2))
        time.sleep(0.3)
        record_deployed(model.name, 2, str(run.run_id), "somebody")
        pipelines_server.end(str(run.run_id))

    thread = threading.Thread(target=deploy)
    thread.start()
    result = awaiting.await_deployment(model.name, 2, 1, lambda _: None)
    thread.join()

    assert (result["status"], result["error"], result["version"]) == ("succeeded", None, 2)
    assert awaiting.await_deployment(model.name, 2, 1, lambda _: None)["status"] == "succeeded"


def test_promotion_that_was_rolled_back_says_why(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    run = deployments.on_alias(model.told(2))
    model.move(1)
    pipelines_server.end(str(run.run_id), "FAILED")

    result = awaiting.await_deployment(model.name, 2, 1, lambda _: None)

    assert (result["status"], result["run_id"]) == ("failed", run.run_id)
    assert "the run has failed" in result["error"]
    assert "catch-up" not in result["error"]


def test_deployment_that_something_stopped_may_be_done_yet(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    run = deployments.on_alias(model.told(2))
    pipelines_server.end(str(run.run_id), "FAILED")

    assert "the catch-up may deploy it yet" in awaiting.await_deployment(model.name, 2, 1, lambda _: None)["error"]


def test_promotion_that_another_one_overtook_or_nothing_started_is_told(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    with pytest.raises(PipelinesError, match="no deployment began within 0 minutes"):
        awaiting.await_deployment(model.name, 2, 0, lambda _: None)
    model.move(3)

    assert awaiting.await_deployment(model.name, 2, 1, lambda _: None)["error"] == "the alias production has moved on to version 3."
    assert pipelines_server.runs == []


def test_rollback_has_succeeded_when_what_was_being_rolled_out_has_come_to_its_end(
    model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch
):
    """1 serves when 2's rollout begins, and is brought back at once: 2 goes live all the same, and 1 after it."""
    monkeypatch.setattr(awaiting, "_INTERVAL", 0.05)
    model.move(2)
    run = deployments.on_alias(model.told(2))
    model.move(1)
    with pytest.raises(PipelinesError, match=f"version 1: another deployment is still under way after 0 minutes .run {run.run_id}."):
        awaiting.await_deployment(model.name, 1, 0, lambda _: None)

    followed, wait = threading.Event(), outcome.wait

    def follow(*arguments: Any) -> Any:
        followed.set()
        return wait(*arguments)

    monkeypatch.setattr(outcome, "wait", follow)

    def deploy() -> None:
        time.sleep(0.3)
        record_deployed(model.name, 2, str(run.run_id), "somebody")
        pipelines_server.end(str(run.run_id))
        own = deployments.on_alias(model.told(1))
        followed.wait(30)  # a run that ends before anybody looks is none to follow
        record_deployed(model.name, 1, str(own.run_id), "somebody")
        pipelines_server.end(str(own.run_id))

    thread = threading.Thread(target=deploy)
    thread.start()
    result = awaiting.await_deployment(model.name, 1, 1, lambda _: None)
    thread.join()

    assert (result["status"], result["run_id"]) == ("succeeded", pipelines_server.runs[-1]["run_id"])


def test_version_does_not_serve_while_another_ones_rollout_has_come_to_no_end(model: Model, pipelines_server: Kubeflow):
    assert pipelines_server.runs == []
    record_deploying(model.name, 2)

    with pytest.raises(PipelinesError, match="no deployment began"):
        awaiting.await_deployment(model.name, 1, 0, lambda _: None)
