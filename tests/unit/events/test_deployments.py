"""What a move of the alias starts: one deployment for each move, however often its event comes, however late, or not at all."""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lakeline.errors import EventsError, PipelinesError, RegistryError
from lakeline.events import MalformedEvent
from lakeline.lake import Lake, open_lake
from lakeline.registry.deployed import record_deployed
from lakeline.settings import get_settings
from pipelines import deployments, remote
from tests.kubeflow import Kubeflow
from tests.unit.events.models import Model


def names(server: Kubeflow) -> list[str]:
    return [run["display_name"] for run in server.runs]


def test_move_of_the_alias_starts_the_deployment_of_its_version(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    delivery = str(uuid.uuid4())

    reaction = deployments.on_alias(model.told(2, delivery))

    (run,) = pipelines_server.runs
    assert (reaction.outcome, reaction.run_id, reaction.commit) == ("started", run["run_id"], model.commits[1])
    assert run["display_name"] == f"deployment {model.name} 2"
    assert run["runtime_config"]["parameters"] == {"dataset": model.name, "version": 2}
    assert model.claims == {f"run/deployment/2.{delivery[:12]}": model.commits[1]}


def test_event_that_comes_many_times_at_once_starts_one_run(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    text = model.told(2)

    with ThreadPoolExecutor(10) as pool:
        outcomes = [reaction.outcome for reaction in pool.map(deployments.on_alias, [text] * 10)]

    assert outcomes.count("started") == 1
    assert set(outcomes) <= {"started", "claimed", "under way"}
    assert names(pipelines_server) == [f"deployment {model.name} 2"]


def test_event_that_comes_again_after_the_deployment_starts_nothing(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    text = model.told(2)
    started = deployments.on_alias(text)
    assert deployments.on_alias(text).outcome == "under way"
    pipelines_server.end(str(started.run_id))
    assert deployments.on_alias(text).outcome == "claimed"  # it ended, and serves something else: that is for a person
    record_deployed(model.name, 2, str(started.run_id), "somebody")

    assert deployments.on_alias(text).outcome == "deployed"
    assert deployments.on_alias(model.told(2)).outcome == "deployed"
    assert len(pipelines_server.runs) == 1


def test_event_of_where_the_alias_no_longer_stands_starts_nothing(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    model.move(3)

    late = deployments.on_alias(model.told(2))
    right = deployments.on_alias(model.told(3))
    model.move(None)

    assert (late.outcome, right.outcome) == ("superseded", "started")
    assert late.message == f"{model.name} version 2: the alias has moved on: it stands at version 3."
    assert "it stands nowhere" in deployments.on_alias(model.told(3)).message
    assert names(pipelines_server) == [f"deployment {model.name} 3"]


def test_each_move_to_a_version_is_one_deployment(model: Model, pipelines_server: Kubeflow):
    """Also of a version that was deployed, or failed, before."""
    for _ in range(2):
        for version in (2, 1):
            model.move(version)
            started = deployments.on_alias(model.told(version))
            assert started.outcome == "started"
            pipelines_server.end(str(started.run_id))
            record_deployed(model.name, version, str(started.run_id), "somebody")

    assert names(pipelines_server) == [f"deployment {model.name} {version}" for version in (2, 1, 2, 1)]


def test_deployment_that_rolls_itself_back_starts_no_other(model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    """It moves the alias back while it runs, and MLflow tells of that as of any move: what serves is known when it has ended."""
    monkeypatch.setattr(deployments, "_INTERVAL", 0.05)
    model.move(2)
    failing = deployments.on_alias(model.told(2))
    model.move(1)
    with ThreadPoolExecutor(1) as pool:
        back = pool.submit(deployments.on_alias, model.told(1))
        time.sleep(0.5)
        assert not back.done()
        pipelines_server.end(str(failing.run_id), "FAILED")

        assert back.result(30).outcome == "deployed"
    assert len(pipelines_server.runs) == 1


def test_move_back_while_the_other_version_is_rolled_out_is_deployed_after_it(
    model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deployments, "_INTERVAL", 0.05)
    model.move(2)
    first = deployments.on_alias(model.told(2))
    model.move(1)
    with pytest.raises(EventsError, match=f"another deployment is still under way .run {first.run_id}.. Version 1 comes after it"):
        deployments.on_alias(model.told(1), patience=0.2)
    record_deployed(model.name, 2, str(first.run_id), "somebody")
    pipelines_server.end(str(first.run_id))

    assert deployments.on_alias(model.told(1)).outcome == "started"
    assert names(pipelines_server) == [f"deployment {model.name} 2", f"deployment {model.name} 1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"alias": "staging"},
        {"version": "0"},
        {"version": 2},
        {"version": "2; x"},
        {"delivery": "1"},
        {"model": "../x"},
        {"model": "no-such-thing"},
    ],
)
def test_event_that_can_not_be_is_refused(model: Model, pipelines_server: Kubeflow, wrong: dict[str, Any]):
    with pytest.raises(MalformedEvent, match="alias event"):
        deployments.on_alias(json.dumps(json.loads(model.told(1)) | wrong))
    assert pipelines_server.requests == []


def test_event_is_not_claimed_while_something_is_out_of_reach(model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    model.move(2)
    text = model.told(2)
    for variable, kind in (("KF_PIPELINES_ENDPOINT", PipelinesError), ("MLFLOW_TRACKING_URI", RegistryError)):
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            patch.setenv(variable, "http://127.0.0.1:1")
            get_settings.cache_clear()
            with pytest.raises(kind):
                deployments.on_alias(text)
        get_settings.cache_clear()
    assert model.claims == {}

    assert deployments.on_alias(text).outcome == "started"


def test_catch_up_starts_what_no_event_has_started_and_once(model: Model, pipelines_server: Kubeflow):
    assert list(deployments.catch_up(0)) == []
    model.move(2)

    (started,) = deployments.catch_up(0)

    assert (started.event, started.outcome) == ("catch-up", "started")
    assert list(deployments.catch_up(0)) == []
    pipelines_server.end(str(started.run_id), "FAILED")
    model.move(1)
    assert list(deployments.catch_up(0)) == [], "it was the version's own fault: the alias is back"
    model.move(2)
    assert [one.outcome for one in deployments.catch_up(0)] == ["started"], "the alias was moved there again"
    assert names(pipelines_server) == [f"deployment {model.name} 2"] * 2


def test_models_that_somebody_has_tagged_and_lakes_without_one_hold_up_no_other(model: Model, on_git: Lake, pipelines_server: Kubeflow):
    model.client.set_model_version_tag(model.name, "1", "move.note", "by hand")
    open_lake("no-model-yet", create=True)
    model.move(2)

    assert [one.outcome for one in deployments.catch_up(0)] == ["started"]


def test_catch_up_starts_what_was_claimed_and_came_to_nothing(model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    model.move(2)
    with monkeypatch.context() as patch:

        def refused(*_: Any) -> str:
            raise PipelinesError("Kubeflow Pipelines refuses.")

        patch.setattr(remote, "submit", refused)
        with pytest.raises(PipelinesError, match="claimed and not started: the catch-up starts it"):
            deployments.on_alias(model.told(2))
        assert [one.outcome for one in deployments.catch_up(0)] == ["failed"]

    assert [one.outcome for one in deployments.catch_up(0)] == ["started"]
    assert (len(pipelines_server.runs), len(model.claims)) == (1, 3)


def test_two_catch_ups_at_once_start_one_run(model: Model, pipelines_server: Kubeflow):
    model.move(2)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: list(deployments.catch_up(0.5)), range(2)))

    assert sum(one.outcome == "started" for each in done for one in each) == 1
    assert len(pipelines_server.runs) == 1


def test_catch_up_waits_for_an_event_that_is_about_to_start_its_run(model: Model, pipelines_server: Kubeflow):
    model.move(2)
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(lambda: list(deployments.catch_up(3)))
        while ("GET", "/apis/v2beta1/runs") not in pipelines_server.requests:
            assert not looking.done()
        assert deployments.on_alias(model.told(2)).outcome == "started"

        assert looking.result() == []
    assert len(pipelines_server.runs) == 1


def test_start_whose_answer_was_lost_is_not_taken_for_an_older_run(
    model: Model, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch
):
    model.move(2)
    old = deployments.on_alias(model.told(2))
    pipelines_server.end(str(old.run_id), "FAILED")
    model.move(1)
    model.move(2)
    real = remote.submit

    def lost(*arguments: Any) -> str:
        real(*arguments)
        raise PipelinesError("the answer was lost")

    monkeypatch.setattr(remote, "submit", lost)

    assert deployments.on_alias(model.told(2)).run_id == pipelines_server.runs[1]["run_id"] != old.run_id
