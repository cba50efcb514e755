"""Serving on this machine, with real servers and a real supervisor, and what befalls them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from lakeline.data.servingspec import Serving
from lakeline.errors import DeploymentUnderWay, RolloutFailed, ServingError
from lakeline.serving.local.folder import Folder
from lakeline.serving.local.processes import alive, send, wait
from lakeline.serving.local.site import LocalSite
from lakeline.serving.release import KEY_HEADER, VARIANT_HEADER, VERSION_HEADER, Route
from lakeline.settings import get_settings
from tests.ferries import BROKEN, NAME, ROWS, Ferries

pytestmark = pytest.mark.embedded

SERVING = Serving(deadline=120)
BODY = {"dataframe_split": ROWS.to_dict("split", index=False)}


def ask(url: str, **headers: str) -> httpx.Response:
    """Predictions of the rows whose predictions are known."""
    answer = httpx.post(
        f"{url}/invocations", json=BODY, headers={name.replace("_", "-"): text for name, text in headers.items()}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    return answer


def answers_as(answer: httpx.Response, ferries: Ferries, version: int) -> bool:
    """Whether a version answered, with its own predictions."""
    return answer.headers[VERSION_HEADER] == str(version) and answer.json()["predictions"] == pytest.approx(ferries.predictions[version])


def in_process(code: str) -> subprocess.Popen[str]:
    """Run code in a process of its own, and group, with `site` and `serving` at hand; it says a line when it is where it should be."""
    head = """
        import os, sys, time
        from lakeline.data.servingspec import Serving
        from lakeline.serving.local.site import LocalSite
        from lakeline.serving.release import Release
        site, serving = LocalSite(), Serving(deadline=120)
    """
    program = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_challenger_beside_production_gets_its_share_and_keys_stay(site: LocalSite, ferries: Ferries):
    assert site.serving(NAME) == {}
    with pytest.raises(ServingError, match=f"lakeline serve {NAME}"):
        site.url(NAME)
    site.roll_out(ferries.releases[1], SERVING)
    site.roll_out(replace(ferries.releases[2], variant="challenger"), SERVING)
    url, other = site.url(NAME), site.url(NAME, "challenger")

    assert url == f"http://127.0.0.1:{get_settings().serving_port}"
    assert other != url
    assert answers_as(ask(url), ferries, 1)
    assert answers_as(ask(other), ferries, 2)

    site.share(NAME, 0.5)
    route = site.serving(NAME)["production"].route

    assert route
    assert (route.weight, route.peer, route.unkeyed) == (0.5, other, True)
    with httpx.Client(timeout=30) as client:
        headers = [{}] * 60 + [{KEY_HEADER: f"order {number}"} for number in range(20)] * 2
        versions = [client.post(f"{url}/invocations", json=BODY, headers=each).headers[VERSION_HEADER] for each in headers]
    assert 10 < versions[:60].count("2") < 50
    assert versions[60:80] == versions[80:]
    assert set(versions[60:]) == {"1", "2"}
    assert answers_as(ask(url, **{VARIANT_HEADER: "challenger"}), ferries, 2)

    site.withdraw(NAME, "challenger")
    assert ask(url).status_code == 200  # the other one is gone, and nobody is left without an answer
    site.share(NAME, None)
    assert site.serving(NAME) == {"production": ferries.releases[1]}
    with pytest.raises(ServingError, match="no challenger"):
        site.share(NAME, 0.5)
    assert {ask(url).headers[VERSION_HEADER] for _ in range(20)} == {"1"}

    pid = site.status(NAME)["variants"]["production"]["servers"][0]["process"]
    site.roll_out(ferries.releases[1], SERVING)  # serves already
    assert site.status(NAME)["variants"]["production"]["servers"][0]["process"] == pid


def test_settled_is_what_rolling_out_would_not_change(site: LocalSite, ferries: Ferries, monkeypatch: pytest.MonkeyPatch):
    assert not site.settled(ferries.releases[1], SERVING)
    site.roll_out(ferries.releases[1], SERVING)

    assert site.settled(replace(ferries.releases[1], run="another", actor="bob"), SERVING)
    assert not site.settled(ferries.releases[2], SERVING)
    assert not site.settled(replace(ferries.releases[1], route=Route("test", 0.5, "http://127.0.0.1:1")), SERVING)
    assert not LocalSite(workers=2).settled(ferries.releases[1], SERVING)
    with monkeypatch.context() as patch:
        patch.setenv("LAKELINE_SERVING_TOKEN", "another")
        get_settings.cache_clear()
        assert not site.settled(ferries.releases[1], SERVING)
    get_settings.cache_clear()


def test_version_that_does_not_start_is_wanted_but_what_served_does(site: LocalSite, ferries: Ferries):
    site.roll_out(ferries.releases[1], SERVING)

    with pytest.raises(RolloutFailed, match=r"predicts .* when it was made"):
        site.roll_out(ferries.releases[BROKEN], SERVING)

    assert site.serving(NAME)["production"].version == BROKEN
    assert not site.settled(ferries.releases[BROKEN], SERVING)
    assert answers_as(ask(site.url(NAME)), ferries, 1)
    status = site.status(NAME)["variants"]["production"]
    assert "version 3 doesn't serve" in status["problem"]
    assert [server["version"] for server in status["servers"]] == [1]

    began = time.monotonic()
    site.roll_out(ferries.releases[1], SERVING)

    assert time.monotonic() - began < 2  # it never stopped
    assert site.serving(NAME)["production"].version == 1
    assert site.status(NAME)["variants"]["production"]["problem"] is None


def test_servers_outlive_the_process_group_that_started_them_and_a_supervisor_that_is_killed(site: LocalSite, ferries: Ferries, home: Path):
    release = ferries.releases[1]
    step = in_process(f"""
        site.roll_out({release!r}, serving)
        print("ready", flush=True)
        time.sleep(600)
    """)
    assert step.stdout
    assert step.stdout.readline() == "ready\n"
    os.killpg(step.pid, signal.SIGKILL)
    step.communicate()
    url = site.url(NAME)
    assert answers_as(ask(url), ferries, 1)

    state = Folder(NAME).read()
    orphan = state.arms["production"].servers[0].process
    assert state.supervisor
    send(state.supervisor, signal.SIGKILL)
    assert wait(state.supervisor, 10)
    assert site.status(NAME)["supervisor"] is None
    assert answers_as(ask(url), ferries, 1)  # nobody looks after it, but it goes on
    assert not site.settled(release, SERVING)

    with Caller(url) as caller:
        site.roll_out(ferries.releases[2], SERVING)
        time.sleep(0.3)
    assert caller.failed == []
    assert caller.versions >= {"1", "2"}
    assert not alive(orphan)
    assert site.url(NAME) == url
    assert answers_as(ask(url), ferries, 2)

    assert (home / "serving" / NAME).stat().st_mode & 0o777 == 0o700
    assert {path.name.partition("-")[0] for path in (home / "serving" / NAME / "versions").iterdir()} == {"1", "2"}


def test_trial_ends_with_whoever_made_it_and_leaves_traffic_alone(site: LocalSite, ferries: Ferries):
    with site.trial(ferries.releases[2], SERVING) as url:
        assert answers_as(ask(url), ferries, 2)
        assert site.serving(NAME) == {}
    with pytest.raises(httpx.ConnectError):
        ask(url)

    with pytest.raises(RolloutFailed, match=r"predicts .* when it was made"), site.trial(ferries.releases[BROKEN], SERVING):
        pytest.fail("it can't have got ready")

    killed = in_process(f"""
        with site.trial({ferries.releases[1]!r}, serving) as url:
            print("ready", flush=True)
            time.sleep(600)
    """)
    assert killed.stdout
    assert killed.stdout.readline() == "ready\n"
    (server,) = Folder(NAME).read().trials
    killed.kill()
    killed.communicate()

    assert wait(server, 10)
    assert not (get_settings().home / "predictions").exists()
    supervisor = Folder(NAME).read().supervisor
    assert supervisor
    assert wait(supervisor, 15)  # it has nothing to do any more


def test_only_one_changes_what_serves_a_model_at_a_time(site: LocalSite, home: Path):
    other = in_process("""
        with site.hold("ferries", "run-1"):
            print("ready", flush=True)
            time.sleep(600)
    """)
    assert other.stdout
    assert other.stdout.readline() == "ready\n"

    with pytest.raises(DeploymentUnderWay, match=rf"changed by run-1 \(process {other.pid}, since \d"), site.hold(NAME, "run-2"):
        pytest.fail("both hold it")
    with site.hold("another", "run-2"):
        pass
    other.kill()
    other.communicate()

    with site.hold(NAME, "run-2"), pytest.raises(DeploymentUnderWay, match="run-2"), site.hold(NAME, "run-2"):
        pytest.fail("both hold it")


class Caller:
    """Calls a server again and again, on connections of its own, until left."""

    def __init__(self, url: str) -> None:
        import threading

        self.failed: list[str] = []
        self.versions: set[str] = set()
        self._url = url
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def _call(self) -> None:
        while not self._left.is_set():
            try:
                self.versions.add(ask(self._url).headers[VERSION_HEADER])
            except (httpx.HTTPError, AssertionError) as error:
                self.failed.append(repr(error))

    def __enter__(self) -> "Caller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
