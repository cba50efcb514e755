"""What callers notice on a live cluster while versions come and go: nothing but other versions."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lakeline.data.servingspec import Serving
from lakeline.data.specfile import pinned_spec
from lakeline.lake import open_lake
from lakeline.registry import history, register
from lakeline.registry.deployed import standing
from lakeline.registry.store import connect
from lakeline.serving.deployment import resolve
from lakeline.serving.release import Release, Route
from lakeline.serving.rollout.site import KubernetesSite
from lakeline.settings import get_settings
from lakeline.training.fit import fit_best
from lakeline.training.search import TrialResult
from tests.cluster.conftest import SERVING
from tests.live import Cluster, until

pytestmark = pytest.mark.cluster

SMALL = {"replicas": 1, "maximum_replicas": 1, "cpu": "20m", "requests": 20, "p99": 5000}
COLUMNS = {"carrier": ["UA", "AA", "B6"], "origin": ["EWR", "JFK", "LGA"], "dest": ["IAH", "MIA", "BOS"], "weekday": ["Mon", "Tue", "Sun"]}
ROW = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": "Mon", "hour": 5, "distance": 1400, "dep_delay": 2}

CALL = """
import collections, json, os, sys, threading, time
import httpx
url, callers, row, seen, lock = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), collections.Counter(), threading.Lock()
headers = {"Authorization": "Bearer " + os.environ["LAKELINE_SERVING_TOKEN"]}
def call():
    with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:
        while True:
            try:
                answer = client.post(url + "/invocations", json={"dataframe_records": [row]})
                what = f"{answer.status_code} {answer.headers.get('lakeline-version')} {answer.headers.get('lakeline-variant')}"
            except httpx.HTTPError as error:
                what = f"none {type(error).__name__}"
            with lock:
                seen[what] += 1
for _ in range(callers):
    threading.Thread(target=call, daemon=True).start()
while True:
    time.sleep(0.5)
    with lock:
        print(json.dumps(seen), flush=True)
