"""The watch: what is new, once each, also over restarts."""

import os
from typing import Any

import pytest
from typer.testing import CliRunner

from lakeline.data.specfile import push
from lakeline.errors import LakeUnavailable
from lakeline.lake import CommitId, Lake, open_lake
from lakeline.registry.store import connect
from lakeline.serving.local.folder import ArmState, Folder, Plan, State
from lakeline.serving.local.processes import identify
from lakeline.serving.release import Release
from pipelines.cli import app
from pipelines.watching import Seen, arrived, untrained, watching


@pytest.fixture
def lake() -> Lake:
    push("flights")
    return open_lake("flights")


def deliver(lake: Lake, arrival: str) -> CommitId:
    """Merge a delivery into main as `publish` does, by a branch with commits of its own."""
    lake.create_branch(f"ingest-{arrival}", "main")
    lake.commit(f"ingest-{arrival}", {f"raw/{arrival}.parquet": b"raw"}, "Ingest", {"arrivals": arrival})
    lake.commit(f"ingest-{arrival}", {f"clean/{arrival}.parquet": arrival.encode()}, "Transform", {"rows_clean": "1"})
    return lake.merge(f"ingest-{arrival}", "main", "Publish", {"arrivals": arrival, "rows_raw": "1", "rows_clean": "1"})


def test_lake_without_data_has_nothing_to_train_from(lake: Lake):
    assert lake.resolve("main")
    with watching("flights") as seen:
        assert untrained("flights", seen) == []


def test_each_delivery_that_came_while_no_watch_ran_is_found_oldest_first(lake: Lake):
    first = deliver(lake, "2013-01")
    with watching("flights") as seen:
        assert untrained("flights", seen) == [first]
        seen.head = first
        seen.save()
    later = [deliver(lake, "2013-02"), deliver(lake, "2013-03")]
    with watching("flights") as seen:
        assert untrained("flights", seen) == later


def test_commit_that_a_version_learned_from_is_dealt_with(lake: Lake):
    commit = deliver(lake, "2013-01")
    lake.tag("model/1", commit)
    with watching("flights") as seen:
        assert untrained("flights", seen) == []


def test_commit_whose_run_ended_is_not_run_again_by_itself(lake: Lake):
    commit = deliver(lake, "2013-01")
    with watching("flights") as seen:
        seen.runs[commit] = "training-1"
        seen.save()
    with watching("flights") as seen:
        assert untrained("flights", seen) == []


def test_first_watch_looks_at_the_newest_delivery_only(lake: Lake):
    deliver(lake, "2013-01")
    newest = deliver(lake, "2013-02")
    with watching("flights") as seen:
        assert untrained("flights", seen) == [newest]


def test_one_watch_a_data_set_at_a_time(lake: Lake):
    assert lake.name == "flights"
    with watching("flights"), pytest.raises(LakeUnavailable, match="another `lakeline watch`"), watching("flights"):
        pass


def test_arrivals_that_the_lake_has_or_that_were_tried_are_not_brought_again(lake: Lake):
    deliver(lake, "2013-01")
    with watching("flights") as seen:
        seen.arrivals["2013-02"] = "data-1"
        assert arrived("flights", ["2013-01", "2013-02", "2013-03"], seen) == ["2013-03"]


def test_watch_of_what_comes_next_goes_on_from_the_lake(lake: Lake):
    deliver(lake, "2013-10")
    with watching("flights") as seen:
        seen.arrivals["2013-11"] = "data-1"
        assert arrived("flights", ["next"], seen) == ["2013-12"]


def test_what_was_seen_is_on_the_disk_whole(lake: Lake):
    assert lake.name == "flights"
    with watching("flights") as seen:
        seen.head, seen.runs = "a" * 40, {"b": "c"}
        seen.save()
        path = seen.path
    with watching("flights") as again:
        assert again == Seen(path, "a" * 40, {"b": "c"}, {})


def test_deployment_that_crashes_is_tried_three_times_and_then_now_and_again_aloud(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    runs: list[dict[str, Any]] = []

    def crash(pipeline: str, arguments: dict[str, Any], _: object) -> dict[str, Any]:
        runs.append(arguments)
        return {"pipeline": pipeline, "status": "failed", "error": "it crashed", "run_id": f"run-{len(runs)}", "seconds": 1.0, "log": "log"}

    def watch() -> str:
        done = CliRunner().invoke(app, ["watch", "--dataset", lake.name, "--once"], catch_exceptions=False)
        assert done.exit_code == 1
        return done.stdout

    monkeypatch.setattr("pipelines.execute.execute", crash)
    client = connect()
    client.create_registered_model(lake.name)
    for version in (1, 2, 3):
        client.create_model_version(lake.name, "file:///nowhere")
        client.set_registered_model_alias(lake.name, "production", str(version))
    serves = ArmState(wanted=Plan(Release(lake.name, 1, "0" * 64), "/nowhere", 1, 1))
    Folder(lake.name).make().write(State(identify(os.getpid()), arms={"production": serves, "challenger": ArmState()}))

    first, _, third, fourth = (watch() for _ in range(4))

    assert "in 3 tries" not in first
    for said in (third, fourth):
        assert "version 3 has the alias production, and its deployment has come to no end in 3 tries" in said
        assert "run-3/run.log. At once: lakeline run deployment --dataset flights" in said
    assert "Nothing new" not in fourth
    assert len(runs) == 3
    monkeypatch.setattr("pipelines.watching.PAUSE", -1.0)
    watch()
    assert len(runs) == 4
    client.set_registered_model_alias(lake.name, "production", "2")
    assert "tries" not in watch()
    assert len(runs) == 5
