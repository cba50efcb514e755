"""What events start: one run for each delivery, however often its event comes, however late, in whatever order, or not at all."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lakeline.errors import PipelinesError, UsageError
from lakeline.events import MalformedEvent, claim
from lakeline.events.hook import event, files
from lakeline.lake import CommitId, Lake, open_lake
from lakeline.settings import get_settings
from pipelines import events, remote
from tests.kubeflow import Kubeflow
from tests.unit.events.conftest import deliver, new_lake


def said(lake: Lake, commit: CommitId) -> str:
    """Say a commit as lakeFS would."""
    return json.dumps(event(lake, lake.log(commit, 1)[0]))


def names(server: Kubeflow, lake: Lake) -> list[str]:
    return sorted(run["display_name"] for run in server.runs if f" {lake.name} " in run["display_name"])


def test_event_of_a_delivery_starts_its_training(lake: Lake, pipelines_server: Kubeflow):
    commit = deliver(lake, "2013-01")

    reaction = events.on_merge(said(lake, commit))

    (run,) = pipelines_server.runs
    assert reaction.outcome == "started"
    assert reaction.run_id == run["run_id"]
    assert run["display_name"] == f"training {lake.name} {commit[:12]}"
    assert run["runtime_config"]["parameters"] == {"dataset": lake.name, "ref": commit, "arrivals": "*", "trials": 0, "retrain": False}
    assert lake.tags() == {f"run/training/{commit[:12]}": commit}


def test_event_that_comes_many_times_at_once_starts_one_run(lake: Lake, pipelines_server: Kubeflow):
    text = said(lake, deliver(lake, "2013-01"))

    with ThreadPoolExecutor(10) as pool:
        outcomes = [reaction.outcome for reaction in pool.map(events.on_merge, [text] * 10)]

    assert sorted(outcomes) == ["claimed"] * 9 + ["started"]
    assert len(pipelines_server.runs) == 1


def test_events_that_come_late_and_in_another_order_start_one_run_each(on_git: Lake, pipelines_server: Kubeflow):
    commits = [deliver(on_git, f"2013-0{month}") for month in (1, 2, 3)]

    for commit in [commits[2], commits[0], commits[2], commits[1], commits[0]]:
        events.on_merge(said(on_git, commit))

    assert names(pipelines_server, on_git) == sorted(f"training {on_git.name} {commit[:12]}" for commit in commits)


def test_commit_with_nothing_to_train_from_starts_nothing(on_git: Lake, pipelines_server: Kubeflow):
    spec = on_git.resolve("main")
    trained, own = deliver(on_git, "2013-01"), deliver(on_git, "2013-02", trained_in="run-7")
    on_git.tag("model/1", trained)

    outcomes = [events.on_merge(said(on_git, commit)).outcome for commit in (spec, trained, own)]

    assert outcomes == ["no delivery", "trained", "trained by its own run"]
    assert pipelines_server.requests == []


def test_event_of_what_is_not_there_is_refused(on_git: Lake, pipelines_server: Kubeflow):
    right = json.loads(said(on_git, deliver(on_git, "2013-01")))

    for wrong in ({"commit_id": "0" * 40}, {"repository_id": "no-such-data-set"}):
        with pytest.raises(MalformedEvent, match="of what isn't there"):
            events.on_merge(json.dumps(right | wrong))
    assert pipelines_server.runs == []


def test_event_is_not_claimed_while_pipelines_are_out_of_reach(on_git: Lake, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    commit = deliver(on_git, "2013-01")
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:1")
    get_settings.cache_clear()
    with pytest.raises(PipelinesError, match="out of reach"):
        events.on_merge(said(on_git, commit))
    assert on_git.tags() == {}
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", pipelines_server.url)
    get_settings.cache_clear()

    assert events.on_merge(said(on_git, commit)).outcome == "started"


def hooked(lake: Lake) -> None:
    """Install the webhook where there are webhooks; it leads nowhere."""
    if lake.store == "lakefs":
        lake.commit("main", files("http://127.0.0.1:1"), "Tell")


def test_catch_up_leaves_alone_whose_webhook_is_not_installed(lake: Lake, pipelines_server: Kubeflow):
    deliver(lake, "2013-01")

    list(events.catch_up(7, 0))

    assert len(names(pipelines_server, lake)) == (lake.store == "git")


def test_catch_up_starts_what_no_event_has_started(lake: Lake, pipelines_server: Kubeflow):
    hooked(lake)
    lost, known = deliver(lake, "2013-01"), deliver(lake, "2013-02")
    events.on_merge(said(lake, known))

    reactions = [one for one in events.catch_up(7, 0) if one.dataset == lake.name]

    assert [(one.commit, one.outcome) for one in reactions] == [(lost, "started")]
    assert names(pipelines_server, lake) == sorted(f"training {lake.name} {commit[:12]}" for commit in (lost, known))
    assert [one for one in events.catch_up(7, 0) if one.dataset == lake.name] == []


def test_catch_up_starts_what_was_claimed_and_came_to_nothing(lake: Lake, pipelines_server: Kubeflow):
    hooked(lake)
    commit = deliver(lake, "2013-01")
    assert claim(lake, commit)  # and then the Job was killed

    started = [one for one in events.catch_up(7, 0) if one.dataset == lake.name]

    assert [(one.commit, one.outcome) for one in started] == [(commit, "started")]
    assert set(lake.tags()) == {f"run/training/{commit[:12]}", f"run/training/{commit[:12]}.2"}
    assert events.on_merge(said(lake, commit)).outcome == "claimed"
    assert len(names(pipelines_server, lake)) == 1


def test_start_whose_answer_was_lost_is_one_start(on_git: Lake, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    commit = deliver(on_git, "2013-01")
    real = remote.submit

    def lost(*arguments: Any) -> str:
        real(*arguments)
        raise PipelinesError("the answer was lost")

    monkeypatch.setattr(remote, "submit", lost)

    assert events.on_merge(said(on_git, commit)).run_id == pipelines_server.runs[0]["run_id"]
    assert len(pipelines_server.runs) == 1


def test_start_that_fails_is_left_to_the_catch_up(on_git: Lake, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    commit = deliver(on_git, "2013-01")
    with monkeypatch.context() as patch:

        def refused(*_: Any) -> str:
            raise PipelinesError("Kubeflow Pipelines refuses.")

        patch.setattr(remote, "submit", refused)
        with pytest.raises(PipelinesError, match="claimed and not started: the catch-up starts it"):
            events.on_merge(said(on_git, commit))
    assert events.on_merge(said(on_git, commit)).outcome == "claimed"

    assert [one.outcome for one in events.catch_up(7, 0)] == ["started"]
    assert len(pipelines_server.runs) == 1


def test_delivery_whose_runs_fail_is_due_until_it_has_had_three(on_git: Lake, pipelines_server: Kubeflow):
    """MLflow was away for longer than a run waits, say."""
    commit = deliver(on_git, "2013-01")
    assert events.on_merge(said(on_git, commit)).outcome == "started"
    assert list(events.catch_up(7, 0)) == [], "it goes on"

    for number in (1, 2):
        pipelines_server.end(pipelines_server.runs[-1]["run_id"], "FAILED")
        assert [one.outcome for one in events.catch_up(7, 0)] == ["started"]
        assert list(events.catch_up(7, 0)) == []
        assert len(pipelines_server.runs) == number + 1
    pipelines_server.end(pipelines_server.runs[-1]["run_id"], "FAILED")

    assert list(events.catch_up(7, 0)) == []


def test_delivery_whose_own_run_failed_to_train_from_it_is_due(on_git: Lake, pipelines_server: Kubeflow):
    run = pipelines_server.add("runs", {"display_name": "continuous"})
    assert run is not None
    commit = deliver(on_git, "2013-01", trained_in=run["run_id"])
    elsewhere = deliver(on_git, "2013-02", trained_in="continuous-20130201-120000-abcd")
    assert list(events.catch_up(7, 0)) == [], "it goes on, and of the other one nobody knows here"

    pipelines_server.end(run["run_id"], "FAILED")

    assert [(one.commit, one.outcome) for one in events.catch_up(7, 0)] == [(commit, "started")]
    on_git.tag("model/1", elsewhere)


def test_catch_up_waits_for_a_run_that_is_about_to_start(on_git: Lake, pipelines_server: Kubeflow):
    commit = deliver(on_git, "2013-01")
    assert claim(on_git, commit)
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(lambda: list(events.catch_up(7, 3)))
        while ("GET", "/apis/v2beta1/runs") not in pipelines_server.requests:
            assert not looking.done()
        pipelines_server.add("runs", {"display_name": events.run_name(on_git.name, commit)})

        assert looking.result() == []
    assert len(pipelines_server.runs) == 1


def test_two_catch_ups_at_once_start_one_run(on_git: Lake, pipelines_server: Kubeflow):
    claimed, lost = deliver(on_git, "2013-01"), deliver(on_git, "2013-02")
    assert claim(on_git, claimed)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: list(events.catch_up(7, 0.5)), range(2)))

    assert sum(one.outcome == "started" for each in done for one in each) == 2
    assert names(pipelines_server, on_git) == sorted(f"training {on_git.name} {commit[:12]}" for commit in (claimed, lost))


def test_catch_up_goes_on_after_a_data_set_that_it_can_not_read(on_git: Lake, pipelines_server: Kubeflow):
    broken = new_lake()
    deliver(broken, "2013-01")
    Path(broken.url.removeprefix("file://"), "refs/heads/main").write_text("not a commit\n")
    deliver(on_git, "2013-01")

    outcomes = {one.dataset: one.outcome for one in events.catch_up(7, 0)}

    assert outcomes == {broken.name: "failed", on_git.name: "started"}
    assert len(pipelines_server.runs) == 1


def arrival(lake: Lake, *arrivals: str, **more: str) -> str:
    return json.dumps({"dataset": lake.name, "arrivals": list(arrivals), **more})


def test_arrivals_start_a_data_run(on_git: Lake, pipelines_server: Kubeflow):
    assert events.on_arrival(arrival(on_git, "2013-02", "2013-01")).outcome == "started"
    assert events.on_arrival(arrival(on_git, "next")).outcome == "started"

    first, second = pipelines_server.runs
    assert first["display_name"] == f"data {on_git.name} 2013-01, 2013-02"
    assert first["runtime_config"]["parameters"] == {"dataset": on_git.name, "arrivals": ["2013-01", "2013-02"]}
    assert second["display_name"] == f"data {on_git.name} next"


def test_arrivals_whose_run_is_under_way_start_no_other(on_git: Lake, pipelines_server: Kubeflow):
    started = events.on_arrival(arrival(on_git, "2013-01"))
    assert events.on_arrival(arrival(on_git, "2013-01")).outcome == "under way"
    pipelines_server.end(str(started.run_id))

    assert events.on_arrival(arrival(on_git, "2013-01")).outcome == "started"


def test_arrival_that_is_told_of_many_times_at_once_starts_one_run(lake: Lake, pipelines_server: Kubeflow):
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: events.on_arrival(arrival(lake, "2013-01")), range(6)))

    assert sorted(reaction.outcome for reaction in done) == ["started"] + ["under way"] * 5
    (run,) = pipelines_server.runs

    pipelines_server.end(run["run_id"])
    with ThreadPoolExecutor(6) as pool:
        again = list(pool.map(lambda _: events.on_arrival(arrival(lake, "2013-01")), range(6)))

    assert sorted(reaction.outcome for reaction in again) == ["started"] + ["under way"] * 5
    assert names(pipelines_server, lake) == [f"data {lake.name} 2013-01", f"data {lake.name} 2013-01 (2)"]


@pytest.mark.parametrize("version", [None, "9b2cf5"])
def test_arrival_whose_claimed_run_never_started_is_started_by_the_next_event(
    on_git: Lake, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch, version: str | None
):
    def refuse(*_: object) -> str:
        raise PipelinesError("The server is away.")

    more = {} if version is None else {"version": version}
    with monkeypatch.context() as patch:
        patch.setattr(remote, "submit", refuse)
        with pytest.raises(PipelinesError, match="is away"):
            events.on_arrival(arrival(on_git, "2013-01", **more))
    monkeypatch.setattr(events, "WAIT", 0.0)

    assert events.on_arrival(arrival(on_git, "2013-01", **more)).outcome == "started"
    assert len(pipelines_server.runs) == 1


def test_one_state_of_the_files_starts_one_run(lake: Lake, pipelines_server: Kubeflow):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: events.on_arrival(arrival(lake, "2013-01", version="9b2cf5")).outcome, range(4)))
    lake.commit("main", {"note": b"1"}, "Main goes on")

    assert sorted(done) == ["started"] + ["under way"] * 3
    assert events.on_arrival(arrival(lake, "2013-01", version="9b2cf5")).outcome == "under way"
    assert events.on_arrival(arrival(lake, "2013-01", version="0d71e4")).outcome == "started"
    assert len(pipelines_server.runs) == 2


@pytest.mark.parametrize("wrong", ["2013-13", "2014-01", "january", "2013-01..2013-03"])
def test_arrival_that_can_not_be_is_refused(on_git: Lake, pipelines_server: Kubeflow, wrong: str):
    with pytest.raises(UsageError):
        events.on_arrival(arrival(on_git, wrong))
    with pytest.raises(MalformedEvent, match="of what isn't there"):
        events.on_arrival(json.dumps({"dataset": "no-such-data-set", "arrivals": ["2013-01"]}))
    assert pipelines_server.runs == []


def lakeline(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pipelines.cli", *words], capture_output=True, text=True, timeout=120, check=False)


def test_exit_codes_say_whether_another_try_makes_sense(on_git: Lake, pipelines_server: Kubeflow, monkeypatch: pytest.MonkeyPatch):
    text = said(on_git, deliver(on_git, "2013-01"))

    started, again = lakeline("event", "merge", text), lakeline("event", "merge", text)
    malformed = lakeline("event", "merge", text.replace("post-merge", "pre-merge"))
    unknown = lakeline("event", "arrival", arrival(on_git, "2014-01"))
    caught_up = lakeline("event", "catch-up", "--wait", "0")
    deliver(on_git, "2013-02")
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:1")
    failed = lakeline("event", "merge", said(on_git, on_git.resolve("main")))

    assert [done.returncode for done in (started, again, malformed, unknown, caught_up, failed)] == [0, 0, 2, 2, 0, 1]
    assert [json.loads(done.stdout)["outcome"] for done in (started, again)] == ["started", "claimed"]
    assert malformed.stdout == ""
    assert malformed.stderr.startswith("lakeline: malformed merge event: event_type")
    assert caught_up.stdout == ""


def test_status_counts_deliveries_by_what_became_of_them(on_git: Lake, pipelines_server: Kubeflow):
    started, _ = deliver(on_git, "2013-01"), deliver(on_git, "2013-02")
    events.on_merge(said(on_git, started))
    last = deliver(on_git, "2013-03", trained_in="run-7")

    counted: Any = events.standing(on_git.name)

    assert counted["outcomes"] == {"claimed": 1, "unseen": 1, "trained by its own run": 1}
    assert (counted["deliveries"], counted["last"]["commit"]) == (3, last)
    assert open_lake(on_git.name).tags()
