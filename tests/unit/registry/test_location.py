"""State may move: artifacts are where their store is, also after its folder was moved or copied."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lakeline.errors import RegistryError
from lakeline.registry.location import artifact_root, follow, missing
from lakeline.registry.store import connect, experiment_id
from lakeline.settings import get_settings
from pipelines.diagnose import diagnose
from tests.unit.registry.conftest import World


def locations(store: Path) -> list[str]:
    """Every artifact location that a store has."""
    query = """
        SELECT artifact_location FROM experiments UNION ALL SELECT artifact_uri FROM runs
        UNION ALL SELECT artifact_location FROM logged_models UNION ALL SELECT storage_location FROM model_versions
    """
    with closing(sqlite3.connect(store)) as database:
        return [str(location) for (location,) in database.execute(query)]


def live_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have LAKELINE_HOME name another folder; its store."""
    monkeypatch.setenv("LAKELINE_HOME", str(home))
    get_settings.cache_clear()
    return home / "mlflow.db"


@pytest.fixture
def old(store: Path, home: Path) -> Path:
    """A home with a version, its files and its run."""
    client = connect()
    experiment = experiment_id(client, "ferries")
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "hello", "a.txt")
    model = client.create_logged_model(experiment, "model", run)
    (home / "model").mkdir()
    (home / "model" / "MLmodel").write_text("a model")
    client.log_model_artifacts(model.model_id, str(home / "model"))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model("ferries")
    client.create_model_version("ferries", f"models:/{model.model_id}", run, model_id=model.model_id)
    assert missing(store) == []
    return home


def test_moved_home_promotes_and_writes_where_it_is_now(
    world: World, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    world.push(gates={})
    assert world.run(trial=1).verdict == "promoted"
    new = tmp_path / "moved" / "home"
    new.parent.mkdir()
    home.rename(new)
    store = live_in(new, monkeypatch)

    better = world.run(trial=0)

    assert better.verdict == "promoted", better.reasons
    assert better.previous == 1, "the version in production was scored, not passed over"
    assert {Path(location).is_relative_to(new / "mlartifacts") for location in locations(store)} == {True}
    assert missing(store) == []
    assert not home.exists(), "nothing is written to the old place"
    assert f"was moved or copied from {home}" in capsys.readouterr().err
    assert [finding.said for finding in diagnose() if finding.state != "good" and finding.what == "MLflow"] == []


def test_doctor_brings_what_runs_wrote_to_the_old_place_since_the_move(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    new = Path(shutil.copytree(old, tmp_path / "moved"))
    (stray,) = (path for path in (new / "mlartifacts" / "ferries" / "models").iterdir())
    shutil.rmtree(stray)
    store = live_in(new, monkeypatch)

    said = {finding.state: finding.said for finding in diagnose() if finding.what == "MLflow"}

    assert said["note"].endswith("1 that runs had written to the old place since were copied")
    assert "fails" not in said
    assert missing(store) == []
    shutil.rmtree(old)
    assert (stray / "artifacts" / "MLmodel").is_file()


def test_copied_home_and_its_original_each_write_to_their_own(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = Path(shutil.copytree(old, tmp_path / "copy"))
    before = locations(old / "mlflow.db")
    kept = sorted(old.rglob("mlartifacts/**/*"))
    live_in(copy, monkeypatch)

    client = connect()
    run = client.create_run(experiment_id(client, "ferries")).info
    client.log_text(run.run_id, "hello", "b.txt")

    assert [path.read_text() for path in (copy / "mlartifacts").rglob("b.txt")] == ["hello"]
    assert locations(old / "mlflow.db") == before
    assert sorted(old.rglob("mlartifacts/**/*")) == kept


def test_what_cannot_be_brought_along_changes_nothing(old: Path, tmp_path: Path):
    new = Path(shutil.copytree(old, tmp_path / "moved"))
    shutil.rmtree(new / "mlartifacts" / "ferries")
    (new / "mlartifacts" / "ferries").write_text("in the way")
    before = locations(new / "mlflow.db")

    with pytest.raises(RegistryError, match=r"was moved here from .* can't be rewritten: .* Nothing was changed"):
        follow(new / "mlflow.db")

    assert locations(new / "mlflow.db") == before
    (new / "mlartifacts" / "ferries").unlink()
    assert follow(new / "mlflow.db") is not None
    assert missing(new / "mlflow.db") == []


def test_artifacts_on_a_disk_that_is_not_there_are_not_looked_for_elsewhere(old: Path, tmp_path: Path):
    store = Path(shutil.copy(old / "mlflow.db", tmp_path / "mlflow.db"))
    old.rename(tmp_path / "away")

    assert follow(store) is None
    assert missing(store) == ["ferries 1"]


def test_folder_of_two_names_is_left_alone(old: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mlartifacts").symlink_to(old / "mlartifacts")
    store = Path(shutil.copy(old / "mlflow.db", tmp_path / "other" / "mlflow.db"))

    assert follow(store) is None


def test_locations_of_others_are_not_touched(store: Path, tmp_path: Path):
    client = connect()
    theirs = client.create_experiment("theirs", str(tmp_path / "elsewhere" / "mlartifacts" / "shared"))

    assert follow(store) is None
    assert client.get_experiment(theirs).artifact_location.endswith("/elsewhere/mlartifacts/shared")


def test_character_that_mlflow_reads_as_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path):
    strange = tmp_path / "50%25 #1?"
    strange.mkdir()
    store = Path(shutil.copy(empty_store, live_in(strange, monkeypatch)))
    client = connect()

    run = client.create_run(experiment_id(client, "ferries")).info
    client.log_text(run.run_id, "hello", "a.txt")

    assert str(run.artifact_uri).startswith(artifact_root(store))
    assert [path.read_text() for path in (strange / "mlartifacts").rglob("a.txt")] == ["hello"]
