"""A release is tried in a pod of its own, which no caller reaches."""

from collections.abc import Callable

import pytest

from lakeline.errors import RolloutFailed
from lakeline.serving.release import Release, Route
from lakeline.serving.rollout.site import KubernetesSite
from tests.unit.serving.rollout.apiserver import ApiServer
from tests.unit.serving.rollout.conftest import SERVING
from tests.unit.serving.rollout.controllers import crashes, starts
from tests.unit.serving.rollout.test_site import versions

Releases = Callable[..., Release]


def test_trial_is_apart_from_all_traffic(cluster: ApiServer, site: KubernetesSite, release: Releases):
    site.roll_out(release(1), SERVING)
    route = Route("test", 0.5, "http://prices-challenger:8080")

    with site.trial(release(2, route=route), SERVING) as url:
        assert url == "http://127.0.0.1:8080"
        (name,) = [pod for pod in cluster.named("pods") if "trial" in pod]
        pod = cluster.get("pods", name)
        variables = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
        assert pod["spec"]["restartPolicy"] == "Never"
        assert variables["LAKELINE_SERVE_PREDICTIONS"] == ""
        assert "LAKELINE_SERVE_PEER" not in variables
        assert versions(cluster) == ["1", "1"]

    assert [pod for pod in cluster.named("pods") if "trial" in pod] == []


def test_trial_that_fails_says_why_and_leaves_nothing(cluster: ApiServer, site: KubernetesSite, release: Releases):
    cluster.controllers.fates["2"] = crashes("it predicts nan")

    with (
        pytest.raises(RolloutFailed, match=r"pod prices-trial-.*: server ended with exit code 1: it predicts nan"),
        site.trial(release(2), SERVING),
    ):
        pytest.fail("it was ready")

    assert cluster.named("pods") == []


def test_trial_that_is_never_ready_is_not_waited_for_beyond_its_deadline(cluster: ApiServer, site: KubernetesSite, release: Releases):
    cluster.controllers.fates["2"] = starts

    with (
        pytest.raises(RolloutFailed, match=r"not ready after 1 s \(0 of 1 pods are\)"),
        site.trial(release(2), SERVING.model_copy(update={"deadline": 1})),
    ):
        pytest.fail("it was ready")


def test_trial_is_apart_from_a_test_without_a_gateway_too(cluster: ApiServer, site: KubernetesSite, release: Releases):
    """The model's Service leads to both variants then, by labels that a trial's pod has as well."""
    site.roll_out(release(1), SERVING)
    site.roll_out(release(2, variant="challenger"), SERVING)
    site.share("prices", 0.5)

    with site.trial(release(3), SERVING):
        ends = cluster.get("endpointslices", "prices-slice")["endpoints"]
        called = {cluster.get("pods", end["targetRef"]["name"])["metadata"]["labels"]["lakeline.dev/version"] for end in ends}

    assert called == {"1", "2"}
