"""The scripts that servers start with: what they do a second time, what they do when something is wrong, and what they never show."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from werkzeug.security import check_password_hash

from pipelines.clusters.wanted import encryption_key
from tests.manifests.objects import KUBERNETES

SCRIPTS = sorted(KUBERNETES.rglob("*.sh"))


Run = Callable[..., subprocess.CompletedProcess[str]]
"""Runs a script of ours with stand-ins for the programs that it calls, by name, and variables of its environment."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "bin"
    folder.mkdir()

    def started(script: Path, programs: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
        for name, text in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        own = tmp_path / script.name
        own.write_text(script.read_text().replace("/app/", f"{folder}/").replace("/backups", f"{tmp_path}/backups"))
        (tmp_path / "backups").mkdir(exist_ok=True)
        variables = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **environment}
        return subprocess.run(["sh", str(own)], capture_output=True, text=True, env=variables, check=False, timeout=60)

    return started


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script_is_one(script: Path):
    """Images have a POSIX shell, and not all have another one."""
    assert script.read_text().startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0


KEYS = {
    "LAKEFS_INSTALLATION_USER_NAME": "lakeline",
    "LAKEFS_INSTALLATION_ACCESS_KEY_ID": "AKIAPUBLIC",
    "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": "hidden-value",
}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo 'credentials: hidden-value'", "user lakeline: made"),
        ("echo 'Setup failed: create user: already exists'; exit 1", "user lakeline: is there"),
    ],
)
def test_lakefs_user_is_made_once_and_its_keys_are_not_shown(run: Run, answer: str, said: str):
    done = run(KUBERNETES / "lakefs" / "setup.sh", {"lakefs": answer}, **KEYS)

    assert done.returncode == 0
    assert said in done.stdout
    assert "hidden-value" not in done.stdout + done.stderr


def test_lakefs_waits_for_its_database(run: Run, tmp_path: Path):
    answer = f'test -e {tmp_path}/ready && exit 0; touch {tmp_path}/ready; echo "Failed to connect to DB: refused"; exit 1'

    done = run(KUBERNETES / "lakefs" / "setup.sh", {"lakefs": answer}, **KEYS)

    assert done.returncode == 0
    assert "not yet: Failed to connect to DB: refused" in done.stdout


ADDRESSES = {
    "LAKEFS_DATABASE_POSTGRES_CONNECTION_STRING": "postgres://lakefs:one@db.example.org:6543/lake?sslmode=require",
    "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://mlflow:two@db.example.org/runs",
    "MLFLOW_AUTH_DATABASE_URI": "postgresql+psycopg2://mlflow_auth:three@postgres.lakeline.svc:5432/mlflow_auth?sslmode=disable",
    "KEEP_DAYS": "7",
}
DUMP = """
for each; do
  case $each in --file=*) echo "$PGUSER:$PGPASSWORD@$PGHOST:$PGPORT/$PGDATABASE $PGSSLMODE" >"${each#--file=}" ;; esac
done
"""


def test_backup_reads_every_kind_of_address(run: Run, tmp_path: Path):
    done = run(KUBERNETES / "backup" / "backup.sh", {"pg_dump": DUMP, "pg_restore": "exit 0"}, **ADDRESSES)

    assert done.returncode == 0, done.stderr
    dumps = {file.name.partition("-")[0]: file.read_text().strip() for file in (tmp_path / "backups").iterdir()}
    assert dumps == {
        "lakefs": "lakefs:one@db.example.org:6543/lake require",
        "mlflow": "mlflow:two@db.example.org:5432/runs prefer",
        "mlflow_auth": "mlflow_auth:three@postgres.lakeline.svc:5432/mlflow_auth disable",
    }
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in (tmp_path / "backups").iterdir())
    assert not {"one", "two", "three"} & set(done.stdout.split())


def test_backup_that_cannot_be_read_back_counts_as_none(run: Run, tmp_path: Path):
    """The other databases are dumped all the same, older dumps stay, and the Job fails."""
    old = tmp_path / "backups" / "mlflow-2020-01-01T000000Z.dump"
    old.parent.mkdir()
    old.write_text("old")
    os.utime(old, (0, 0))

    unreadable = "case $2 in *mlflow-*) exit 1 ;; esac"
    done = run(KUBERNETES / "backup" / "backup.sh", {"pg_dump": DUMP, "pg_restore": unreadable}, **ADDRESSES)

    assert done.returncode == 1
    assert "no dump of: mlflow. Older dumps are kept." in done.stderr
    assert sorted(file.name.partition("-20")[0] for file in old.parent.iterdir()) == ["lakefs", "mlflow", "mlflow_auth"]
    assert old.exists()


def test_mlflow_is_prepared_again_and_again(tmp_path: Path):
    """The first start makes tables, users and the webhook; a later one takes over what has been rotated, the key of secrets too."""
    environment = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/runs.db",
        "MLFLOW_AUTH_DATABASE_URI": f"sqlite:///{tmp_path}/users.db",
        "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "of-the-administrator",
        "STEPS_USERNAME": "lakeline",
        "SERVING_USERNAME": "serving",
        "SERVING_PASSWORD": "of-the-servers",
        "ALIAS_WEBHOOK_URL": "http://gate.example.org/alias",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    }
    key = ""
    for password, said in (("of-the-steps", "user lakeline: made"), ("of-the-steps-now", "user lakeline: password changed")):
        command = [sys.executable, str(KUBERNETES / "mlflow" / "prepare.py")]
        key = encryption_key(lambda *_: "")
        given = {**os.environ, **environment, "STEPS_PASSWORD": password, "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": key}
        given["ALIAS_WEBHOOK_SECRET"] = f"signed-{password}"
        done = subprocess.run(command, capture_output=True, text=True, env=given, check=False)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
        assert password not in done.stdout + done.stderr

    with contextlib.closing(sqlite3.connect(tmp_path / "users.db")) as database:
        users = {
            name: (hashed, bool(admin)) for name, hashed, admin in database.execute("SELECT username, password_hash, is_admin FROM users")
        }
    assert {name: admin for name, (_, admin) in users.items()} == {"admin": True, "lakeline": False, "serving": False}
    assert check_password_hash(users["lakeline"][0], "of-the-steps-now")
    assert stat.S_IMODE((tmp_path / "basic_auth.ini").stat().st_mode) == 0o640
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as database:
        ((name, url, secret),) = database.execute("SELECT name, url, secret FROM webhooks").fetchall()
        events = database.execute("SELECT entity, action FROM webhook_events").fetchall()
    assert (name, url, events) == ("lakeline-alias", "http://gate.example.org/alias", [("model_version_alias", "created")])
    assert Fernet(key).decrypt(secret) == b"signed-of-the-steps-now"
