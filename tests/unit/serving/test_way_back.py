"""What a deployment goes back to: the version that was recorded to serve, as its own spec says, whatever has come between.

Registry and lake are real. The cluster is the double of an API server; its versions have no example, so nobody asks them anything.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakeline.errors import DeploymentUnderWay, RolloutFailed, UsageError, VersionFailed
from lakeline.lake import open_lake
from lakeline.registry import history, version_info
from lakeline.registry.deployed import standing
from lakeline.registry.moves import move_alias
from lakeline.registry.store import connect
from lakeline.serving.deployment import deploy, preflight, resolve
from lakeline.serving.release import Release
from lakeline.serving.rollout import site, wait
from lakeline.settings import get_settings
from tests.unit.registry.conftest import NAME, SPEC, empty_store, store  # noqa: F401  # pyright: ignore[reportUnusedImport]  (fixtures)
from tests.unit.serving.rollout.apiserver import ApiServer
from tests.unit.serving.rollout.conftest import cluster  # noqa: F401  # pyright: ignore[reportUnusedImport]  (a fixture)
from tests.unit.serving.rollout.controllers import crashes, starts

FAILS = crashes("no such table")


def put(version: int) -> None:
    """Move the aliases as a promotion does."""
    for alias, where in (("previous", standing(NAME).production), ("production", version)):
        move_alias(connect(), NAME, alias, where, f"version {version} is better")


class Killed(BaseException):
    """The step's process ends in the middle."""


class Model:
    """A model with versions to deploy, each from a commit with a spec of its own."""

    def __init__(self, cluster: ApiServer, folder: Path) -> None:  # noqa: F811
        from mlflow.models import Model as Card

        self.cluster, self.folder = cluster, folder
        Card().save(str(folder / "MLmodel"))
        self.lake = open_lake(NAME, create=True)
        connect().create_registered_model(NAME)

    def add(self, **serving: Any) -> int:
        """Register a version whose spec says how it is served."""
        spec = SPEC | {"serving": {"deadline": 10, "replicas": 1, "maximum_replicas": 2} | serving}
        files: dict[str, Path | bytes] = {"_lakeline/transform.sql": b"SELECT 1", "_lakeline/dataset.yaml": json.dumps(spec).encode()}
        commit = self.lake.commit("main", files, "spec")
        return int(connect().create_model_version(NAME, str(self.folder), tags={"data_commit": commit}).version)

    def release(self, version: int, run: str = "") -> Release:
        """Promote a version, and pin it as a run's first step does."""
        put(version)
        return resolve(NAME, version, run or f"run-{version}").release

    def kill(self, release: Release) -> None:
        """Deploy a release, and end while its pods start."""

        def ends(*_: Any) -> None:
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(site.wait, "rolled_out", ends)
            with pytest.raises(Killed):
                deploy(release)

    @property
    def answering(self) -> set[str]:
        """Versions of the pods that callers reach."""
        ends = self.cluster.get("endpointslices", f"{NAME}-production-slice")["endpoints"]
        return {self.cluster.get("pods", end["targetRef"]["name"])["metadata"]["labels"]["lakeline.dev/version"] for end in ends}


@pytest.fixture
def model(cluster: ApiServer, store: Path, tmp_path: Path) -> Iterator[Model]:  # noqa: F811
    """A model whose first version serves."""
    folder = tmp_path / "model"
    folder.mkdir()
    made = Model(cluster, folder)
    deploy(made.release(made.add()))
    yield made
    get_settings.cache_clear()


def test_way_back_is_the_version_that_was_recorded_not_one_that_was_left_half_way(model: Model):
    model.cluster.controllers.fates["2"] = starts
    model.kill(model.release(model.add()))
    assert standing(NAME).pending
    model.cluster.controllers.fates["3"] = FAILS

    with pytest.raises(VersionFailed, match=r"no such table.* Now version 1 serves and has the alias again"):
        deploy(model.release(model.add()))

    assert model.answering == {"1"}
    assert (standing(NAME).production, standing(NAME).pending) == (1, False)


def test_what_served_before_comes_back_as_its_own_spec_says(model: Model):
    before = model.cluster.get("deployments", f"{NAME}-production")["spec"]["template"]
    model.cluster.controllers.fates["2"] = FAILS

    with pytest.raises(RolloutFailed):
        deploy(model.release(model.add(cpu="10m", memory="64Mi")))

    assert model.cluster.get("deployments", f"{NAME}-production")["spec"]["template"] == before


