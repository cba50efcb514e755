"""What is told of the alias on a live cluster: what MLflow didn't sign is refused, and what can't be starts nothing."""

from __future__ import annotations

import json
import subprocess
import uuid
from typing import Any

import httpx
import pytest

from tests.live import Cluster, until

pytestmark = pytest.mark.cluster

GATE = "/api/v1/namespaces/lakeline/services/alias-gate:http/proxy"
LABEL = "lakeline.dev/event=alias"
MODEL = "no-such-model"


def counted(cluster: Cluster, outcome: str) -> float:
    """How many deliveries the gate has counted under an outcome; it is reached by the API server, which no policy is about."""
    lines = cluster.kubectl("get", "--raw", f"{GATE}/metrics").splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if f'outcome="{outcome}"' in line and not line.startswith("#"))


def jobs(cluster: Cluster) -> dict[str, Any]:
    """Jobs of the model that isn't there: what other people promote meanwhile is theirs."""
    found = cluster.objects("jobs", "lakeline", LABEL)
    return {job["metadata"]["name"]: job for job in found if MODEL in json.dumps(job["spec"])}


def move(**changes: str) -> dict[str, str]:
    return {"delivery": str(uuid.uuid4()), "model": MODEL, "alias": "production", "version": "1"} | changes


def test_move_that_mlflow_has_not_signed_is_refused_and_counted(cluster: Cluster):
    before, forged = set(jobs(cluster)), counted(cluster, "forged")
    told = {"entity": "model_version_alias", "action": "created", "data": {"name": MODEL, "alias": "production", "version": "1"}}

    done = subprocess.run(
        ["kubectl", "create", "--raw", f"{GATE}/alias", "--filename=-"], input=json.dumps(told), capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "nauthorized" in done.stderr or "must be logged in" in done.stderr or "forged" in done.stderr + done.stdout, done.stderr
    assert counted(cluster, "forged") == forged + 1
    assert set(jobs(cluster)) <= before


def test_move_of_what_is_not_there_is_tried_once(cluster: Cluster):
    before = set(jobs(cluster))

    assert told(cluster, move()) == 200

    def failed() -> list[Any]:
        fresh = [job for name, job in jobs(cluster).items() if name not in before]
        return [job for job in fresh if any(one["type"] == "Failed" for one in job["status"].get("conditions", []))]

    (job,) = until("its Job fails", failed, seconds=300)
    assert job["status"]["failed"] == 1
    assert job["status"]["conditions"][-1]["reason"] == "PodFailurePolicy"


def test_what_no_gate_passes_starts_nothing(cluster: Cluster):
    before = set(jobs(cluster))

    assert httpx.post(f"{cluster.settings['LAKELINE_EVENTS_URL']}/alias", json=move(), timeout=10).status_code in (400, 401, 403)
    for wrong in ({"alias": "staging"}, {"version": "$(HOME)"}, {"model": "../x"}, {"delivery": "1"}):
        assert told(cluster, move(**wrong)) == 200

    with pytest.raises(AssertionError, match="a Job is made: not within 10 s"):
        until("a Job is made", lambda: set(jobs(cluster)) - before, seconds=10)


def told(cluster: Cluster, event: dict[str, str]) -> int:
    headers = {"Authorization": f"Bearer {cluster.settings['LAKELINE_EVENTS_TOKEN']}"}
    return httpx.post(f"{cluster.settings['LAKELINE_EVENTS_URL']}/alias", json=event, headers=headers, timeout=10).status_code
