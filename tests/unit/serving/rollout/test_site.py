"""One version takes another's place on Kubernetes, or what served before still does, and the reason is said."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from lakeline.data.servingspec import Serving
from lakeline.errors import RolloutFailed, ServingError, VersionFailed
from lakeline.serving.release import Release
from lakeline.serving.rollout.site import KubernetesSite
from tests.unit.serving.rollout.apiserver import ApiServer
from tests.unit.serving.rollout.conftest import SERVING
from tests.unit.serving.rollout.controllers import Fate, crashes, evicted, finds_no_node, serves, starts, waits

Releases = Callable[..., Release]

EARLIER = {"metadata": {"name": "prices", "labels": {"lakeline.dev/model": "prices"}}, "spec": {}}
"""Policy of a model by the name that it had at first."""


def versions(cluster: ApiServer, variant: str = "production") -> list[str]:
    """Versions of the pods that the Service of a variant leads to."""
    slices = cluster.get("endpointslices", f"prices-{variant}-slice")
    names = [end["targetRef"]["name"] for end in slices["endpoints"]]
    return sorted(cluster.get("pods", name)["metadata"]["labels"]["lakeline.dev/version"] for name in names)


def test_first_version_comes_to_serve(cluster: ApiServer, site: KubernetesSite, release: Releases):
    assert site.serving("prices") == {}

    site.roll_out(release(1), SERVING)

    assert site.serving("prices") == {"production": release(1)}
    assert versions(cluster) == ["1", "1"]
    assert site.url("prices") == "http://127.0.0.1:8080"
    for kind in ("services", "horizontalpodautoscalers", "poddisruptionbudgets"):
        assert "prices-production" in cluster.named(kind)
    assert cluster.named("networkpolicies") == ["prices-servers"]


def test_next_version_takes_its_place(cluster: ApiServer, site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)

    site.roll_out(release(2), SERVING)

    assert versions(cluster) == ["2", "2"]
    annotations = cluster.get("deployments", "prices-production")["metadata"]["annotations"]
    assert {key.partition("/")[2]: value for key, value in annotations.items()} == {
        "model": "prices",
        "version": "2",
        "digest": release(2).digest,
        "data-commit": "c0ffee",
        "run": "run-2",
        "actor": "ada",
        "previous": "1",
        "replicas": "2",
        "maximum-replicas": "6",
        "route": "",
    }


def test_same_version_again_restarts_nothing(cluster: ApiServer, site: KubernetesSite, release: Releases):
    """Another run that releases what serves already is no reason to."""
    site.roll_out(release(1), SERVING)
    site.roll_out(release(2), SERVING)
    pods = cluster.named("pods")

    site.roll_out(release(2, run="run-3"), SERVING)

    assert cluster.named("pods") == pods
    assert cluster.get("deployments", "prices-production")["metadata"]["annotations"]["lakeline.dev/previous"] == "1"


def test_version_that_served_a_moment_ago_comes_back(cluster: ApiServer, site: KubernetesSite, release: Releases):
    """Its pods of then are still ending, and say so: that is no failure."""
    for version in (1, 2, 1, 2):
        site.roll_out(release(version), SERVING)
        assert versions(cluster) == [str(version)] * 2


def test_number_of_servers_is_the_autoscalers(cluster: ApiServer, site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)
    busy = cluster.get("deployments", "prices-production")
    busy["spec"]["replicas"] = 5
    with cluster.lock:
        cluster.keep("deployments", busy)

    site.roll_out(release(2), SERVING)

    assert versions(cluster) == ["2"] * 5
    site.roll_out(release(2), Serving(replicas=1, maximum_replicas=3, deadline=10))
    assert len(versions(cluster)) <= 3


OF_THE_VERSION: dict[str, tuple[Fate, str]] = {
    "says so": (
        crashes("its example is predicted as 3.5, not 3.25"),
        "server ended with exit code 1: its example is predicted as 3.5, not 3.25",
    ),
    "needs more memory than its spec gives it": (crashes("", code=137, reason="OOMKilled"), "killed for using more memory than it may"),
    "crashes": (crashes("", code=139), "exit code 139"),
    "is never ready": (starts, r"not ready after 1 s \(0 of 1 pods are\): pod .*: its server runs, but doesn't say that it is ready"),
}

OF_THE_PLACE: dict[str, tuple[Fate, str]] = {
    "no room": (finds_no_node, "Insufficient cpu. Each server asks for cpu 250m and memory 512Mi.*serving.cpu"),
    "no image": (waits("ErrImagePull", "connection refused"), "ErrImagePull: connection refused"),
    "no Secret": (waits("CreateContainerConfigError", "secret not found"), "CreateContainerConfigError"),
    "registry away": (crashes("MLflow is out of reach", "fetch", kind="RegistryError", retry=True, restarts=3), "MLflow is out of reach"),
    "other files": (
        crashes("its files have the digest abc", "fetch", kind="RegistryError"),
        "fetch ended with exit code 1: its files have",
    ),
    "no disk on the node": (crashes("no space left", kind="RolloutFailed", retry=True, restarts=3), "no space left"),
    "no token": (crashes("LAKELINE_SERVE_TOKEN isn't set", kind="UsageError"), "LAKELINE_SERVE_TOKEN isn't set"),
    "killed": (crashes("", code=137), "exit code 137"),
    "evicted": (evicted, "Evicted"),
    "never started": (lambda pod: pod.update(status={"phase": "Pending"}), "hasn't been started yet"),
}


@pytest.mark.parametrize("fate", [*OF_THE_VERSION, *OF_THE_PLACE])
def test_version_that_does_not_come_up_replaces_nothing_and_whose_fault_that_is_is_told(
    fate: str, cluster: ApiServer, site: KubernetesSite, release: Releases
):
    site.roll_out(release(1), SERVING)
    before = cluster.named("pods")
    cluster.controllers.fates["2"], said = (OF_THE_VERSION | OF_THE_PLACE)[fate]
    kind = VersionFailed if fate in OF_THE_VERSION else RolloutFailed
    short = SERVING.model_copy(update={"deadline": 1})

    with pytest.raises(RolloutFailed, match=f"prices version 2 doesn't come up as production: .*{said}") as failed:
        site.roll_out(release(2), short)

    assert failed.type is kind
    assert versions(cluster) == ["1", "1"]
    assert site.serving("prices")["production"].version == 2  # still wanted
    site.go_back(release(1), SERVING)
    assert site.serving("prices") == {"production": release(1)}
    assert cluster.named("pods") == before
    with pytest.raises(RolloutFailed, match=said) as failed, site.trial(release(2), short):
        pytest.fail("it was ready")
    assert failed.type is kind


@pytest.mark.parametrize("reason", ["ErrImagePull", "CreateContainerConfigError"])
def test_what_may_pass_is_waited_for_half_a_minute(
    reason: str, cluster: ApiServer, site: KubernetesSite, release: Releases, monkeypatch: pytest.MonkeyPatch
):
    from datetime import timedelta

    def later(pod: dict) -> None:
        """It looks so at first, and the cluster's clock goes on."""
        cluster.ahead += timedelta(seconds=1)
        waits(reason, "not found")(pod)

    cluster.controllers.fates["1"] = later
    before = cluster.now

    with pytest.raises(RolloutFailed, match=f"server: {reason}: not found"):
        site.roll_out(release(1), SERVING)

    assert 30 <= (cluster.now - before).total_seconds() < 60


