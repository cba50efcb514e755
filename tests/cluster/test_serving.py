"""A version comes to serve on the cluster, and one that can't come up replaces nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest

from lakeline.data.servingspec import Serving
from lakeline.errors import DeploymentUnderWay, RolloutFailed
from lakeline.serving.release import Release
from lakeline.serving.rollout import names
from lakeline.serving.rollout.site import KubernetesSite
from tests.cluster.conftest import Chain
from tests.live import Cluster

pytestmark = pytest.mark.cluster

_SMALL = Serving(replicas=1, maximum_replicas=1, cpu="10m", deadline=600)
_NAMESPACE = "lakeline-serving"


@pytest.fixture
def release(cluster: Cluster, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """Take the model that the chain has trained on the cluster."""
    from lakeline.registry.files import DIGEST_TAG
    from lakeline.registry.store import connect
    from lakeline.settings import get_settings

    settings = json.loads(cluster.kubectl("get", "configmap", "lakeline", "-n", _NAMESPACE, "-o", "json"))["data"]
    monkeypatch.setenv("LAKELINE_SERVING_IMAGE", settings["LAKELINE_SERVING_IMAGE"])
    get_settings.cache_clear()
    found = connect().get_model_version_by_alias(chain.dataset, "production")
    yield Release(chain.dataset, int(found.version), found.tags[DIGEST_TAG], data_commit=found.tags["data_commit"])
    get_settings.cache_clear()


def test_version_serves_and_a_broken_one_replaces_nothing(cluster: Cluster, release: Release):
    site = KubernetesSite()
    service = f"/api/v1/namespaces/{_NAMESPACE}/services/{names.own(release.model, 'production')}:{names.PORT}/proxy/readyz"

    with site.hold(release.model, "one"):
        with site.trial(release, _SMALL) as url:
            assert url.endswith(f":{names.PORT}")
        site.roll_out(release, _SMALL)
        with pytest.raises(DeploymentUnderWay, match="one has been changing"):
            KubernetesSite().hold(release.model, "two").__enter__()
        ready = json.loads(cluster.kubectl("get", "--raw", service))
        assert (ready["model"], ready["version"]) == (release.model, release.version)

        with pytest.raises(RolloutFailed, match=r"fetch ended with exit code 1: .*digest"):
            site.roll_out(dataclasses.replace(release, digest="0" * 64), _SMALL)
        assert json.loads(cluster.kubectl("get", "--raw", service))["ready"]
        site.roll_out(release, _SMALL)
        assert site.serving(release.model) == {"production": release}