"""


@dataclass
class Model:
    """A model on the cluster: versions 1 and 2 are good and differ."""

    cluster: Cluster
    name: str
    folder: Path

    def add(self, *, broken: bool = False) -> int:
        """Register a version as a training step does; a broken one doesn't predict what its card says."""
        lake = open_lake(self.name)
        commit = lake.resolve("main")
        chance = np.random.default_rng(int(time.time()))
        rows = pd.DataFrame({column: chance.choice(values, 300) for column, values in COLUMNS.items()})
        rows = rows.assign(hour=chance.integers(0, 24, 300), distance=chance.uniform(100, 3000, 300), dep_delay=chance.normal(5, 20, 300))
        rows["arr_delay"] = rows["dep_delay"] + chance.normal(0, 5, 300)
        here = self.folder / secrets.token_hex(4)
        here.mkdir()
        rows.to_parquet(here / "train.parquet", index=False)
        result = TrialResult(0, "linear_regression", {}, {"rmse": 1.0}, 0.1, time.time())
        fit_best(pinned_spec(lake, commit).spec, commit, here / "train.parquet", [result], here / "model")
        if broken:
            card = json.loads((here / "model" / "model.json").read_text())
            card["example"]["predictions"] = [value + 1 for value in card["example"]["predictions"]]
            (here / "model" / "model.json").write_text(json.dumps(card))
        evaluation = {"candidate": {"rmse": 5.0}, "production": None, "metric": "rmse", "rows": 40}
        made = register(self.name, commit, here / "model", evaluation, [result.to_json()], {}, f"test-{secrets.token_hex(4)}", time.time())
        return made.version

    def release(self, version: int) -> Release:
        """A version that somebody has put into production."""
        connect().set_registered_model_alias(self.name, "production", str(version))
        return resolve(self.name, version).release

    @contextmanager
    def called(self, url: str, callers: int = 3) -> Generator[Callable[[], Counter[str]]]:
        """Call it from a pod where steps run, until left; gives what the answers were so far: status, version, variant."""
        name = f"caller-{secrets.token_hex(3)}"
        secret = {
            "name": "LAKELINE_SERVING_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "lakeline-serving", "key": "LAKELINE_SERVING_TOKEN"}},
        }
        container = {
            "name": name,
            "image": json.loads(self.cluster.kubectl("get", "configmap", "lakeline", "-n", "kubeflow", "-o", "json"))["data"][
                "LAKELINE_STEPS_IMAGE"
            ],
            "command": ["python", "-c", CALL, url, str(callers), json.dumps(ROW)],
            "env": [secret],
        }
        overrides = json.dumps({"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}})
        words = ("--namespace", "kubeflow", "run", name, "--restart=Never", f"--image={container['image']}", f"--overrides={overrides}")
        self.cluster.kubectl(*words)

        def seen() -> Counter[str]:
            lines = self.cluster.kubectl("--namespace", "kubeflow", "logs", name, "--tail=1", check=False).strip()
            return Counter(json.loads(lines)) if lines.startswith("{") else Counter()

        try:
            until("a call is answered", lambda: seen().total(), seconds=180)
            yield seen
        finally:
            self.cluster.kubectl("--namespace", "kubeflow", "delete", "pod", name, "--wait=false")


@pytest.fixture
def model(cluster: Cluster, datasets: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    settings = json.loads(cluster.kubectl("get", "configmap", "lakeline", "-n", "kubeflow", "-o", "json"))["data"]
    for name in ("LAKELINE_SERVING", "LAKELINE_SERVING_IMAGE", "LAKELINE_SERVING_NAMESPACE", "LAKELINE_PREDICTIONS"):
        monkeypatch.setenv(name, settings[name])
    made = Model(cluster, datasets(lambda spec: spec + SERVING), tmp_path)
    get_settings.cache_clear()
    made.add()
    made.add()
    yield made
    site = KubernetesSite()
    for variant in ("challenger", "production"):
        site.withdraw(made.name, variant)


def answered(seen: Counter[str]) -> set[str]:
    return {what.split()[0] for what in seen}


def test_promotion_serves_and_a_broken_version_is_taken_back_unnoticed(cluster: Cluster, model: Model):
    first = cluster.lakeline("promote", model.name, "1", "--why", "the first", "--wait")
    assert first["deployment"]["status"] == "succeeded", first

    with model.called(KubernetesSite().url(model.name)) as seen:
        second = cluster.lakeline("promote", model.name, "2", "--why", "newer", "--wait")
        assert second["deployment"]["status"] == "succeeded", second
        until("version 2 answers", lambda: any(what.startswith("200 2 ") for what in seen()))
        broken = model.add(broken=True)
        connect().set_registered_model_alias(model.name, "production", str(broken))
        until("the alias is taken back", lambda: standing(model.name).production == 2, seconds=900)
        told = seen()

    assert answered(told) == {"200"}, told
    assert {what.split()[1] for what in told} == {"1", "2"}
    assert f"version {broken} was rolled back: " in history(model.name)[-1].why
    events = cluster.objects("events", "lakeline-serving")
    assert any(event["reason"] == "RolledBack" and event["involvedObject"]["name"] == f"{model.name}-production" for event in events)


def test_ten_rollouts_under_load_drop_no_request(model: Model):
    site, spec = KubernetesSite(), Serving.model_validate(SMALL)
    releases = [model.release(1), model.release(2)]
    with site.hold(model.name, "test"):
        site.roll_out(releases[1], spec)
        with model.called(site.url(model.name)) as seen:
            for turn in range(10):
                site.roll_out(releases[turn % 2], spec)
            told = seen()

    assert answered(told) == {"200"}, told
    assert {what.split()[1] for what in told} == {"1", "2"}


def test_gateway_shares_requests_out_by_weight(cluster: Cluster, model: Model, monkeypatch: pytest.MonkeyPatch):
    gateways = json.loads(cluster.kubectl("get", "gateways", "-A", "-o", "json", check=False) or '{"items": []}')["items"]
    if not gateways:
        pytest.skip("the cluster has no Gateway (Gateway API)")
    at = gateways[0]["metadata"]
    monkeypatch.setenv("LAKELINE_SERVING_GATEWAY", f"{at['namespace']}/{at['name']}")
    get_settings.cache_clear()
    site, spec = KubernetesSite(), Serving.model_validate(SMALL)
    challenger = model.release(2)
    production = model.release(1)
    with site.hold(model.name, "test"):
        site.roll_out(production, spec)
        route = Route("test", 0.2, site.url(model.name, "production"))
        site.roll_out(replace(challenger, variant="challenger", route=route), spec)
        site.share(model.name, 0.2)
        time.sleep(5)  # until the gateway's last change counts
        with model.called(site.url(model.name), callers=2) as seen:
            before = seen()
            until("2,000 calls are answered", lambda: seen().total() > before.total() + 2000, seconds=300)
            told = seen() - before
        site.share(model.name, None)

    assert answered(told) == {"200"}, told
    share: dict[str, Any] = {
        variant: sum(n for what, n in told.items() if what.endswith(variant)) for variant in ("production", "challenger")
    }
    assert share["challenger"] / told.total() == pytest.approx(0.2, abs=0.02)