def test_server_whose_registry_was_away_for_a_moment_is_waited_for(cluster: ApiServer, site: KubernetesSite, release: Releases):
    looks: list[int] = []

    def second_time(pod: dict) -> None:
        looks.append(1)
        (crashes("MLflow is out of reach", "fetch", retry=True) if len(looks) < 9 else serves)(pod)

    cluster.controllers.fates["1"] = second_time

    site.roll_out(release(1), SERVING)

    assert versions(cluster) == ["1", "1"]


def test_interrupted_rollout_goes_on(cluster: ApiServer, site: KubernetesSite, release: Releases, monkeypatch: pytest.MonkeyPatch):
    """Killed after any of its requests, and run again, it comes to the same end."""
    site.roll_out(release(1), SERVING)
    wanted = None
    for stop in range(1, 40):
        other = KubernetesSite()
        calls = 0
        ask = other._api._client.call_api

        def asked(*arguments: object, stop: int = stop, ask: Callable[..., object] = ask, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls > stop:
                raise KeyboardInterrupt
            return ask(*arguments, **more)

        monkeypatch.setattr(other._api._client, "call_api", asked)
        version = 2 + stop
        try:
            other.roll_out(release(version), SERVING)
            wanted = stop
        except KeyboardInterrupt:
            site.roll_out(release(version), SERVING)
        assert versions(cluster) == [str(version)] * 2
        assert site.serving("prices") == {"production": release(version)}
        if wanted:
            break
    assert wanted is not None
    assert wanted > 8


def test_pods_that_crashed_in_an_earlier_try_do_not_speak_against_the_next(cluster: ApiServer, site: KubernetesSite, release: Releases):
    cluster.controllers.fates["1"] = waits("CrashLoopBackOff", "back-off 5m0s")
    cluster.controllers.fates["1"] = crashes("Secret lakeline-serving has another token")
    with pytest.raises(RolloutFailed):
        site.roll_out(release(1), SERVING)
    crashed = cluster.named("pods")
    cluster.controllers.fates["1"] = lambda pod: (crashes("as before") if pod["metadata"]["name"] in crashed else serves)(pod)

    site.roll_out(release(1), SERVING)

    assert not set(crashed) & set(cluster.named("pods"))


def test_withdrawn_model_is_gone(cluster: ApiServer, site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)

    site.withdraw("prices", "production")
    site.withdraw("prices", "production")

    assert site.serving("prices") == {}
    left = [kind for kind in ("deployments", "services", "pods", "horizontalpodautoscalers", "poddisruptionbudgets") if cluster.named(kind)]
    assert left == []


def test_events_are_of_the_deployment(cluster: ApiServer, site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)

    site.tell("prices", "RolledBack", "version 2: " + "long " * 1000, warning=True)

    (name,) = cluster.named("events")
    event = cluster.get("events", name)
    assert event["involvedObject"]["uid"] == cluster.get("deployments", "prices-production")["metadata"]["uid"]
    assert (event["type"], event["reason"]) == ("Warning", "RolledBack")
    assert len(event["message"]) <= 1024


def test_busy_api_server_is_asked_again(cluster: ApiServer, site: KubernetesSite, release: Releases):
    cluster.failures = [503, 429, 500]

    site.roll_out(release(1), SERVING)

    assert versions(cluster) == ["1", "1"]


def test_what_is_not_allowed_is_said(cluster: ApiServer, site: KubernetesSite, release: Releases):
    cluster.rules = [rule for rule in cluster.rules if rule[1] != "services"]

    with pytest.raises(ServingError, match=r"Kubernetes refuses PATCH .*services.*Role lakeline-deployer of namespace lakeline-serving"):
        site.roll_out(release(1), SERVING)


def test_role_allows_no_more_than_is_used(cluster: ApiServer, gateway: KubernetesSite, release: Releases):
    site = gateway
    with cluster.lock:
        cluster.keep("networkpolicies", EARLIER)
    with site.hold("prices", "run-1"):
        with site.trial(release(1), SERVING):
            pass
        cluster.controllers.fates["1"] = crashes("no")
        with pytest.raises(RolloutFailed):
            site.roll_out(release(1), SERVING)
        with pytest.raises(RolloutFailed):
            site.roll_out(release(1), SERVING)
        site.roll_out(release(2), SERVING)
        assert site.settled(release(2), SERVING)
        site.roll_out(release(3, variant="challenger"), SERVING)
        site.share("prices", 0.5)
        site.url("prices")
        site.tell("prices", "Tried", "all of it")
        site.withdraw("prices", "challenger")
        site.withdraw("prices", "production")

    assert set(cluster.rules) - cluster.calls == set()


def test_no_token_and_no_password_is_in_an_object(
    cluster: ApiServer, site: KubernetesSite, release: Releases, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LAKELINE_SERVING_TOKEN", "of-the-callers")
    site.roll_out(release(1), SERVING)

    with cluster.lock:
        assert "of-the-callers" not in json.dumps(list(cluster.objects.values()))


def test_policy_of_an_earlier_name_goes_and_the_namespaces_own_stay(cluster: ApiServer, site: KubernetesSite, release: Releases):
    with cluster.lock:
        cluster.keep("networkpolicies", EARLIER)
        cluster.keep("networkpolicies", {"metadata": {"name": "dns", "labels": {"app.kubernetes.io/part-of": "lakeline"}}, "spec": {}})

    site.roll_out(release(1), SERVING)
    site.roll_out(replace(release(1), model="dns"), SERVING)

    assert cluster.named("networkpolicies") == ["dns", "dns-servers", "prices-servers"]
