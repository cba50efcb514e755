"""Data arrives in the lake, and a model is trained from it: once, whatever happens to the event in between."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from lakeline.lake import open_lake
from tests.cluster.conftest import Datasets, reacted
from tests.live import Cluster, until

pytestmark = pytest.mark.cluster


def test_event_delivered_many_times_at_once_starts_one_run(cluster: Cluster, datasets: Datasets):
    from concurrent.futures import ThreadPoolExecutor

    dataset = datasets()
    cluster.lakeline("submit", "data", "-d", dataset, "-a", "2013-02", "--wait")

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: cluster.lakeline("event", "replay", dataset)["status"], range(5)))

    assert answers == [200] * 5
    commit = open_lake(dataset).resolve("main")
    reacted(cluster, "merge", commit, 5)
    assert len(cluster.runs(f"training {dataset} {commit[:12]}")) == 1


def test_arrival_that_is_told_of_many_times_at_once_is_brought_in_by_one_run(cluster: Cluster, datasets: Datasets):
    dataset = datasets()
    headers = {"Authorization": f"Bearer {cluster.settings['LAKELINE_EVENTS_TOKEN']}"}
    event = {"dataset": dataset, "arrivals": ["2013-01"]}

    for _ in range(4):
        assert httpx.post(f"{cluster.settings['LAKELINE_EVENTS_URL']}/arrival", json=event, headers=headers, timeout=10).status_code == 200

    reacted(cluster, "arrival", dataset, 4)
    (run,) = cluster.runs(f"data {dataset} 2013-01")
    assert cluster.wait(run["run_id"]).status == "succeeded"
    assert len([commit for commit in open_lake(dataset).log("main") if commit.metadata.get("delivery")]) == 1


def test_forged_event_is_refused(cluster: Cluster):
    url = f"{cluster.settings['LAKELINE_EVENTS_URL']}/merge"
    before = {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")}
    event = {"event_type": "post-merge", "repository_id": "flights", "branch_id": "main", "commit_id": "0" * 64}

    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert httpx.post(url, json=event, headers=headers, timeout=10).status_code in (400, 401, 403)

    time.sleep(5)
    assert {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")} == before


def test_malformed_event_starts_nothing_and_is_counted(cluster: Cluster):
    headers = {"Authorization": f"Bearer {cluster.settings['LAKELINE_EVENTS_TOKEN']}"}
    url = f"{cluster.settings['LAKELINE_EVENTS_URL']}/merge"
    jobs = {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")}
    unreadable, refused = _counted(cluster, *_UNREADABLE), _counted(cluster, *_REFUSED)

    for content in (b"no json", b"x" * 70_000):
        assert httpx.post(url, content=content, headers=headers, timeout=10).status_code == 400
    for change in ({"branch_id": "other"}, {"commit_id": "$(reboot)"}, {"repository_id": "../x"}, {"event_type": "pre-merge"}):
        event = {"event_type": "post-merge", "repository_id": "flights", "branch_id": "main", "commit_id": "0" * 64} | change
        assert httpx.post(url, json=event, headers=headers, timeout=10).status_code == 200

    until("four events are refused", lambda: _counted(cluster, *_REFUSED) == refused + 4, seconds=30)
    assert _counted(cluster, *_UNREADABLE) >= unreadable + 2
    assert {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")} == jobs


def test_event_of_a_commit_that_is_not_there_is_tried_once(cluster: Cluster):
    headers = {"Authorization": f"Bearer {cluster.settings['LAKELINE_EVENTS_TOKEN']}"}
    event = {"event_type": "post-merge", "repository_id": "flights", "branch_id": "main", "commit_id": "0" * 64}
    before = {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")}

    httpx.post(f"{cluster.settings['LAKELINE_EVENTS_URL']}/merge", json=event, headers=headers, timeout=10)

    def failed() -> list[dict[str, Any]]:
        jobs = [job for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge") if job["metadata"]["name"] not in before]
        return [job for job in jobs if any(one["type"] == "Failed" for one in job["status"].get("conditions", []))]

    (job,) = until("its Job fails", failed)
    assert job["status"]["failed"] == 1
    assert job["status"]["conditions"][-1]["reason"] == "PodFailurePolicy"


def test_dropped_event_is_found_by_the_catch_up(cluster: Cluster, datasets: Datasets, monkeypatch: pytest.MonkeyPatch):
    dataset = datasets()
    monkeypatch.setitem(cluster.settings, "LAKELINE_HOOK_URL", "http://127.0.0.1:1")  # lakeFS tells nobody
    assert cluster.lakeline("lake", "init", dataset)["changed"]
    cluster.lakeline("submit", "data", "-d", dataset, "-a", "2013-03", "--wait")
    name = f"training {dataset} {open_lake(dataset).resolve('main')[:12]}"

    for turn in ("first", "second"):
        job = f"catch-up-{turn}-{dataset[-6:]}"
        cluster.kubectl("create", "job", "-n", "lakeline", f"--from=cronjob/{_catch_up(cluster)}", job)
        cluster.kubectl("wait", "-n", "lakeline", "--for=condition=complete", f"job/{job}", "--timeout=240s")
        cluster.kubectl("delete", "job", "-n", "lakeline", job)
        assert len(cluster.runs(name)) == 1


_UNREADABLE = ("eventsource-name=lakeline", 'argo_events_events_processing_failed_total{event_name="merge"')
_REFUSED = ("sensor-name=lakeline-merge", 'trigger_name="refused"')


def _counted(cluster: Cluster, selector: str, series: str) -> float:
    """Value of a metric of Argo Events: of the source or of a sensor."""
    (pod,) = cluster.objects("pods", "lakeline", selector)
    path = f"/api/v1/namespaces/lakeline/pods/{pod['metadata']['name']}:7777/proxy/metrics"
    lines = cluster.kubectl("get", "--raw", path).splitlines()
    wanted = [
        line
        for line in lines
        if series in line and line.startswith(("argo_events_events_processing_failed", "argo_events_action_triggered"))
    ]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


def _catch_up(cluster: Cluster) -> str:
    (job,) = cluster.objects("cronjobs", "lakeline", "lakeline.dev/event=catch-up")
    return job["metadata"]["name"]
