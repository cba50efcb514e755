"""Runs on a live cluster: refused data, schedules, pods that are killed, a lake that is away."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from lakeline.lake import open_lake
from tests.cluster.conftest import Datasets
from tests.live import Cluster, until

pytestmark = pytest.mark.cluster

STEPS = {"ingest", "validate", "transform", "publish", "resolve", "split", "search", "fit", "evaluate", "register", "promote"}


def test_rows_that_fail_their_checks_leave_main_alone_and_the_run_says_why(cluster: Cluster, datasets: Datasets):
    dataset = datasets(lambda spec: spec.replace("minimum: -240, maximum: 2880", "minimum: -240, maximum: 60", 1))
    before = open_lake(dataset).resolve("main")

    run = cluster.lakeline("submit", "data", "-d", dataset, "-a", "2013-01", "--wait", check=False)

    assert run["status"] == "failed"
    assert "rows fail" in run["error"]
    lake = open_lake(dataset)
    assert lake.resolve("main") == before
    assert "ingest-2013-01" in [branch.name for branch in lake.branches()]
    # Wrong rows stay wrong: they are looked at once.
    assert len(_pods(cluster, run["run_id"], "validate")) == 1


def test_schedule_fires_until_it_is_ended(cluster: Cluster, datasets: Datasets):
    dataset = datasets()
    cluster.lakeline("schedule", "data", "-d", dataset, "-a", "2013-01", "--cron", "*/20 * * * * *")

    first = until("a recurring run", lambda: [run for run in _of(cluster, dataset) if run["recurring_run_id"]], seconds=120)[-1]
    cluster.lakeline("schedule", "data", "-d", dataset, "--off")

    assert cluster.wait(first["run_id"]).status == "succeeded"
    assert len(_of(cluster, dataset)) <= 2  # one at a time; another may have begun just before the end
    assert cluster.lakeline("schedule", "data", "-d", dataset, "--off") == []


def test_pod_killed_in_each_step_changes_nothing(cluster: Cluster, datasets: Datasets):
    dataset = datasets()
    run = cluster.lakeline("submit", "continuous", "-d", dataset, "-a", "2013-01", "--trials", "2")

    with _Killer(cluster, run["run_id"]) as killer:
        ending = cluster.wait(run["run_id"])

    assert ending.status == "succeeded", ending.error
    assert killer.killed >= STEPS
    disturbed = cluster.lakeline("models", dataset)["models"]
    assert len(disturbed) == 1
    lake = open_lake(dataset)
    assert len([commit for commit in lake.log("main") if commit.metadata.get("delivery")]) == 1
    assert [branch.name for branch in lake.branches()] == ["main"]

    again = cluster.lakeline("submit", "training", "-d", dataset, "--trials", "2", "--wait")

    assert again["status"] == "succeeded", again["error"]
    calm = cluster.lakeline("models", dataset)["models"][-1]
    assert {name: calm["metrics"][name] for name in ("rmse", "mae", "r2")} == {
        name: disturbed[0]["metrics"][name] for name in ("rmse", "mae", "r2")
    }


def test_lake_away_for_a_minute_during_ingest_leaves_no_half_commit(cluster: Cluster, datasets: Datasets):
    dataset = datasets()
    run = cluster.lakeline("submit", "data", "-d", dataset, "-a", "2013-01..2013-03")
    until("ingest runs", lambda: _running(cluster, run["run_id"], "ingest"), seconds=180, every=0.3)

    cluster.kubectl("scale", "-n", "lakeline", "deployment/lakefs", "--replicas=0")
    try:
        time.sleep(60)
    finally:
        cluster.kubectl("scale", "-n", "lakeline", "deployment/lakefs", "--replicas=1")
        cluster.kubectl("rollout", "status", "-n", "lakeline", "deployment/lakefs", "--timeout=120s")

    ending = cluster.wait(run["run_id"])
    assert ending.status == "succeeded", ending.error
    lake = until("the lake answers", lambda: _opened(dataset))
    assert len([commit for commit in lake.log("main") if commit.metadata.get("delivery")]) == 1
    assert [branch.name for branch in lake.branches()] == ["main"]


def _opened(dataset: str) -> Any:
    from lakeline.errors import LakeUnavailable

    try:
        lake = open_lake(dataset)
        lake.resolve("main")
    except LakeUnavailable:
        return None
    return lake


def _of(cluster: Cluster, dataset: str) -> list[dict[str, Any]]:
    return cluster.lakeline("runs", "-d", dataset)


def _pods(cluster: Cluster, run_id: str, step: str | None = None) -> list[dict[str, Any]]:
    """Pods that run steps (and not drivers), by the step's name, which KFP's launcher is told."""
    pods = cluster.objects("pods", "kubeflow", f"pipeline/runid={run_id}")
    return [pod for pod in pods if step_of(pod) and step in (None, step_of(pod))]


def step_of(pod: dict[str, Any]) -> str | None:
    """Name of the step that a pod runs; None for those of the machinery."""
    for container in pod["spec"]["containers"]:
        words = [*container.get("command", []), *container.get("args", [])]
        if "--function_to_execute" in words:
            return words[words.index("--function_to_execute") + 1]
    return None


def _running(cluster: Cluster, run_id: str, step: str | None = None) -> list[dict[str, Any]]:
    def runs(pod: dict[str, Any]) -> bool:
        statuses = pod["status"].get("containerStatuses", [])
        return any(status["name"] == "main" and "running" in status["state"] for status in statuses)

    return [pod for pod in _pods(cluster, run_id, step) if runs(pod)]


class _Killer:
    """Kills the first pod of each step as soon as it runs."""

    def __init__(self, cluster: Cluster, run_id: str) -> None:
        self.killed: set[str] = set()
        self._cluster, self._run_id = cluster, run_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._kill, daemon=True)

    def __enter__(self) -> _Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _kill(self) -> None:
        while not self._over.wait(0.3):
            for pod in _running(self._cluster, self._run_id):
                step = step_of(pod)
                if step and step not in self.killed:
                    name = pod["metadata"]["name"]
                    self._cluster.kubectl("delete", "pod", "-n", "kubeflow", name, "--grace-period=0", "--force", "--wait=false")
                    self.killed.add(step)
