"""From an arrival to traffic on a live cluster: the way that all else is about, proven first."""

from __future__ import annotations

import json

import pytest

from lakeline.lake import open_lake
from lakeline.registry.deployed import standing
from lakeline.serving.rollout import names
from tests.cluster.conftest import Chain, ended_jobs, reacted
from tests.live import Cluster, until

pytestmark = pytest.mark.cluster


def test_arrival_leads_to_one_model_in_production(cluster: Cluster, chain: Chain):
    (run,) = until(chain.run, lambda: cluster.runs(chain.run))
    assert cluster.wait(run["run_id"]).status == "succeeded"

    (version,) = cluster.lakeline("models", chain.dataset)["models"]
    assert "production" in version["aliases"]
    assert version["verdict"] == "promoted"
    lineage = version["lineage"]
    assert lineage["data_commit"] == chain.commit
    assert lineage["data_arrivals"] == "2013-01"
    assert lineage["pipeline_run"] == run["run_id"]
    assert all(lineage[key] for key in ("spec_digest", "code_version", "seed", "image"))
    assert open_lake(chain.dataset).tags()["model/1"] == chain.commit


def test_model_in_production_comes_to_serve(cluster: Cluster, chain: Chain):
    until("the deployment ends", lambda: not standing(chain.dataset).pending, seconds=900)

    at = standing(chain.dataset)
    assert (at.production, at.deployed) == (1, 1)
    service = f"/api/v1/namespaces/lakeline-serving/services/{names.own(chain.dataset, 'production')}:{names.PORT}/proxy/readyz"
    ready = json.loads(cluster.kubectl("get", "--raw", service))
    assert (ready["ready"], ready["model"], ready["version"]) == (True, chain.dataset, 1)


def test_same_event_again_starts_nothing(cluster: Cluster, chain: Chain):
    before = len(ended_jobs(cluster, "merge", chain.commit))

    for _ in range(2):
        assert cluster.lakeline("event", "replay", chain.dataset)["status"] == 200

    reacted(cluster, "merge", chain.commit, before + 2)
    assert len(cluster.runs(chain.run)) == 1
    assert len(cluster.lakeline("models", chain.dataset)["models"]) == 1
