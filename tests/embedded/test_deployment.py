"""Deployments on this machine: what is good serves without a dropped request, what is bad never does, and says why."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lakeline.errors import DeploymentUnderWay, RolloutFailed, UsageError, VersionFailed
from lakeline.lake import open_lake
from lakeline.registry import history, promote_by_hand, version_info
from lakeline.registry.deployed import standing
from lakeline.registry.store import connect, quiet
from lakeline.serving.deployment import deploy, preflight, resolve
from lakeline.serving.local.folder import Folder
from lakeline.serving.local.processes import send, wait
from lakeline.serving.local.site import LocalSite
from lakeline.serving.release import VERSION_HEADER
from lakeline.settings import get_settings
from tests.ports import free_port
from tests.unit.registry.conftest import ARRIVALS, NAME, SPEC, World, _rows, empty_store  # noqa: F401  # pyright: ignore[reportUnusedImport]  (a fixture)

pytestmark = pytest.mark.embedded

ROW = {"dataframe_split": {"columns": ["route", "load"], "data": [["a", 3]]}}
SERVING = {"requests": 10, "p99": 400, "deadline": 60}

KINDS = {
    "predicts NaN": ("return [float('nan')] * len(rows)", "", r"NaN|nan|finite"),
    "crashes at load": ("return [1.0] * len(rows)", "raise RuntimeError('no such table')", r"no such table"),
    "too slow": (
        "import time; time.sleep(0.5); return [1.0] * len(rows)",
        "",
        r"99 of 100 requests took up to [0-9,]+ ms; allowed: 400 ms",
    ),
    "fails on every row": ("raise ValueError('unheard of')", "", r"unheard of|ValueError"),
}


@dataclass
class Served:
    """A model whose first version serves, and ways to bring worse ones."""

    world: World
    folder: Path
    good: int

    def bring(self, predict: str, load: str = "", extra: bool = False, name: str = NAME) -> int:
        """Register a version made of Python code, and put it into production as somebody in MLflow's UI does."""
        import mlflow
        import numpy as np
        import pandas as pd
        from mlflow.models import infer_signature

        columns: dict[str, list[Any]] = {"route": ["a", "b"], "load": [1.0, 2.0]} | ({"tide": [0.5, 0.6]} if extra else {})
        example = pd.DataFrame(columns)
        path = self.folder / f"made-{time.time_ns()}"
        code = self.folder / f"model_{time.time_ns()}.py"
        code.write_text(
            textwrap.dedent(f"""
            import mlflow
            class Made(mlflow.pyfunc.PythonModel):
                calls = 0
                def load_context(self, context):
                    {load or "pass"}
                def predict(self, context, rows, params=None):
                    {predict}
            mlflow.models.set_model(Made())
            """)
        )
        quiet()
        signature = infer_signature(example, np.array([1.0, 2.0]))
        mlflow.pyfunc.save_model(str(path), python_model=str(code), signature=signature, input_example=example, pip_requirements=[])
        client = connect()
        if name != NAME and not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        version = int(client.create_model_version(name, str(path), tags={"data_commit": self.world.commit} if name == NAME else {}).version)
        client.set_registered_model_alias(name, "production", str(version))
        return version

    def versions_seen(self) -> Counter[Any]:
        """Versions that answer now."""
        url = LocalSite().url(NAME)
        return Counter(httpx.post(f"{url}/invocations", json=ROW, trust_env=False).headers.get(VERSION_HEADER) for _ in range(5))


