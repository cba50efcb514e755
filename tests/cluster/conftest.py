"""A live cluster: Kubernetes with Kubeflow Pipelines, lakeFS, MLflow and Argo Events, on which `lakeline cluster deploy` was run.

Everything is real, and reached as a person reaches it: through kubectl, forwarded ports and the command line. Each test has a data
set of its own, so that what other people run on the cluster is not in the way; it is removed afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from lakeline.settings import get_settings
from tests.live import PROJECT, Cluster


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
def datasets(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Make data sets like flights, under names of their own, known to the lake; they are gone after the test."""
    from lakeline.lake import open_lake

    made: list[str] = []
    monkeypatch.setitem(cluster.settings, "LAKELINE_DATASETS", str(tmp_path))
    monkeypatch.setenv("LAKELINE_DATASETS", str(tmp_path))
    get_settings.cache_clear()

    def make(change: Callable[[str], str] = lambda spec: spec) -> str:
        name = f"flights-test-{secrets.token_hex(3)}"
        folder = shutil.copytree(PROJECT / "datasets" / "flights", tmp_path / name)
        spec = folder / "dataset.yaml"
        spec.write_text(change(spec.read_text().replace("name: flights", f"name: {name}", 1)))
        made.append(name)
        cluster.lakeline("dataset", "push", name)
        open_lake(name)
        return name

    yield make
    for name in made:
        _remove(cluster, name)
    get_settings.cache_clear()


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
