"""A release is settled where rolling it out again would change nothing, and only there."""

from collections.abc import Callable

import pytest

from lakeline.data.servingspec import Serving
from lakeline.errors import RolloutFailed
from lakeline.serving.release import Release, Route
from lakeline.serving.rollout.site import KubernetesSite
from lakeline.settings import get_settings
from tests.unit.serving.rollout.apiserver import ApiServer
from tests.unit.serving.rollout.conftest import SERVING
from tests.unit.serving.rollout.controllers import crashes, serves, starts

Releases = Callable[..., Release]


def test_release_that_serves_is_settled_whoever_released_it(cluster: ApiServer, site: KubernetesSite, release: Releases):
    assert not site.settled(release(1), SERVING)

    site.roll_out(release(1), SERVING)

    assert site.settled(release(1, run="another", actor="bob"), SERVING)
    assert not site.settled(release(2), SERVING)
    assert not site.settled(release(1, route=Route("test", 0.5, "http://prices-challenger:8080")), SERVING)


@pytest.mark.parametrize("change", [{"cpu": "300m"}, {"replicas": 3}, {"maximum_replicas": 7}])
def test_another_spec_unsettles_it(change: dict[str, str | int], site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)

    assert not site.settled(release(1), Serving.model_validate(SERVING.model_dump() | change))


def test_another_image_unsettles_it(site: KubernetesSite, release: Releases, monkeypatch: pytest.MonkeyPatch):
    site.roll_out(release(1), SERVING)

    monkeypatch.setenv("LAKELINE_SERVING_IMAGE", "example.org/serving:patched")
    get_settings.cache_clear()

    assert not site.settled(release(1), SERVING)
    site.roll_out(release(1), SERVING)
    assert site.settled(release(1), SERVING)


@pytest.mark.parametrize(
    ("plural", "name"),
    [
        ("services", "prices"),
        ("services", "prices-production"),
        ("poddisruptionbudgets", "prices-production"),
        ("horizontalpodautoscalers", "prices-production"),
        ("networkpolicies", "prices-servers"),
        ("httproutes", "prices"),
    ],
)
def test_object_that_is_gone_unsettles_it_until_it_is_rolled_out_again(
    plural: str, name: str, cluster: ApiServer, gateway: KubernetesSite, release: Releases
):
    gateway.roll_out(release(1), SERVING)
    assert gateway.settled(release(1), SERVING)

    with cluster.lock:
        del cluster.objects[plural, name]
        cluster.controllers.gone(plural, name)

    assert not gateway.settled(release(1), SERVING)
    gateway.roll_out(release(1), SERVING)
    assert gateway.settled(release(1), SERVING)


def test_gateway_that_comes_later_unsettles_it(
    cluster: ApiServer, site: KubernetesSite, release: Releases, monkeypatch: pytest.MonkeyPatch
):
    site.roll_out(release(1), SERVING)

    cluster.gateway = True
    monkeypatch.setenv("LAKELINE_SERVING_GATEWAY", "gateway/lakeline")
    get_settings.cache_clear()

    assert not KubernetesSite().settled(release(1), SERVING)


def test_pods_that_crash_unsettle_it(cluster: ApiServer, site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)
    cluster.controllers.fates["1"] = crashes("the store is away")

    assert not site.settled(release(1), SERVING)


def test_rollout_that_failed_is_not_settled(cluster: ApiServer, site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)
    cluster.controllers.fates["2"] = crashes("it predicts nan")
    with pytest.raises(RolloutFailed):
        site.roll_out(release(2), SERVING)

    assert not site.settled(release(2), SERVING)
    assert not site.settled(release(1), SERVING)


def test_test_without_a_gateway_is_settled_with_the_numbers_that_it_fixes(cluster: ApiServer, site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)
    site.roll_out(release(2, variant="challenger"), SERVING)
    site.share("prices", 0.25)

    assert site.settled(release(1), SERVING)
    assert site.settled(release(2, variant="challenger"), SERVING)

    cluster.objects["horizontalpodautoscalers", "prices-challenger"]["spec"]["maxReplicas"] = 6
    assert not site.settled(release(2, variant="challenger"), SERVING)


def test_busy_release_is_settled_while_more_servers_come(cluster: ApiServer, site: KubernetesSite, release: Releases):
    """What the autoscaler has under way is no reason to deploy again."""
    site.roll_out(release(1), SERVING)
    there = cluster.named("pods")
    cluster.controllers.fates["1"] = lambda pod: (serves if pod["metadata"]["name"] in there else starts)(pod)
    with cluster.lock:
        busy = cluster.get("deployments", "prices-production")
        busy["spec"]["replicas"] = 5
        cluster.keep("deployments", busy)

    assert site.settled(release(1), SERVING)
