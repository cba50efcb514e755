"""Only a fault of the version costs it the alias: whatever else keeps it from serving passes, and the same command deploys it then.

Registry and lake are real; the cluster is the double of an API server. Whose fault each trouble of a pod is, tests in `rollout` say;
what a machine can meet is tried in tests/embedded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakeline.data.servingspec import Serving
from lakeline.errors import DeploymentUnderWay, RegistryError, RolloutFailed, VersionFailed
from lakeline.registry import history, version_info
from lakeline.registry.deployed import standing
from lakeline.registry.store import connect
from lakeline.serving import deployment
from lakeline.serving.deployment import deploy, preflight, resolve
from lakeline.serving.release import Release
from lakeline.serving.rollout import api, sharing, wait
from lakeline.serving.rollout.site import KubernetesSite
from lakeline.settings import get_settings
from tests.unit.registry.conftest import NAME, empty_store, store  # noqa: F401  # pyright: ignore[reportUnusedImport]  (fixtures)
from tests.unit.serving.rollout.apiserver import ApiServer
from tests.unit.serving.rollout.conftest import cluster  # noqa: F401  # pyright: ignore[reportUnusedImport]  (a fixture)
from tests.unit.serving.rollout.controllers import crashes, serves
from tests.unit.serving.test_way_back import Model, model  # noqa: F401  # pyright: ignore[reportUnusedImport]  (a fixture)

DUE = rf"version 2 is not deployed, .*: .*{{}}.* the alias stays at version 2, .* lakeline submit deployment --dataset {NAME}"

AWAY = crashes("MLflow is out of reach", "fetch", kind="RegistryError", retry=True, restarts=3)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:  # noqa: F811
    """No pod is waited for longer than a second, but on the way back."""
    real, back, going_back = wait.rolled_out, KubernetesSite.go_back, False

    def quick(client: Any, release: Release, rollout: str, least: int, deadline: float, *rest: Any) -> None:
        real(client, release, rollout, least, deadline if going_back else 1, *rest)

    def patient(site: KubernetesSite, release: Release, serving: Serving) -> None:
        nonlocal going_back
        going_back = True
        try:
            back(site, release, serving)
        finally:
            going_back = False

    monkeypatch.setattr(wait, "rolled_out", quick)
    monkeypatch.setattr(KubernetesSite, "go_back", patient)


def deployed(model: Model, version: int) -> None:  # noqa: F811
    """Deploy what has the alias, as the next run does."""
    found = resolve(NAME, version, "run-again")
    assert found.status == "deploy"
    preflight(found.release)
    deploy(found.release)
    assert model.answering == {str(version)}
    assert (standing(NAME).production, standing(NAME).pending) == (version, False)


def test_trouble_of_the_place_leaves_the_alias_and_passes(model: Model):  # noqa: F811
    release = model.release(model.add())
    moves = history(NAME)
    model.cluster.controllers.fates["2"] = AWAY

    for step in (preflight, deploy):
        with pytest.raises(RolloutFailed, match=DUE.format("MLflow is out of reach")) as failed:
            step(release)
        assert not isinstance(failed.value, VersionFailed)
        assert model.answering == {"1"}
        assert (standing(NAME).production, standing(NAME).pending) == (2, True)

    assert history(NAME) == moves
    assert "rolled_back_why" not in version_info(NAME, 2).tags
    del model.cluster.controllers.fates["2"]
    deployed(model, 2)


@pytest.mark.parametrize("step", [preflight, deploy])
def test_fault_of_the_version_costs_it_the_alias(model: Model, step: Callable[..., object]):  # noqa: F811
    release = model.release(model.add())
    model.cluster.controllers.fates["2"] = crashes("it predicts nan")

    with pytest.raises(VersionFailed, match=r"version 2 was rolled back: .*it predicts nan.* Now version 1 serves and has the alias again"):
        step(release)

    assert model.answering == {"1"}
    assert (standing(NAME).production, standing(NAME).pending) == (1, False)
    assert version_info(NAME, 2).tags["rolled_back_to"] == "1"


@pytest.mark.parametrize("missing", ["registry", "gateway", "quota", "API server"])
def test_what_is_away_after_the_rollout_began_leaves_the_alias(
    model: Model,  # noqa: F811
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
):
    release = model.release(model.add())
    with monkeypatch.context() as patch:
        if missing == "gateway":
            model.cluster.gateway = True
            model.cluster.controllers.accepted = False
            patch.setattr(sharing, "PATIENCE", 0.2)
            patch.setenv("LAKELINE_SERVING_GATEWAY", "gateway/lakeline")
            get_settings.cache_clear()
        elif missing == "registry":

            def away(*_: object) -> None:
                raise RegistryError("MLflow is out of reach")

            patch.setattr(deployment, "_try", away)
        elif missing == "quota":
            model.cluster.controllers.quota = "exceeded quota: pods"
        else:
            patch.setattr(api, "_ATTEMPTS", 1)
            real = KubernetesSite.roll_out

            def refused(site: KubernetesSite, release: Release, serving: Serving) -> None:
                model.cluster.failures = [503] * 3
                real(site, release, serving)

            patch.setattr(KubernetesSite, "roll_out", refused)
        why = {"registry": "out of reach", "gateway": "has not taken the route", "quota": "exceeded quota", "API server": "with 503"}

        with pytest.raises(RolloutFailed, match=DUE.format(why[missing])):
            deploy(release)

    get_settings.cache_clear()
    model.cluster.gateway, model.cluster.failures, model.cluster.controllers.quota = False, [], ""
    model.cluster.controllers.accepted = True
    assert model.answering == {"1"}
    assert (standing(NAME).production, standing(NAME).pending) == (2, True)
    deployed(model, 2)


def test_first_version_that_finds_no_room_keeps_the_alias_and_nothing_comes_up_untried(model: Model):  # noqa: F811
    KubernetesSite().withdraw(NAME, "production")
    for tag in ("deployed_version", "deployed_at"):
        connect().delete_registered_model_tag(NAME, tag)
    model.cluster.controllers.room = 0
    release = resolve(NAME, 1).release

    with pytest.raises(RolloutFailed, match=r"Insufficient cpu.*\. Nothing serves; the alias stays at version 1"):
        deploy(release)

    assert model.cluster.named("deployments") == []
    assert standing(NAME).production == 1
    model.cluster.controllers.room = None
    deployed(model, 1)


def test_version_that_serves_goes_on_where_its_next_form_finds_no_room(model: Model, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    """A newer serving image is rolled out: the pods of the old one stay, and it is tried again."""
    before = model.cluster.named("pods")
    monkeypatch.setenv("LAKELINE_SERVING_IMAGE", "example.org/serving:patched")
    get_settings.cache_clear()
    model.cluster.controllers.room = 1
    release = resolve(NAME).release

    with pytest.raises(RolloutFailed, match=r"Insufficient cpu.*\. Version 1 serves; the alias stays at version 1"):
        deploy(release)

    assert model.cluster.named("pods") == before
    assert standing(NAME).pending
    model.cluster.controllers.room = None
    deployed(model, 1)


def test_who_is_refused_is_told_what_the_other_waits_for(model: Model):  # noqa: F811
    release = model.release(model.add())
    model.cluster.controllers.room = 1
    told: list[str] = []

    def ask(*_: object) -> None:
        if not told and "lakeline.dev/waits-for" in model.cluster.objects["leases", NAME]["metadata"].get("annotations", {}):
            with pytest.raises(DeploymentUnderWay) as refused:
                KubernetesSite().hold(NAME, "another").__enter__()
            told.append(str(refused.value))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KubernetesSite, "_check", ask)
        with pytest.raises(RolloutFailed):
            deploy(release)

    assert "It waits for room: pod ferries-production-" in told[0]
    events = [model.cluster.get("events", name) for name in model.cluster.named("events")]
    assert [event["reason"] for event in events].count("WaitsForRoom") == 1
    assert not model.cluster.get("leases", NAME)["metadata"].get("annotations")


class TestWayBackOnAFullNode:
    """A node with room for the version that serves and one pod more, which somebody else takes."""

    def test_failed_version_makes_room_for_the_one_that_served(self, model: Model, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
        """It has taken over, and is found to fail where callers reach it: nothing of version 1 is left, and nothing else has room."""
        release = model.release(model.add())
        room: ApiServer = model.cluster

        def fails(*_: object) -> None:
            room.controllers.room = 1
            raise VersionFailed("99 of 100 requests took up to 2,000 ms; allowed: 1,000 ms.")

        monkeypatch.setattr(deployment, "_try_in_place", fails)

        with pytest.raises(VersionFailed, match="Now version 1 serves and has the alias again"):
            deploy(release)

        assert model.answering == {"1"}
        rolling = room.get("deployments", f"{NAME}-production")["spec"]["strategy"]["rollingUpdate"]
        assert rolling["maxUnavailable"] == 0  # as for every other rollout
        assert not standing(NAME).pending

    def test_pods_that_still_serve_are_never_given_up(self, model: Model):  # noqa: F811
        """Two servers of version 1, one of them in the place of which version 2 came half-way before the room was gone."""
        deploy(model.release(model.add(replicas=2)))
        before = set(model.cluster.named("pods"))
        model.cluster.controllers.room = 3
        release = model.release(model.add(replicas=2))

        def second_finds_none(pod: dict) -> None:
            model.cluster.controllers.room = 2
            serves(pod)

        model.cluster.controllers.fates["3"] = second_finds_none
        lowest = len(before)
        real = KubernetesSite._check

        def looks(site: KubernetesSite, name: str) -> None:
            nonlocal lowest
            lowest = min(lowest, len(before & set(model.cluster.named("pods"))))
            real(site, name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(KubernetesSite, "_check", looks)
            with pytest.raises(RolloutFailed, match=r"Insufficient cpu.*\. Version 2 serves; the alias stays at version 3"):
                deploy(release)

        assert lowest >= 1
        assert len(before & set(model.cluster.named("pods"))) == lowest
        assert model.answering == {"2"}

    def test_pods_that_serve_are_reused_though_the_settings_have_changed_since(
        self,
        model: Model,  # noqa: F811
        monkeypatch: pytest.MonkeyPatch,
    ):
        before = model.cluster.named("pods")
        monkeypatch.setenv("LAKELINE_SERVING_IMAGE", "example.org/serving:broken")
        get_settings.cache_clear()
        model.cluster.controllers.fates["2"] = crashes("no such module")

        with pytest.raises(VersionFailed, match="Now version 1 serves and has the alias again"):
            deploy(model.release(model.add()))

        assert model.cluster.named("pods") == before

    def test_server_that_ended_once_and_serves_since_is_no_failure(self, model: Model):  # noqa: F811
        (pod,) = model.cluster.named("pods")

        def restarted(each: dict) -> None:
            serves(each)
            ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
            each["status"]["containerStatuses"] = [{"name": "server", "restartCount": 1, "state": {"running": {}}, "lastState": ended}]

        model.cluster.controllers.fates = {"1": restarted, "2": crashes("it predicts nan")}

        with pytest.raises(VersionFailed, match="Now version 1 serves and has the alias again"):
            deploy(model.release(model.add()))

        assert model.cluster.named("pods") == [pod]
