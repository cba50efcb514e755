"""A live cluster: Kubernetes with Kubeflow Pipelines, lakeFS, MLflow and Argo Events, on which `lakeline cluster deploy` was run.

Everything is real, and reached as a person reaches it: through kubectl, forwarded ports and the command line. Each test has a data
set of its own, so that what other people run on the cluster is not in the way; it is removed afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lakeline.settings import get_settings
from tests.live import PROJECT, Cluster, until

Datasets = Callable[..., str]
SERVING = "\nserving: { replicas: 1, maximum_replicas: 1, cpu: 20m, requests: 20, p99: 5000 }\n"
"""Of a spec whose model is to be served on a small node."""

_ORDER = ("test_chain", "test_alias", "test_serving", "test_events", "test_runs", "test_traffic")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Prove the chain from an arrival to traffic first: where that doesn't hold, the rest says little. What needs no run comes next."""
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    ours = [items[place] for place in places]
    ours.sort(key=lambda item: (item.path.stem != _ORDER[0], "datasets" in getattr(item, "fixturenames", ()), _place(item)))
    for place, item in zip(places, ours, strict=True):
        items[place] = item


def _place(item: pytest.Item) -> int:
    return _ORDER.index(item.path.stem) if item.path.stem in _ORDER else len(_ORDER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failure which pods have no room on the cluster's nodes: it may be for want of that."""
    report = yield
    if report.failed and "cluster" in getattr(item, "fixturenames", ()):
        report.sections.append(("want of room", _without_room() or "No pod waits for room."))
    return report


def _without_room() -> str:
    command = ["kubectl", "get", "events", "-A", "--field-selector=reason=FailedScheduling", "--no-headers"]
    columns = "-o=custom-columns=AT:.lastTimestamp,NAMESPACE:.metadata.namespace,POD:.involvedObject.name,WHY:.message"
    done = subprocess.run([*command, columns], capture_output=True, text=True, timeout=60, check=False)
    return "\n".join(line for line in done.stdout.splitlines() if "Insufficient" in line)


@pytest.fixture(scope="session")
def cluster() -> Generator[Cluster]:
    """Connect to the cluster; this process has its settings too."""
    if not os.environ.get("LAKELINE_TEST_CLUSTER"):
        pytest.skip("`make test-cluster` runs the tests against a live cluster")
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl on the PATH")
    from pipelines.clusters.connection import connected
    from pipelines.clusters.kubectl import ClusterError

    try:
        connection = connected()
        settings = connection.__enter__()
    except ClusterError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        yield Cluster(settings)
    connection.__exit__(None, None, None)
    get_settings.cache_clear()


@pytest.fixture
def datasets(cluster: Cluster, tmp_path: Path) -> Iterator[Datasets]:
    """Make data sets like flights, under names of their own, known to the lake; they are gone after the test."""
    with _datasets(cluster, tmp_path) as make:
        yield make


@contextmanager
def _datasets(cluster: Cluster, folder: Path) -> Generator[Datasets]:
    from lakeline.lake import open_lake

    made: list[str] = []

    def make(change: Callable[[str], str] = lambda spec: spec) -> str:
        name = f"flights-test-{secrets.token_hex(3)}"
        copied = shutil.copytree(PROJECT / "datasets" / "flights", folder / name)
        spec = copied / "dataset.yaml"
        spec.write_text(change(spec.read_text(encoding="utf-8").replace("name: flights", f"name: {name}", 1)), encoding="utf-8")
        made.append(name)
        cluster.lakeline("dataset", "push", name)
        open_lake(name)
        return name

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cluster.settings, "LAKELINE_DATASETS", str(folder))
        patch.setenv("LAKELINE_DATASETS", str(folder))
        get_settings.cache_clear()
        yield make
        for name in made:
            _remove(cluster, name)
    get_settings.cache_clear()


@dataclass(frozen=True)
class Chain:
    """A data set whose arrival 2013-01 has come to main by a run, and what its merge has set in motion."""

    dataset: str
    commit: str

    @property
    def run(self) -> str:
        """Name of the training run that the merge's event starts."""
        return f"training {self.dataset} {self.commit[:12]}"


@pytest.fixture(scope="session")
def chain(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Bring an arrival in, with events on; the model that comes of it is what several tests are about."""
    from lakeline.lake import open_lake

    with _datasets(cluster, tmp_path_factory.mktemp("chain")) as make:
        dataset = make(lambda spec: spec + SERVING)
        cluster.lakeline("lake", "init", dataset)
        delivered = cluster.lakeline("submit", "data", "-d", dataset, "-a", "2013-01", "--wait")
        assert delivered["status"] == "succeeded", delivered["error"]
        yield Chain(dataset, open_lake(dataset).resolve("main"))


def ended_jobs(cluster: Cluster, kind: str, about: str) -> list[str]:
    """Names of the Jobs of a kind of event that are about something and have ended."""
    import json

    jobs = [job for job in cluster.objects("jobs", "lakeline", f"lakeline.dev/event={kind}") if about in json.dumps(job["spec"])]
    ends = ("Complete", "Failed")
    return [job["metadata"]["name"] for job in jobs if any(one["type"] in ends for one in job["status"].get("conditions", []))]


def reacted(cluster: Cluster, kind: str, about: str, count: int) -> None:
    """Wait until this many events about something have been dealt with: what they start, they have started then."""
    until(f"{count} Jobs of {kind} end", lambda: len(ended_jobs(cluster, kind, about)) >= count, seconds=300)


def _remove(cluster: Cluster, name: str) -> None:
    """Remove what a data set left: schedules, runs, what serves its model, the model, experiment, and the repository of the lake."""
    import mlflow
    from lakefs import Repository

    from lakeline.serving.rollout.site import KubernetesSite
    from pipelines import remote, schedules
    from pipelines.local import PIPELINES

    client = remote.connect()
    for pipeline in PIPELINES:
        schedules.end(client, pipeline, name)
    for run in cluster.lakeline("runs", "--dataset", name, "--limit", "200"):
        if run["status"] in ("pending", "running"):
            client.terminate_run(run["run_id"])
    site = KubernetesSite()
    for variant in site.serving(name):
        site.withdraw(name, variant)
    registry = mlflow.MlflowClient(cluster.settings["MLFLOW_TRACKING_URI"])
    if registry.search_registered_models(f"name = '{name}'"):
        registry.delete_registered_model(name)
    experiment = registry.get_experiment_by_name(name)
    if experiment:
        registry.delete_experiment(experiment.experiment_id)
    Repository(name).delete()
