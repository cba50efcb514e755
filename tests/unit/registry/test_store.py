"""The store is found, created whole, and its troubles are told in one line."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lakeline.errors import RegistryError
from lakeline.registry import models, store_version
from lakeline.registry.peek import CannotTell, production, sqlite_path
from lakeline.registry.production import load_production
from lakeline.registry.store import connect, speaking
from lakeline.settings import get_settings


def _trouble() -> str:
    with pytest.raises(RegistryError) as caught:
        models()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_store_of_a_newer_mlflow_is_told(store: Path):
    with closing(sqlite3.connect(store)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
        database.commit()

    trouble = _trouble()

    assert f"MLflow at sqlite:///{store}: the database was written by a newer MLflow than this one, " in trouble
    assert "(its schema fedcba987654 is unknown here). Upgrade MLflow here, or name another store with MLFLOW_TRACKING_URI." in trouble


def test_a_store_of_an_older_mlflow_is_told_how_to_bring_it_up(store: Path):
    with closing(sqlite3.connect(store)) as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.commit()

    assert _trouble().endswith(f"run: mlflow db upgrade sqlite:///{store}")


def test_a_store_that_another_program_holds_is_told(store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}?timeout=0.2")
    get_settings.cache_clear()
    with closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")

        assert "another program holds the database" in _trouble()


def test_a_full_disk_is_told_through_mlflows_words(store: Path):
    """Of a disk that is full when a model is saved MLflow says that skops can't serialise it."""
    from mlflow.exceptions import MlflowException

    def save() -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise MlflowException("the model could not be saved in the skops serialization format") from error

    with pytest.raises(RegistryError, match=r"the disk is full\. Free some space"), speaking():
        save()


def test_a_file_that_is_no_store_is_told(store: Path):
    store.write_bytes(b"neither SQLite nor MLflow" * 50)

    assert "this file is no MLflow database, or a damaged one" in _trouble()
    with pytest.raises(CannotTell):
        production("ferries")


def test_a_server_that_does_not_answer_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, home: Path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    get_settings.cache_clear()

    trouble = _trouble()

    assert trouble.startswith("MLflow at http://127.0.0.1:9: the server does not answer as it should")
    assert "secret" not in trouble
    with pytest.raises(RegistryError, match="does not answer"):
        load_production("ferries")
    with pytest.raises(CannotTell):
        production("ferries")


def test_nothing_is_in_production_before_the_first_run_and_mlflow_is_not_asked(alone: Callable[[str], str], home: Path):
    code = """
        import sys
        from lakeline.registry.production import load_production
        print(load_production("ferries"), "mlflow" in sys.modules)
    """

    assert alone(code) == "None False"
    assert not (home / "mlflow.db").exists()


def test_a_new_store_is_made_whole_and_quietly(alone: Callable[[str], str], home: Path, capfd: pytest.CaptureFixture[str]):
    home.mkdir()
    (home / "mlflow.db.new").write_text("what an interrupt left")

    connect()
    connect()

    assert store_version().startswith(f"sqlite:///{home}/mlflow.db (0 registered models), MLflow ")
    assert not (home / "mlflow.db.new").exists()
    assert capfd.readouterr() == ("", "")


def test_a_check_up_before_the_first_run_creates_nothing(home: Path):
    assert store_version().endswith("(not there yet; the first training run creates it)")
    assert not home.exists()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////srv/mlflow.db", Path("/srv/mlflow.db")),
        ("sqlite:///mlflow.db", Path("mlflow.db")),
        ("sqlite:///:memory:", None),
        ("sqlite:////srv/mlflow.db?timeout=1", None),
        ("sqlite:////srv/50%25%3F/mlflow.db", Path("/srv/50%?/mlflow.db")),
        ("https://example.org", None),
    ],
)
def test_which_stores_are_files(uri: str, path: Path | None):
    assert sqlite_path(uri) == path


def test_the_environment_is_left_as_it_was(store: Path, monkeypatch: pytest.MonkeyPatch):
    import os

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    models()

    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