@pytest.fixture(scope="module")
def served(shared_home: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:  # noqa: F811
    import shutil

    folder = tmp_path_factory.mktemp("made")
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKELINE_HOME", str(shared_home))
        patch.setenv("LAKELINE_SERVING_PORT", str(port))
        get_settings.cache_clear()
        shutil.copy(empty_store, shared_home / "mlflow.db")
        lake = open_lake(NAME, create=True)
        files: dict[str, Path | bytes] = {"_lakeline/transform.sql": b"SELECT * FROM raw"}
        files["_lakeline/dataset.yaml"] = json.dumps(SPEC | {"serving": SERVING}).encode()
        for seed, arrival in enumerate(ARRIVALS):
            _rows(seed).to_parquet(folder / f"{arrival}.parquet", index=False)
            files[f"clean/{arrival}.parquet"] = folder / f"{arrival}.parquet"
        world = World(lake, folder, lake.commit("main", files, "two arrivals"))
        good = world.train().version
        promote_by_hand(NAME, good, "the first")
        release = resolve(NAME, good, "run-1").release
        preflight(release)
        deploy(release)
        try:
            yield Served(world, folder, good)
        finally:
            LocalSite().stop(NAME)
            get_settings.cache_clear()


@pytest.fixture
def here(served: Served, at_home: Path) -> Served:
    """What serves, seen from this test; the good version has the alias at its beginning."""
    connect().set_registered_model_alias(NAME, "production", str(served.good))
    return served


@pytest.fixture
def load(here: Served) -> Iterator[Callable[[], Counter[Any]]]:
    """Callers who don't stop calling; gives what they were answered: status and version."""
    url, seen, stop = LocalSite().url(NAME), Counter[Any](), threading.Event()

    def call() -> None:
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            while not stop.is_set():
                answer = client.post("/invocations", json=ROW)
                seen[answer.status_code, answer.headers.get(VERSION_HEADER)] += 1

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()

    def ended() -> Counter[Any]:
        stop.set()
        for caller in callers:
            caller.join()
        return seen

    yield ended
    ended()


@pytest.mark.parametrize("kind", KINDS)
def test_bad_version_never_serves_and_loses_the_alias(here: Served, load: Callable[[], Counter[Any]], kind: str):
    predict, at_load, reason = KINDS[kind]
    bad = here.bring(predict, at_load)
    release = resolve(NAME, bad, "run-2").release

    with pytest.raises(VersionFailed, match=reason) as told:
        preflight(release)

    assert f"version {here.good} serves and has the alias again" in str(told.value)
    assert standing(NAME).production == here.good
    tags = version_info(NAME, bad).tags
    assert tags["rolled_back_to"] == str(here.good)
    assert tags["rolled_back_why"] in str(told.value)
    assert set(load()) == {(200, str(here.good))}


def test_version_that_would_refuse_todays_callers_never_serves(here: Served):
    bad = here.bring("return [1.0] * len(rows)", extra=True)

    with pytest.raises(RolloutFailed, match=rf"callers of version {here.good} would not be served: .*tide"):
        preflight(resolve(NAME, bad).release)

    assert standing(NAME).production == here.good


def test_version_that_gets_slow_where_callers_reach_it_is_rolled_back(here: Served, load: Callable[[], Counter[Any]]):
    flag = here.folder / f"slow-{time.time_ns()}"
    bad = here.bring(
        f"import os, time; self.calls += 1; time.sleep(0.6 * (self.calls > 2 and os.path.exists({str(flag)!r}))); return [1.0] * len(rows)"
    )
    release = resolve(NAME, bad).release
    preflight(release)
    flag.touch()

    with pytest.raises(RolloutFailed, match="99 of 100 requests took up to"):
        deploy(release)

    assert here.versions_seen() == {str(here.good): 5}
    assert standing(NAME).production == here.good
    assert history(NAME)[-1].why.startswith(f"version {bad} was rolled back: 99 of 100")
    assert {status for status, _ in load()} == {200}


def test_version_that_crashes_when_it_is_rolled_out_leaves_the_other_serving(here: Served, load: Callable[[], Counter[Any]]):
    flag = here.folder / f"crash-{time.time_ns()}"
    bad = here.bring("return [1.0] * len(rows)", f"import os; assert not os.path.exists({str(flag)!r}), 'out of luck'")
    release = resolve(NAME, bad).release
    preflight(release)
    flag.touch()

    with pytest.raises(RolloutFailed, match="out of luck"):
        deploy(release)

    assert standing(NAME).production == here.good
    assert set(load()) == {(200, str(here.good))}


def test_deployment_killed_half_way_converges_when_run_again(here: Served):
    other = here.bring("import time; return [1.0] * len(rows)", "import time; time.sleep(1)")
    release = resolve(NAME, other).release
    code = (
        "from lakeline.serving.deployment import deploy; from lakeline.serving.release import Release; "
        f"deploy(Release.from_json({release.to_json()!r}))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], env=os.environ, start_new_session=True)
    deadline = time.monotonic() + 60
    while LocalSite().serving(NAME)["production"].version != other and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()

    deploy(release)

    assert here.versions_seen() == {str(other): 5}
    assert standing(NAME).deployed == other
    promote_by_hand(NAME, here.good, "back")
    deploy(resolve(NAME, here.good).release)


def test_two_deployments_at_once_are_told_apart(here: Served):
    release = resolve(NAME, here.good, "run-9").release
    with LocalSite().hold(NAME, "run-8"), pytest.raises(DeploymentUnderWay, match="run-8"):
        deploy(release)


def test_what_serves_already_is_left_alone(here: Served):
    assert resolve(NAME).status == "serving"


def test_alias_that_has_moved_on_is_not_deployed(here: Served):
    with pytest.raises(UsageError, match=rf"stands at version {here.good}, not 99"):
        resolve(NAME, 99)


def _kill_all(model: str) -> None:
    """End a model's supervisor and servers without a word, as a machine that goes down does."""
    state = Folder(model).read()
    assert state.supervisor
    for process in (state.supervisor, *(server.process for arm in state.arms.values() for server in arm.servers)):
        send(process, signal.SIGKILL)
        assert wait(process, 10)


def test_taken_port_leaves_the_alias_at_first_and_between_two_swaps_and_the_port_that_is_advised_will_do(
    here: Served, monkeypatch: pytest.MonkeyPatch
):
    version = here.bring("return [1.0] * len(rows)", name="tugs")
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("LAKELINE_SERVING_PORT", str(other.getsockname()[1]))
        get_settings.cache_clear()
        release = resolve("tugs").release
        preflight(release)

        with pytest.raises(
            RolloutFailed, match=r"port \d+ of this machine is in use.* Nothing serves; the alias stays at version"
        ) as taken:
            deploy(release)

        assert not isinstance(taken.value, VersionFailed)
        assert (standing("tugs").production, standing("tugs").pending) == (version, True)
        assert "rolled_back_why" not in version_info("tugs", version).tags
        advised = str(taken.value).partition("LAKELINE_SERVING_PORT=")[2].split()[0]
        monkeypatch.setenv("LAKELINE_SERVING_PORT", advised)
        get_settings.cache_clear()
        deploy(resolve("tugs").release)
    assert LocalSite().url("tugs").endswith(f":{advised}")
    try:
        _kill_all("tugs")
        second = here.bring("return [2.0] * len(rows)", name="tugs")
        with socket.create_server(("127.0.0.1", int(advised))):
            with pytest.raises(
                RolloutFailed, match=rf"Version {version} is to serve again, but does not yet: .*port {advised} .* is in use"
            ):
                deploy(resolve("tugs").release)
            assert (standing("tugs").production, standing("tugs").pending) == (second, True)
        deploy(resolve("tugs").release)
        assert LocalSite().url("tugs").endswith(f":{advised}")
    finally:
        LocalSite().stop("tugs")
    assert not standing("tugs").pending


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_full_disk_fails_the_deployment_and_what_serves_goes_on(here: Served, load: Callable[[], Counter[Any]]):
    version = here.bring("return [1.0] * len(rows)")
    folder = Folder(NAME)
    before = sorted(folder.versions.iterdir())
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder.versions], check=True)
    try:
        with pytest.raises(RolloutFailed, match=r"No space left|disk is full") as full:
            preflight(resolve(NAME, version).release)
    finally:
        subprocess.run(["umount", folder.versions], check=True)

    assert not isinstance(full.value, VersionFailed)
    assert (standing(NAME).production, standing(NAME).pending) == (version, True)
    preflight(resolve(NAME, version).release)
    assert set(load()) == {(200, str(here.good))}
    assert set(before) <= set(folder.versions.iterdir())


def test_first_version_that_fails_leaves_nothing_serving_and_no_alias(here: Served):
    here.bring("return [float('nan')] * len(rows)", name="barges")

    with pytest.raises(RolloutFailed, match="Now nothing serves"):
        preflight(resolve("barges").release)

    assert standing("barges").production is None
    assert LocalSite().serving("barges") == {}
