"""Data arrives in the lake, and a model is trained from it: once, whatever happens to the event in between."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest

from lakeline.lake import open_lake
from tests.live import Cluster, until

pytestmark = pytest.mark.cluster

Datasets = Callable[..., str]
_QUIET = 40.0
"""Seconds in which a run that should not start would have started."""


def test_arrival_leads_to_one_model_in_production(cluster: Cluster, datasets: Datasets):
    dataset = datasets()
    cluster.lakeline("lake", "init", dataset)

    delivered = cluster.lakeline("submit", "data", "-d", dataset, "-a", "2013-01", "--wait")

    assert delivered["status"] == "succeeded", delivered["error"]
    lake = open_lake(dataset)
    commit = lake.resolve("main")
    name = f"training {dataset} {commit[:12]}"
    (run,) = until(name, lambda: cluster.runs(name))
    assert cluster.wait(run["run_id"]).status == "succeeded"

    (version,) = cluster.lakeline("models", dataset)["models"]
    assert version["aliases"] == ["production"]
    assert version["verdict"] == "promoted"
    lineage = version["lineage"]
    assert lineage["data_commit"] == commit
    assert lineage["data_arrivals"] == "2013-01"
    assert lineage["pipeline_run"] == run["run_id"]
    assert all(lineage[key] for key in ("spec_digest", "code_version", "seed", "image"))
    assert lake.tags()["model/1"] == commit

    # The same event again, and once more: nothing new.
    for _ in range(2):
        assert cluster.lakeline("event", "replay", dataset)["status"] == 200
    time.sleep(_QUIET)
    assert [it["run_id"] for it in cluster.runs(name)] == [run["run_id"]]
    assert len(cluster.lakeline("models", dataset)["models"]) == 1


def test_event_delivered_many_times_at_once_starts_one_run(cluster: Cluster, datasets: Datasets):
    from concurrent.futures import ThreadPoolExecutor

    dataset = datasets()
    cluster.lakeline("submit", "data", "-d", dataset, "-a", "2013-02", "--wait")

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: cluster.lakeline("event", "replay", dataset)["status"], range(5)))

    assert answers == [200] * 5
    name = f"training {dataset} {open_lake(dataset).resolve('main')[:12]}"
    until(name, lambda: cluster.runs(name))
    time.sleep(_QUIET)
    assert len(cluster.runs(name)) == 1


def test_forged_event_is_refused(cluster: Cluster):
    url = f"{cluster.settings['LAKELINE_EVENTS_URL']}/merge"
    before = {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")}
    event = {"event_type": "post-merge", "repository_id": "flights", "branch_id": "main", "commit_id": "0" * 64}

    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert httpx.post(url, json=event, headers=headers, timeout=10).status_code in (400, 401, 403)

    time.sleep(5)
    assert {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")} == before


def test_malformed_event_starts_nothing(cluster: Cluster):
    headers = {"Authorization": f"Bearer {cluster.settings['LAKELINE_EVENTS_TOKEN']}"}
    url = f"{cluster.settings['LAKELINE_EVENTS_URL']}/merge"
    before = {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")}

    httpx.post(url, content=b"no json", headers=headers, timeout=10)
    for change in ({"branch_id": "other"}, {"commit_id": "$(reboot)"}, {"repository_id": "../x"}, {"event_type": "pre-merge"}):
        event = {"event_type": "post-merge", "repository_id": "flights", "branch_id": "main", "commit_id": "0" * 64} | change
        httpx.post(url, json=event, headers=headers, timeout=10)

    time.sleep(10)
    assert {job["metadata"]["name"] for job in cluster.objects("jobs", "lakeline", "lakeline.dev/event=merge")} == before


def test_dropped_event_is_found_by_the_catch_up(cluster: Cluster, datasets: Datasets):
    dataset = datasets()  # without `lake init`, so that its merge is told to nobody
    cluster.lakeline("submit", "data", "-d", dataset, "-a", "2013-03", "--wait")
    name = f"training {dataset} {open_lake(dataset).resolve('main')[:12]}"
    assert cluster.runs(name) == []

    for turn in ("first", "second"):
        job = f"catch-up-{turn}-{dataset[-6:]}"
        cluster.kubectl("create", "job", "-n", "lakeline", f"--from=cronjob/{_catch_up(cluster)}", job)
        cluster.kubectl("wait", "-n", "lakeline", "--for=condition=complete", f"job/{job}", "--timeout=240s")
        cluster.kubectl("delete", "job", "-n", "lakeline", job)
        assert len(cluster.runs(name)) == 1


def _catch_up(cluster: Cluster) -> str:
    (job,) = cluster.objects("cronjobs", "lakeline", "lakeline.dev/event=catch-up")
    return job["metadata"]["name"]
