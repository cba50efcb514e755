"""A run that is killed at any write is finished by the next one, whatever its id: one version a model, its verdict, its way back."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pytest

from lakeline.lake.git import GitLake
from lakeline.liveness import alive
from lakeline.registry import evaluation_of, history, models, promote, record_end, roll_back, version_info
from lakeline.registry.registration import register
from lakeline.registry.unfinished import ABANDONED
from lakeline.settings import get_settings

from .conftest import NAME, World

GOOD, POOR = 0, 1
WRITES = ("create_", "set_", "log_", "delete_", "finalize_", "update_", "restore_")


class Killed(BaseException):
    """What stands for a kill: nothing in the code under test catches it."""


@contextlib.contextmanager
def killed_at(number: int) -> Generator[list[str]]:
    """End the run at its n-th write to MLflow or to the lake's tags; tells which writes there were."""
    made: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **kwargs: Any) -> Any:
            made.append(f"{name} {args[1:4]}"[:200])
            if len(made) == number:
                raise Killed
            return real(*args, **kwargs)

        return write

    with pytest.MonkeyPatch.context() as patch:
        for name in dir(mlflow.MlflowClient):
            if name.startswith(WRITES):
                patch.setattr(mlflow.MlflowClient, name, counted(name, getattr(mlflow.MlflowClient, name)))
        patch.setattr(GitLake, "tag", counted("tag", GitLake.tag))
        yield made


class Story:
    """Version 1 serves; a better one is to take its place, in a run that is killed and one that comes after it."""

    def __init__(self, world: World, home: Path, spare: Path) -> None:
        self.world, self.home, self.spare = world, home, spare
        world.push(gates={})
        world.run(POOR)
        world.push(gates={"improvement": 0})
        world.fit(GOOD)
        self.keep("begun")

    def keep(self, name: str) -> None:
        """Keep a copy of all state under a name."""
        shutil.rmtree(self.spare / name, ignore_errors=True)
        shutil.copytree(self.home, self.spare / name)

    def bring_back(self, name: str) -> None:
        """Bring back what was kept, where it was."""
        for path in self.home.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        database = "mlflow.db"  # which MLflow holds open
        shutil.copytree(self.spare / name, self.home, dirs_exist_ok=True, ignore=shutil.ignore_patterns(database))
        with closing(sqlite3.connect(self.spare / name / database)) as kept, closing(sqlite3.connect(self.home / database)) as used:
            kept.backup(used)

    def register(self, run_id: str) -> int:
        """Evaluate against what is in production now, and register."""
        from lakeline.training.evaluate import evaluate

        (get_settings().runs / run_id).mkdir(parents=True, exist_ok=True)  # of a run of this machine, without a lock: it is gone
        last = self.world.last
        holdout = last["model"].parent / "holdout.parquet"
        last |= {"run_id": run_id, "evaluation": evaluate(NAME, self.world.commit, last["model"], holdout).to_dict()}
        return register(NAME, self.world.commit, **last).version

    def promote(self, version: int) -> str:
        """Promote as the step does."""
        return promote(NAME, version, evaluation_of(NAME, version, self.world.last["evaluation"])).verdict

    def next_run(self, run_id: str = "training-next") -> str:
        """Do the same work again as another run, to its end."""
        verdict = self.promote(self.register(run_id))
        record_end(NAME, run_id, "training", "SUCCEEDED")
        return verdict

    def check(self, where: str) -> None:
        """Version 2 serves, for reasons that are told; version 1 is the way back; nothing is open."""
        assert [info.version for info in models(NAME)] == [1, 2], where
        assert self.world.aliases() == {"staging": 2, "production": 2, "previous": 1}, where
        new = version_info(NAME, 2)
        assert (new.verdict, new.tags["promoted_over"], self.world.tags(1)["replaced_by"]) == ("promoted", "1", "2"), where
        assert "better than production's" in new.reasons[0], where
        assert self.world.lake.tags()["model/2"] == self.world.commit, where
        client = self.world.client
        experiment = client.get_experiment_by_name(NAME).experiment_id
        assert [run.info.run_name for run in client.search_runs([experiment], "attributes.status = 'RUNNING'")] == [], where
        assert client.get_run(new.run_id).info.status == "FINISHED", where
        assert [model.model_id for model in client.search_logged_models([experiment], "status = 'PENDING'")] == [], where
        assert [(move.origin, move.target) for move in history(NAME) if move.alias == "production"] == [(None, 1), (1, 2)], where
        assert roll_back(NAME, "complaints") == 1, where


@pytest.fixture
def story(world: World, home: Path, tmp_path: Path) -> Story:
    return Story(world, home, tmp_path / "kept")


def killed_at_each(story: Story, kept: str, act: Callable[[], Any], names: Sequence[str]) -> None:
    """Kill what is done at each write of such a name, do the work again, and check what there is then."""
    story.bring_back(kept)
    with killed_at(1_000_000) as made:
        act()
    chosen = [number for number, write in enumerate(made, start=1) if write.startswith(tuple(names))]
    assert len(chosen) >= len(names)
    for number in chosen:
        story.bring_back(kept)
        with killed_at(number), pytest.raises(Killed):
            act()
        where = f"killed at write {number}: {made[number - 1]}"
        production = story.world.aliases()["production"]
        assert production == 1 or version_info(NAME, production).verdict == "promoted", where
        assert story.next_run() == "promoted", where
        story.check(where)


EVERY = pytest.param([""], marks=pytest.mark.nightly, id="every write")


