"""One at a time changes what serves a model; who has died is followed after a minute."""

import threading
from datetime import timedelta

import pytest

from lakeline.errors import DeploymentUnderWay
from lakeline.serving.rollout import lease
from lakeline.serving.rollout.site import KubernetesSite
from tests.unit.serving.rollout.apiserver import ApiServer


def test_second_holder_is_told_of_the_first(cluster: ApiServer, site: KubernetesSite):
    with site.hold("prices", "run-1"):
        with pytest.raises(DeploymentUnderWay, match=r"prices: run-1 has been changing what serves it since .* UTC"):
            KubernetesSite().hold("prices", "run-2").__enter__()
        with KubernetesSite().hold("weather", "run-2"):
            pass

    with KubernetesSite().hold("prices", "run-2"):
        assert cluster.get("leases", "prices")["spec"]["holderIdentity"] == "run-2"
    assert cluster.get("leases", "prices")["spec"]["holderIdentity"] == ""


def test_same_holder_comes_back_after_a_crash(cluster: ApiServer, site: KubernetesSite):
    lease.Lease(site._api, "prices", "run-1").acquire()  # and is never heard of again

    with site.hold("prices", "run-1"):
        assert cluster.get("leases", "prices")["spec"]["leaseTransitions"] == 0


def test_holder_that_gives_no_sign_of_life_is_followed(cluster: ApiServer, site: KubernetesSite):
    lease.Lease(site._api, "prices", "run-1").acquire()
    cluster.ahead = timedelta(seconds=lease.DURATION - 5)
    with pytest.raises(DeploymentUnderWay, match=r"last sign of life 5[0-9] s ago"):
        site.hold("prices", "run-2").__enter__()

    cluster.ahead = timedelta(seconds=lease.DURATION + 5)

    with site.hold("prices", "run-2"):
        assert cluster.get("leases", "prices")["spec"]["leaseTransitions"] == 1


def test_clock_of_the_holder_does_not_matter(cluster: ApiServer):
    """Both go by the API server's, an hour away from ours."""
    cluster.ahead = timedelta(hours=1)
    first, second = KubernetesSite(), KubernetesSite()

    with first.hold("prices", "run-1"), pytest.raises(DeploymentUnderWay):
        second.hold("prices", "run-2").__enter__()


def test_holder_gives_signs_of_life(cluster: ApiServer, site: KubernetesSite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "EVERY", 0.02)
    with site.hold("prices", "run-1"):
        before = cluster.get("leases", "prices")["spec"]["renewTime"]
        cluster.ahead = timedelta(seconds=300)
        for _ in range(200):
            if cluster.get("leases", "prices")["spec"]["renewTime"] != before:
                break
            threading.Event().wait(0.02)
        with pytest.raises(DeploymentUnderWay):
            KubernetesSite().hold("prices", "run-2").__enter__()


def test_who_was_followed_changes_nothing_more(cluster: ApiServer, site: KubernetesSite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "EVERY", 0.02)
    with site.hold("prices", "run-1"):
        with cluster.lock:
            taken = cluster.get("leases", "prices")
            taken["spec"]["holderIdentity"] = "run-2"
            cluster.keep("leases", taken)
        for _ in range(200):
            if site._leases["prices"]._taken:
                break
            threading.Event().wait(0.02)
        with pytest.raises(DeploymentUnderWay, match="run-2 has taken it over"):
            site.withdraw("prices", "production")

    assert cluster.get("leases", "prices")["spec"]["holderIdentity"] == "run-2"


def test_of_many_at_once_one_gets_it(cluster: ApiServer):
    sites = [KubernetesSite() for _ in range(8)]
    together, over = threading.Barrier(8), threading.Barrier(8)
    got: list[int] = []

    def take(number: int) -> None:
        together.wait()
        try:
            with sites[number].hold("prices", f"run-{number}"):
                got.append(number)
                over.wait()
        except DeploymentUnderWay:
            over.wait()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(got) == 1
