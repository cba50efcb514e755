"""A site that speaks to the double of an API server, and releases to roll out on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakeline.data.servingspec import Serving
from lakeline.serving.release import Release
from lakeline.serving.rollout.site import KubernetesSite
from lakeline.settings import get_settings
from tests.unit.serving.rollout.apiserver import ApiServer, apiserver

SERVING = Serving(replicas=2, maximum_replicas=6, deadline=10)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Run a double, which KUBECONFIG names; waits take no time."""
    from lakeline.serving.rollout import wait

    with apiserver() as server:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "double",
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": "double"}}],
            "clusters": [{"name": "double", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "double", "user": {"token": "any"}}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("KUBECONFIG", str(path))
        monkeypatch.setenv("LAKELINE_SERVING", "kubernetes")
        monkeypatch.setenv("LAKELINE_PREDICTIONS", "s3://predictions")
        monkeypatch.setattr(wait, "EVERY", 0.01)
        monkeypatch.setattr(wait, "HEARD", 0.0)
        get_settings.cache_clear()
        yield server
    get_settings.cache_clear()


@pytest.fixture
def site(cluster: ApiServer) -> KubernetesSite:
    return KubernetesSite()


@pytest.fixture
def gateway(cluster: ApiServer, monkeypatch: pytest.MonkeyPatch) -> KubernetesSite:
    """Make a site on a cluster with a gateway."""
    cluster.gateway = True
    monkeypatch.setenv("LAKELINE_SERVING_GATEWAY", "gateway/lakeline")
    get_settings.cache_clear()
    return KubernetesSite()


@pytest.fixture
def release() -> Callable[..., Release]:
    """Make releases of one model."""

    def make(version: int, **more: Any) -> Release:
        told: dict[str, Any] = {"data_commit": "c0ffee", "run": f"run-{version}", "actor": "ada"} | more
        return Release("prices", version, f"{version:x}".rjust(64, "0"), **told)

    return make
