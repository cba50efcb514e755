"""A real MLflow server, prepared and started as its Deployment does it, tells the real gate of what somebody does to an alias."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.clusters.wanted import encryption_key
from tests.ports import free_port
from tests.unit.events.receiver import TOKEN, Receiver

PREPARE = Path(__file__).resolve().parents[3] / "kubernetes" / "mlflow" / "prepare.py"
SECRET = secrets.token_hex(20)


def no_other(name: str, key: str) -> str:
    raise AssertionError(f"{name}.{key} isn't asked for")


class Servers:
    """MLflow's server and the gate, as processes."""

    def __init__(self, folder: Path) -> None:
        self.port, self.gate = free_port(), f"http://127.0.0.1:{free_port()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = (folder / "log").open("wb")
        self.admin, self.steps = ("admin", secrets.token_hex(16)), ("lakeline", secrets.token_hex(16))
        self.environment = os.environ | {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/runs.db",
            "MLFLOW_AUTH_DATABASE_URI": f"sqlite:///{folder}/users.db",
            "MLFLOW_AUTH_CONFIG_PATH": f"{folder}/basic_auth.ini",
            "MLFLOW_AUTH_ADMIN_USERNAME": self.admin[0],
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.admin[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(20),
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": encryption_key(no_other),
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "STEPS_USERNAME": self.steps[0],
            "STEPS_PASSWORD": self.steps[1],
            "SERVING_USERNAME": "serving",
            "SERVING_PASSWORD": secrets.token_hex(16),
            "ALIAS_WEBHOOK_URL": f"{self.gate}/alias",
            "ALIAS_WEBHOOK_SECRET": SECRET,
            "LAKELINE_GATE_SECRET": SECRET,
            "LAKELINE_GATE_PORT": self.gate.rpartition(":")[2],
        }

    def start(self) -> None:
        """Start both, and wait until they answer."""
        subprocess.run([sys.executable, str(PREPARE)], env=self.environment, check=True, stdout=self.log, stderr=self.log)
        here = f"127.0.0.1:{self.port}"
        server = ["-m", "mlflow", "server", f"--port={self.port}", "--workers=1", "--app-name=basic-auth", f"--allowed-hosts={here}"]
        for command in (server, ["-m", "pipelines.cli", "event", "gate"]):
            process = subprocess.Popen(
                [sys.executable, *command], env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True
            )
            self.processes.append(process)
        for url in (f"http://{here}/health", f"{self.gate}/readyz"):
            self._wait(url)

    def _wait(self, url: str) -> None:
        deadline = time.monotonic() + 180
        while True:
            try:
                httpx.get(url).raise_for_status()
                return
            except httpx.HTTPError:
                assert time.monotonic() < deadline, Path(self.log.name).read_text()
                assert all(process.poll() is None for process in self.processes), Path(self.log.name).read_text()
                time.sleep(0.2)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, auth: tuple[str, str] | None = None) -> httpx.Response:
        """Ask MLflow's API, as the steps unless told otherwise."""
        url = f"http://127.0.0.1:{self.port}/api/2.0/mlflow/{path}"
        return httpx.request(method, url, json=body, auth=auth or self.steps, timeout=60)

    def counted(self) -> dict[str, int]:
        """What the gate has counted."""
        lines = [line for line in httpx.get(f"{self.gate}/metrics").text.splitlines() if line.startswith("lakeline_gate_deliveries_total")]
        return {line.split('"')[1]: int(float(line.rpartition(" ")[2])) for line in lines if not line.endswith(" 0.0")}

    def end(self) -> None:
        """End both, and what they started."""
        for process in self.processes:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        self.log.close()


@pytest.fixture
def servers(tmp_path: Path, receiver: Receiver) -> Iterator[Servers]:
    assert receiver.url == os.environ["LAKELINE_EVENTS_URL"]
    found = Servers(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.end()


def test_alias_that_somebody_moves_is_told_of_and_one_who_forges_is_refused(servers: Servers, receiver: Receiver):
    assert servers.ask("POST", "registered-models/create", {"name": "things"}).status_code == 200
    for _ in range(2):
        assert servers.ask("POST", "model-versions/create", {"name": "things", "source": "s3://nowhere/x"}).status_code == 200
    for alias, version in (("staging", "2"), ("production", "1"), ("production", "2")):
        assert servers.ask("POST", "registered-models/alias", {"name": "things", "alias": alias, "version": version}).status_code == 200

    passed = [json.loads(body) for body in receiver.wait(2)]
    assert sorted((one["model"], one["alias"], one["version"]) for one in passed) == [
        ("things", "production", "1"),
        ("things", "production", "2"),
    ]
    assert len({one["delivery"] for one in passed}) == 2
    assert {path for path, _ in receiver.taken} == {"/alias"}
    assert servers.counted() == {"passed": 2, "ignored": 1}

    hooks = servers.ask("GET", "webhooks", auth=servers.admin)
    assert [hook["name"] for hook in hooks.json()["webhooks"]] == ["lakeline-alias"]
    assert SECRET not in hooks.text, "not even its administrator is shown the secret"
    assert servers.ask("GET", "webhooks").status_code == 403, "steps may neither see nor make webhooks"
    body = {"name": "mine", "url": "http://127.0.0.1:1/", "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]}
    assert servers.ask("POST", "webhooks", body).status_code == 403

    assert httpx.post(f"{servers.gate}/alias", json={"entity": "model_version_alias"}).status_code == 401
    assert len(receiver.taken) == 2
    assert TOKEN not in Path(servers.log.name).read_text()
    assert SECRET not in Path(servers.log.name).read_text()