def test_half_way_deployment_is_finished_when_its_alias_goes_back(model: Model):
    """Nothing has to be recorded for it: version 1 was deployed and has the alias, and yet it isn't what is rolled out."""
    model.kill(model.release(model.add()))
    put(1)
    assert standing(NAME).pending

    found = resolve(NAME, 1)
    assert found.status == "deploy"
    deploy(found.release)

    assert model.answering == {"1"}
    assert not standing(NAME).pending


def test_version_that_was_the_last_to_serve_keeps_the_alias_where_it_fails_its_tries(model: Model):
    """Version 2 came half-way and is `previous` now: it never served, and is nothing to go back to."""
    model.kill(model.release(model.add()))
    put(1)
    release = resolve(NAME, 1).release
    model.cluster.controllers.fates["1"] = FAILS

    for step, why in ((preflight, "Nothing was changed, and it keeps the alias"), (deploy, "there is no other to go back to")):
        with pytest.raises(RolloutFailed, match=f"version 1, which has served before, fails its tries.*{why}"):
            step(release)

    assert (standing(NAME).production, standing(NAME).pending) == (1, True)


def test_what_cannot_be_brought_back_is_said_and_stays_wanted(model: Model, monkeypatch: pytest.MonkeyPatch):
    def never(_: Any, release: Release, *__: Any) -> None:
        raise (VersionFailed if release.version > 1 else RolloutFailed)(f"no node has room for version {release.version}.")

    monkeypatch.setattr(wait, "rolled_out", never)

    with pytest.raises(RolloutFailed, match=r"Now version 1 is to serve again, but does not yet: no node has room for version 1"):
        deploy(model.release(model.add()))

    assert (standing(NAME).production, standing(NAME).pending) == (1, True)


def test_version_promoted_meanwhile_keeps_the_alias_and_the_failed_one_is_nobodys_way_back(model: Model):
    model.cluster.controllers.fates["2"] = FAILS
    release = model.release(model.add())
    third = model.add()
    real = site.wait.rolled_out

    def promoted(api: Any, wanted: Release, *rest: Any) -> None:
        if wanted.version == release.version:
            put(third)
        real(api, wanted, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.wait, "rolled_out", promoted)
        with pytest.raises(RolloutFailed, match=r"Now version 1 serves, and the alias has moved on to version 3"):
            deploy(release)

    assert (standing(NAME).production, standing(NAME).previous) == (3, 1)
    assert "rolled_back_why" in version_info(NAME, 2).tags


def test_two_runs_of_one_version_leave_it_the_alias(model: Model):
    release = model.release(model.add(), "run-a")
    other = resolve(NAME, 2, "run-b").release
    meanwhile: list[str] = []

    def second(*_: Any) -> str:
        with pytest.raises(DeploymentUnderWay, match="run-a"):
            preflight(other)
        meanwhile.extend(name for name in model.cluster.named("pods") if "-trial-" in name)
        return "http://127.0.0.1:8080"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.wait, "started", second)
        preflight(release)

    assert len(meanwhile) == 1
    assert standing(NAME).production == 2
    deploy(release)
    assert model.answering == {"2"}


def test_alias_that_moved_on_before_the_trial_is_left_alone(model: Model):
    release = model.release(model.add())
    put(1)
    moves = history(NAME)

    with pytest.raises(UsageError, match="has moved on from version 2"):
        preflight(release)

    assert history(NAME) == moves


@pytest.mark.parametrize("what", ["a newer image", "a Service that is gone", "a gateway"])
def test_what_serves_is_deployed_again_when_it_is_not_what_would_be_made_now(model: Model, what: str, monkeypatch: pytest.MonkeyPatch):
    assert resolve(NAME).status == "serving"
    if what == "a newer image":
        monkeypatch.setenv("LAKELINE_SERVING_IMAGE", "example.org/serving:patched")
    elif what == "a gateway":
        model.cluster.gateway = True
        monkeypatch.setenv("LAKELINE_SERVING_GATEWAY", "gateway/lakeline")
    else:
        site.KubernetesSite()._api.delete("Service", NAME)
    get_settings.cache_clear()

    found = resolve(NAME)
    assert found.status == "deploy"
    deploy(found.release)

    assert resolve(NAME).status == "serving"


def test_move_in_the_registrys_own_pages_gets_its_record_and_a_way_back(model: Model):
    client: Any = connect()
    second = model.add()
    deploy(model.release(second))
    third = model.add()
    client.set_registered_model_alias(NAME, "production", str(third))

    deploy(resolve(NAME).release)

    assert [(move.origin, move.target) for move in history(NAME) if move.alias == "production"] == [(None, 1), (1, 2), (2, 3)]
    assert standing(NAME).previous == second
