"""Requests are shared between variants by a gateway's weights, or by numbers of servers."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeline.errors import RolloutFailed, ServingError
from lakeline.serving.release import Release, Route
from lakeline.serving.rollout import sharing, traffic
from lakeline.serving.rollout.site import KubernetesSite
from tests.unit.serving.rollout.apiserver import ApiServer
from tests.unit.serving.rollout.conftest import SERVING

Releases = Callable[..., Release]
BOTH = {"app.kubernetes.io/name": "model-server", "lakeline.dev/model": "prices"}
PRODUCTION = BOTH | {"lakeline.dev/variant": "production"}


def both(site: KubernetesSite, release: Releases) -> None:
    site.roll_out(release(1), SERVING)
    site.roll_out(release(2, variant="challenger"), SERVING)


def replicas(cluster: ApiServer, variant: str) -> int:
    return cluster.get("deployments", f"prices-{variant}")["spec"]["replicas"]


def test_challenger_gets_nothing_until_it_is_told(cluster: ApiServer, site: KubernetesSite, release: Releases):
    both(site, release)

    assert cluster.get("services", "prices")["spec"]["selector"] == PRODUCTION
    assert {variant: each.version for variant, each in site.serving("prices").items()} == {"production": 1, "challenger": 2}


def test_without_a_gateway_numbers_of_servers_share(cluster: ApiServer, site: KubernetesSite, release: Releases):
    both(site, release)

    site.share("prices", 0.25)

    assert cluster.get("services", "prices")["spec"]["selector"] == BOTH
    assert (replicas(cluster, "production"), replicas(cluster, "challenger")) == (3, 1)
    for variant in ("production", "challenger"):
        bounds = cluster.get("horizontalpodautoscalers", f"prices-{variant}")["spec"]
        assert bounds["minReplicas"] == bounds["maxReplicas"] == replicas(cluster, variant)

    site.roll_out(release(3), SERVING)  # a new version in production changes no share
    assert (replicas(cluster, "production"), replicas(cluster, "challenger")) == (3, 1)

    site.share("prices", None)
    assert cluster.get("services", "prices")["spec"]["selector"] == PRODUCTION
    bounds = cluster.get("horizontalpodautoscalers", "prices-challenger")["spec"]
    assert (bounds["minReplicas"], bounds["maxReplicas"]) == (2, 6)
    assert replicas(cluster, "challenger") == 2


def test_gateway_shares_by_weights(cluster: ApiServer, gateway: KubernetesSite, release: Releases):
    both(gateway, release)
    backends = cluster.get("httproutes", "prices")["spec"]["rules"][0]["backendRefs"]
    assert [(each["name"], each["weight"]) for each in backends] == [("prices-production", 1000)]

    gateway.share("prices", 0.125)

    (rule,) = cluster.get("httproutes", "prices")["spec"]["rules"]
    assert [(each["name"], each["weight"]) for each in rule["backendRefs"]] == [("prices-production", 875), ("prices-challenger", 125)]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/prices"}}]
    assert cluster.get("services", "prices")["spec"]["selector"] == PRODUCTION  # who goes round the gateway is in no test
    assert replicas(cluster, "challenger") == 2

    gateway.withdraw("prices", "challenger")
    backends = cluster.get("httproutes", "prices")["spec"]["rules"][0]["backendRefs"]
    assert [each["name"] for each in backends] == ["prices-production"]


def test_test_whose_gateway_is_done_away_with_is_not_settled(cluster: ApiServer, gateway: KubernetesSite, release: Releases):
    both(gateway, release)
    gateway.share("prices", 0.125)
    assert gateway.settled(release(1), SERVING)

    cluster.gateway = False
    assert not KubernetesSite().settled(release(1), SERVING)


def test_address_is_the_gateways(cluster: ApiServer, gateway: KubernetesSite):
    own = "http://prices.lakeline-serving.svc.cluster.local:8080"
    assert gateway.url("prices") == own  # it has none yet

    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    with cluster.lock:
        found = {"metadata": {"name": "lakeline"}, "spec": {"listeners": listeners}, "status": {"addresses": [{"value": "10.1.2.3"}]}}
        cluster.keep("gateways", found)

    assert gateway.url("prices") == "http://10.1.2.3/prices"
    assert gateway.url("prices", "challenger") == own.replace("prices", "prices-challenger")


def test_gateway_that_refuses_the_route_is_told_of_before_anything_serves_anew(
    cluster: ApiServer, gateway: KubernetesSite, release: Releases, monkeypatch: pytest.MonkeyPatch
):
    gateway.roll_out(release(1), SERVING)
    monkeypatch.setattr(sharing, "PATIENCE", 0.0)
    cluster.controllers.accepted = False

    with pytest.raises(RolloutFailed, match=r"gateway gateway/lakeline has not taken the route of prices .* no such gateway"):
        gateway.roll_out(release(2), SERVING)

    assert gateway.serving("prices") == {"production": release(1)}


def test_gateway_that_is_not_installed_is_done_without(cluster: ApiServer, gateway: KubernetesSite, release: Releases):
    cluster.gateway = False
    site = KubernetesSite()

    site.roll_out(release(1), SERVING)

    assert cluster.named("httproutes") == []


def test_sharing_with_nobody_is_refused(site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)
    with pytest.raises(ServingError, match="nothing serves as challenger"):
        site.share("prices", 0.5)


def test_servers_are_told_of_the_test(cluster: ApiServer, site: KubernetesSite, release: Releases):
    route = Route("test-1", 0.3, "http://prices-challenger:8080")

    site.roll_out(release(1, route=route), SERVING)

    assert site.serving("prices")["production"].route == route
    variables = {
        each["name"]: each.get("value")
        for each in cluster.get("deployments", "prices-production")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert variables["LAKELINE_SERVE_WEIGHT"] == "0.3"
    assert variables["LAKELINE_SERVE_PEER"] == "http://prices-challenger:8080"


@given(weight=st.floats(0.001, 0.999), least=st.integers(1, 5), more=st.integers(0, 20))
def test_numbers_are_as_near_as_they_can_be(weight: float, least: int, more: int):
    most = least + more
    found = traffic.servers(weight, least, most)
    share = found["challenger"] / sum(found.values())
    assert all(1 <= number <= most for number in found.values())
    assert max(found.values()) >= least
    best = min(abs(b / (a + b) - weight) for a in range(1, most + 1) for b in range(1, most + 1) if max(a, b) >= least)
    assert abs(share - weight) <= best + 1e-8


@given(st.floats(0, 1))
def test_weights_are_of_a_thousand(weight: float):
    found = traffic.weights(weight)
    assert sum(found.values()) == 1000
    assert found["challenger"] == pytest.approx(weight * 1000, abs=0.5)
