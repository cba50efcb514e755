"""Pipelines on a server: uploaded once, started from a pinned version, followed to their end."""

import json
import secrets
import threading
from collections.abc import Generator
from typing import Any

import pytest
from typer.testing import CliRunner

from lakeline.errors import PipelinesError, UsageError
from lakeline.settings import get_settings
from pipelines import outcome, remote, schedules
from pipelines.cli import app
from pipelines.local import PIPELINES, Progress
from tests.kubeflow import Kubeflow, named

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOG = "I1121 launcher\nlakeline: flights: 3 rows are too few.\nF1121 main.go: exit status 1\n"
ARGUMENTS = {"dataset": "flights", "ref": "main", "arrivals": "*", "trials": 0, "retrain": False}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[Kubeflow]:
    with named(monkeypatch, COMMIT) as double:
        yield double


def _command(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words), catch_exceptions=True)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_version_is_named_after_the_commit_and_uploaded_once(server: Kubeflow):
    client = remote.connect()

    first, again = remote.ready(client, "training"), remote.ready(client, "training")

    assert first == again
    assert first.name == COMMIT[:12]
    assert [it["display_name"] for it in server.records["pipelines"]] == ["lakeline-training"]
    assert len(server.records["versions"]) == 1


def test_other_image_of_the_same_commit_is_another_version(server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    client = remote.connect()
    first = remote.ready(client, "data")
    monkeypatch.setattr(remote, "compiled", lambda _: 'image: "registry.example/steps@sha256:aa"\n')

    second = remote.ready(client, "data")

    assert second.version_id != first.version_id
    assert second.name.startswith(f"{COMMIT[:12]}-")


def test_two_who_upload_at_once_end_with_the_same_version(server: Kubeflow):
    package = remote.compiled("data")
    found = []

    def upload() -> None:
        found.append(remote.ready(remote.connect(), "data").version_id)

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert len(set(found)) == 1
    assert package in server.records["versions"][0]["package"].replace("\r\n", "\n")


def test_run_is_started_from_the_version_in_the_experiment_of_its_data_set(server: Kubeflow):
    client = remote.connect()
    version = remote.ready(client, "training")

    run_id = remote.submit(client, version, ARGUMENTS, "training flights abc")

    (run,) = server.runs
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version.version_id
    assert run["runtime_config"]["parameters"] == ARGUMENTS
    assert [it["display_name"] for it in server.records["experiments"]] == ["flights"]
    assert remote.find_runs(client, "training flights abc") == [run_id]
    assert remote.find_runs(client, "training flights") == []


def test_server_out_of_reach_is_said_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:9")
    get_settings.cache_clear()

    with pytest.raises(PipelinesError, match=r"127\.0\.0\.1:9 is out of reach.*KF_PIPELINES_ENDPOINT"):
        remote.connect()
    get_settings.cache_clear()


def test_no_server_named_is_wrong_usage(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    get_settings.cache_clear()

    with pytest.raises(UsageError, match="port-forward"):
        remote.connect()


def test_token_is_sent_and_its_lack_is_said_without_it(server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    server.token = secrets.token_hex()
    with pytest.raises(PipelinesError, match=r"401 .*set KF_PIPELINES_TOKEN"):
        remote.connect()

    monkeypatch.setenv("KF_PIPELINES_TOKEN", server.token)
    get_settings.cache_clear()

    assert remote.ready(remote.connect(), "data").name == COMMIT[:12]


def test_wait_tells_of_steps_and_why_a_run_failed(server: Kubeflow):
    client = remote.connect()
    run_id = remote.submit(client, remote.ready(client, "training"), ARGUMENTS, "a")
    attempts = [{"pod_name": "run-1"}, {"pod_name": "run-2"}]
    names = {"split": "SUCCEEDED", "split(0)": "SUCCEEDED", "validate-2": "SUCCEEDED", "fit-driver": "SUCCEEDED", "root": "FAILED"}
    tasks = [{"display_name": name, "state": state} for name, state in (names | {"fit": "FAILED"}).items()]
    server.logs |= {"run-1": LOG.replace("3", "4"), "run-2": LOG}
    server.end(run_id, "FAILED", (*tasks, {"display_name": "executor", "state": "FAILED", "child_tasks": attempts}))
    seen: list[Progress] = []

    ending = outcome.wait(client, run_id, seen.append, minutes=1)

    assert (ending.status, ending.seconds) == ("failed", 60.0)
    assert ending.error == "flights: 3 rows are too few."
    steps = [(it.task, it.state) for it in seen if it.state != "began"]
    assert sorted(steps) == [("fit", "failed"), ("split", "done"), ("validate", "done")]


def test_wait_gives_up_but_leaves_the_run_alone(server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outcome, "_INTERVAL", 0.01)
    client = remote.connect()
    run_id = remote.submit(client, remote.ready(client, "training"), ARGUMENTS, "a")

    with pytest.raises(PipelinesError, match="it goes on"):
        outcome.wait(client, run_id, lambda _: None, minutes=0.0005)

    assert server.runs[0]["state"] == "PENDING"


@pytest.mark.parametrize(("text", "said"), [("0 6 * * *", "'0 0 6 \\* \\* \\*'"), ("soon", "six fields"), ("0 0 6 * * * *", "six fields")])
def test_cron_of_unix_is_refused(text: str, said: str):
    with pytest.raises(UsageError, match=said):
        schedules.check_cron(text)


def test_schedule_is_replaced_listed_and_ended(server: Kubeflow):
    code, said = _command("schedule", "training", "-d", "flights", "--cron", "0 30 6 * * *")
    assert code == 0
    assert "training-flights" in said  # which the server makes the names of its runs of
    _command("schedule", "training", "-d", "flights", "--cron", "0 0 7 * * *")

    (known,) = server.records["recurringruns"]
    assert known["trigger"]["cron_schedule"]["cron"] == "0 0 7 * * *"
    assert (known["max_concurrency"], known["no_catchup"]) == (1, True)
    assert known["runtime_config"]["parameters"]["retrain"] is False
    assert json.loads(_command("schedule", "--json")[1])[0]["dataset"] == "flights"

    assert "Ended 1 schedule of training flights" in _command("schedule", "training", "-d", "flights", "--off")[1]
    assert server.records["recurringruns"] == []


def test_schedule_of_somebody_else_is_left_alone_and_one_of_an_older_name_replaced(server: Kubeflow):
    _command("schedule", "training", "-d", "flights", "--cron", "0 30 6 * * *")
    (known,) = server.records["recurringruns"]
    known["display_name"] = "lakeline training flights"
    theirs = known | {"display_name": "data-import", "recurring_run_id": "theirs"}
    theirs["pipeline_version_reference"] = {"pipeline_id": "theirs", "pipeline_version_id": "1"}
    server.records["recurringruns"].append(theirs)

    _command("schedule", "training", "-d", "flights", "--cron", "0 0 7 * * *")

    assert sorted(it["display_name"] for it in server.records["recurringruns"]) == ["data-import", "training-flights"]
    assert [it["name"] for it in json.loads(_command("schedule", "--json")[1])] == ["training-flights"]


def test_schedule_with_a_run_under_way_is_ended_without_killing_the_run(server: Kubeflow):
    _command("schedule", "training", "-d", "flights", "--cron", "0 30 6 * * *")
    (known,) = server.records["recurringruns"]
    run = {"display_name": "a", "recurring_run_id": known["recurring_run_id"], "experiment_id": known["experiment_id"]}
    made = server.add("runs", run)
    assert made

    _command("schedule", "training", "-d", "flights", "--off")
    assert [it["status"] for it in server.records["recurringruns"]] == ["DISABLED"]
    assert "disabled" in _command("schedule")[1]

    server.end(made["run_id"])
    assert "Ended 0 schedules" in _command("schedule", "training", "-d", "flights", "--off")[1]
    assert server.records["recurringruns"] == []


def test_submit_waits_and_its_exit_code_is_the_outcome(server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outcome, "_INTERVAL", 0.01)
    ends, submit = iter(["SUCCEEDED", "FAILED"]), remote.submit

    def submitted(*arguments: Any) -> str:
        run_id = submit(*arguments)
        server.end(run_id, next(ends))
        return run_id

    monkeypatch.setattr(remote, "submit", submitted)

    code, said = _command("submit", "training", "-d", "flights", "--wait", "--json")
    assert code == 0
    result = json.loads(said.splitlines()[-1])
    assert (result["status"], result["pipeline_version"]) == ("succeeded", COMMIT[:12])
    assert result["url"] == f"{server.url}/#/runs/details/{result['run_id']}"
    assert _command("submit", "training", "-d", "flights", "--wait")[0] == 1


def test_submit_takes_arrivals_as_run_does(server: Kubeflow):
    assert _command("submit", "continuous", "-d", "flights", "--month", "7")[0] == 0
    assert server.runs[0]["runtime_config"]["parameters"]["arrivals"] == ["2013-07"]
    with pytest.raises(UsageError, match="no month 13"):
        _command("submit", "data", "-d", "flights", "--month", "13")
    with pytest.raises(UsageError, match="--ref other means nothing"):
        _command("submit", "data", "-d", "flights", "--month", "7", "--ref", "other")
    assert len(server.runs) == 1


def test_runs_are_listed_newest_first(server: Kubeflow):
    _command("submit", "data", "-d", "flights", "--month", "7")
    _command("submit", "data", "-d", "flights", "--month", "8")
    server.end(server.runs[0]["run_id"], "FAILED")

    listed = json.loads(_command("runs", "--json")[1])

    assert [(run["name"], run["status"]) for run in listed] == [("data flights 2013-08", "pending"), ("data flights 2013-07", "failed")]
    assert server.runs[0]["run_id"] in _command("runs", "-d", "flights")[1]


def test_upload_takes_all_pipelines_or_those_named(server: Kubeflow):
    assert "lakeline-data version" in _command("upload", "data")[1]
    uploaded = json.loads(_command("upload", "--json")[1])
    assert set(uploaded) == set(PIPELINES)
    with pytest.raises(UsageError, match="no pipeline 'foo'"):
        _command("upload", "foo")