@pytest.mark.parametrize("names", [["set_registered_model_alias", "set_terminated", "tag"], EVERY])
def test_run_that_was_killed_while_it_promoted_is_finished_by_the_next(story: Story, names: list[str]):
    version = story.register("training-killed")
    story.keep("registered")

    killed_at_each(story, "registered", lambda: story.promote(version), names)


@pytest.mark.parametrize("names", [["log_model_artifacts", "create_model_version", "set_registered_model_alias"], EVERY])
def test_run_that_was_killed_while_it_registered_leaves_nothing_twice(story: Story, names: list[str]):
    killed_at_each(story, "begun", lambda: story.register("training-killed"), names)


def test_run_that_was_killed_as_those_of_before_could_be_is_finished_with_its_way_back(story: Story):
    """They moved the alias first, and recorded the verdict after that."""
    version = story.register("training-killed")
    story.world.client.set_registered_model_alias(NAME, "previous", "1")
    story.world.client.set_registered_model_alias(NAME, "production", str(version))

    assert story.next_run() == "promoted"

    assert story.world.aliases() == {"staging": 2, "production": 2, "previous": 1}
    assert version_info(NAME, 2).tags["promoted_over"] == "1"
    assert [info.version for info in models(NAME)] == [1, 2]


def test_taken_over_version_says_who_began_it(story: Story):
    story.register("training-killed")

    story.next_run()

    info = version_info(NAME, 2)
    assert (info.lineage["pipeline_run"], info.tags["begun_by"]) == ("training-next", "training-killed")


def test_run_after_a_finished_one_makes_a_version_of_its_own(story: Story):
    story.next_run("training-first")

    story.next_run("training-second")

    assert [info.version for info in models(NAME)] == [1, 2, 3]
    assert story.world.aliases() == {"staging": 3, "production": 3, "previous": 2}


def test_promotion_that_a_person_has_taken_back_is_not_made_again(story: Story):
    version = story.register("training-killed")
    with killed_at(10_000) as made:
        story.promote(version)
    story.bring_back("begun")
    story.register("training-killed")
    with killed_at(len(made)), contextlib.suppress(Killed):  # at its last write, the tag of the commit
        story.promote(version)
    roll_back(NAME, "complaints")

    assert story.next_run() == "promoted", "that is what the gates said"

    assert story.world.aliases()["production"] == 1
    assert story.world.lake.tags()["model/2"] == story.world.commit


def test_version_that_nobody_will_judge_is_abandoned_until_its_commit_is_trained_again(story: Story):
    version = story.register("training-killed")
    candidate_run = version_info(NAME, version).run_id

    record_end(NAME, "data-1", "data", "SUCCEEDED")

    info = version_info(NAME, version)
    assert info.verdict == ABANDONED
    assert info.reasons == [
        "run training-killed was killed before the gates had judged it. The next run of the same commit goes on with it."
    ]
    ended = story.world.client.get_run(candidate_run)
    assert (ended.info.status, ended.data.tags["error"]) == ("KILLED", info.reasons[0])
    assert "model/2" not in story.world.lake.tags(), "the delivery is due still"

    assert story.next_run() == "promoted"
    story.check("after it was abandoned")


def test_way_back_that_was_moved_ahead_of_a_promotion_is_brought_back(story: Story):
    version = story.register("training-killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", _only_previous(mlflow.MlflowClient.set_registered_model_alias))
        with pytest.raises(Killed):
            story.promote(version)
    assert story.world.aliases() == {"staging": 2, "production": 1, "previous": 1}
    assert version_info(NAME, version).verdict == "promoted"

    record_end(NAME, "data-1", "data", "SUCCEEDED")

    assert story.world.aliases() == {"staging": 2, "production": 1}
    assert version_info(NAME, version).verdict == ABANDONED


def _only_previous(real: Callable[..., None]) -> Callable[..., None]:
    def move(client: Any, name: str, alias: str, version: str) -> None:
        if alias == "production":
            raise Killed
        real(client, name, alias, version)

    return move


def test_what_a_run_is_at_work_on_is_left_alone(story: Story):
    version = story.register("training-alive")
    with alive(get_settings().runs / "training-alive"):
        record_end(NAME, "data-1", "data", "SUCCEEDED")
        assert version_info(NAME, version).verdict is None
        assert story.world.client.get_run(version_info(NAME, version).run_id).info.status == "RUNNING"

    record_end(NAME, "data-2", "data", "SUCCEEDED")
    assert version_info(NAME, version).verdict == ABANDONED


def test_of_a_run_elsewhere_only_its_age_is_known(story: Story):
    version = story.register("of-another-machine")
    shutil.rmtree(get_settings().runs / "of-another-machine")

    record_end(NAME, "data-1", "data", "SUCCEEDED")

    assert version_info(NAME, version).verdict is None


def test_run_that_somebody_has_thrown_away_is_left_in_the_trash_until_its_version_is_taken_over(story: Story):
    version = story.register("training-killed")
    client, run = story.world.client, version_info(NAME, version).run_id
    client.delete_run(run)

    record_end(NAME, "data-1", "data", "SUCCEEDED")
    assert client.get_run(run).info.lifecycle_stage == "deleted"

    assert story.next_run() == "promoted"
    story.check("after its run was in the trash")


def test_two_versions_that_were_made_at_once_become_one(story: Story, monkeypatch: pytest.MonkeyPatch):
    """As when a server's answer that it has made a version is lost, and it is asked again."""
    real = mlflow.MlflowClient.create_model_version

    def twice(*args: Any, **kwargs: Any) -> Any:
        real(*args, **kwargs)
        return real(*args, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", twice)

    assert story.next_run() == "promoted"

    story.check("made twice")
