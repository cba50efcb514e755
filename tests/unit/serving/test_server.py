"""The server as a process: what it says before it serves, how it ends, and several on one socket."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow.dataset as ds
import pytest
from pydantic import SecretStr

from lakeline.errors import UsageError
from lakeline.serving.environment import ServerSettings, environment, server_settings
from lakeline.serving.release import Release, Route
from tests.unit.serving.models import FEATURES, NAME, ROW, made_here, settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 (nothing listens there)
BODY = {"instances": [ROW]}
Start = Callable[..., Any]


def test_a_release_as_variables_is_what_the_server_reads(monkeypatch: pytest.MonkeyPatch):
    release = Release(NAME, 7, "d" * 64, "challenger", "c0ffee", "run-1", "ann", Route("e1", 0.25, "http://here:8080", unkeyed=True))
    told = environment(release, Path("/model"))
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    said = server_settings()
    assert Release(said.model, said.version, said.digest, said.variant, said.data_commit, said.run, "ann", said.route) == release
    assert said.folder == Path("/model")
    assert "LAKELINE_SERVE_PEER" not in environment(Release(NAME, 7, "d" * 64), "/model")


def test_settings_that_are_wrong_are_named(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"MODEL": NAME, "VERSION": "latest", "DIGEST": "d" * 64, "FOLDER": "/m", "WORKERS": "0"}.items():
        monkeypatch.setenv(f"LAKELINE_SERVE_{name}", value)
    with pytest.raises(UsageError, match=r"LAKELINE_SERVE_VERSION: .* LAKELINE_SERVE_WORKERS: "):
        server_settings()


def test_who_listens_to_others_must_know_them():
    told: dict[str, Any] = {"model": NAME, "version": 1, "digest": "d" * 64, "folder": Path()}
    with pytest.raises(UsageError, match="LAKELINE_SERVE_TOKEN"):
        ServerSettings(**told).secret(EVERYWHERE)
    assert ServerSettings(**told).secret("127.0.0.1") is None
    assert ServerSettings(**told, auth="off").secret(EVERYWHERE) is None
    assert ServerSettings(**told, token=SecretStr("t")).secret(EVERYWHERE) == "t"
    assert ServerSettings(**told, token=SecretStr("t")).secret("127.0.0.1") == "t"
    assert ServerSettings(**told, token=SecretStr("of-a-file\r\n")).secret(EVERYWHERE) == "of-a-file"
    for wrong in ("two words", "tab\tbed", "a\nb", "\n", "tökén"):
        with pytest.raises(UsageError, match="LAKELINE_SERVE_TOKEN can't be sent: it is empty, or has a blank"):
            ServerSettings(**told, token=SecretStr(wrong)).secret("127.0.0.1")
    with pytest.raises(ValueError, match="LAKELINE_SERVE_TOKEN isn't set"):
        ServerSettings(**told, auth="token")


def test_it_says_when_it_serves_and_ends_when_told(start: Start):
    server = start()
    assert server.report == {"ready": True, "pid": server.process.pid, "version": 3}
    answer = httpx.post(f"{server.url}/invocations", json=BODY)
    assert (answer.status_code, answer.headers["Lakeline-Version"]) == (200, "3")
    assert server.end() == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["serving", "draining", "ended"]
    assert {(line["model"], line["version"], line["variant"]) for line in lines} == {(NAME, 3, "production")}


def test_it_says_why_it_cannot_serve(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = tmp_path / "termination-log"
    monkeypatch.setenv("LAKELINE_TERMINATION_LOG", str(told))
    folder = made_here(tmp_path / "torn")
    (folder / "model.skops").write_bytes(b"no model")
    server = start(folder)
    assert server.process.wait(180) == 1
    assert server.report["ready"] is False
    assert "ferries version 3: the model can't be loaded" in server.report["error"]
    said = json.loads(told.read_text())
    assert (said["type"], said["message"], said["retry"]) == ("VersionFailed", server.report["error"], False)
    assert "Traceback" not in server.log.read_text()


def test_without_a_socket_it_listens_where_it_is_told(folder: Path, eventually: Callable[..., Any]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = settings(folder)
        told = environment(Release(NAME, said.version, said.digest), folder) | {"LAKELINE_SERVE_PORT": str(port)}
        command = [sys.executable, "-m", "lakeline.serving.server"]
        refused = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=False)
        assert (refused.returncode, "Address already in use" in refused.stderr) == (1, True)
    process = subprocess.Popen(command, env=os.environ | told)
    try:
        eventually(lambda: process.poll() is not None or _answers(f"http://127.0.0.1:{port}/readyz"), 180)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(60) == 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_workers_that_cannot_serve_say_so_once(start: Start, tmp_path: Path):
    folder = made_here(tmp_path / "torn")
    (folder / "model.skops").write_bytes(b"no model")
    server = start(folder, workers=2)
    assert server.process.wait(180) == 1
    assert "the model can't be loaded" in server.report["error"]


def test_a_worker_that_dies_ends_the_server(start: Start, eventually: Callable[..., Any]):
    """Whoever watches over it starts it anew; half a server would go on unseen."""
    server = start(workers=2)
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert server.process.wait(180) == 1
    assert "one of the 2 workers ended by itself" in server.log.read_text()


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused_and_the_connection_lives(start: Start, announced: bool):
    server = start(max_bytes=100_000)
    body = json.dumps(BODY | {"params": " " * 5_000_000}).encode()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        content = body if announced else iter([body[at : at + 50_000] for at in range(0, len(body), 50_000)])
        answer = client.post("/invocations", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["message"]) == (
            413,
            "the body may have 100,000 bytes. Send the rows in several requests.",
        )
        assert client.post("/invocations", json=BODY, timeout=60).status_code == 200


def test_bytes_that_are_no_http_do_not_end_it(start: Start):
    server = start()
    port = int(server.url.rpartition(":")[2])
    for sent in (
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"\r\n" * 500,
        b"",
    ):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answered = connection.recv(1000)
            assert answered == b"" or answered.startswith((b"HTTP/1.1 4", b"HTTP/1.1 3")), answered
    assert httpx.post(f"{server.url}/invocations", json=BODY, timeout=60).status_code == 200


def test_features_are_logged_as_they_were_sent(start: Start, tmp_path: Path):
    log = tmp_path / "predictions"
    server = start(predictions=log)
    headers = {"X-Request-Id": "order-7", "Lakeline-Key": "key-7"}
    rows = [ROW, ROW | {"weather": None, "wind": None, "load": 4}]
    predictions = httpx.post(f"{server.url}/invocations", json={"instances": rows}, headers=headers).json()["predictions"]
    assert httpx.post(f"{server.url}/invocations", json={"instances": []}).status_code == 400
    assert server.end() == 0
    (file,) = log.rglob("*.parquet")
    assert file.relative_to(log).parts[0] == NAME
    assert file.parent.name.startswith("date=20")
    table = ds.dataset(file).to_table()
    logged = table.to_pylist()
    assert [
        (row["request_id"], row["row"], row["key"], row["model"], row["version"], row["variant"], row["experiment"]) for row in logged
    ] == [("order-7", number, "key-7", NAME, 3, "production", None) for number in range(2)]
    assert [row["prediction"] for row in logged] == predictions
    assert [{name: row[f"feature_{name}"] for name in FEATURES} for row in logged] == rows
    assert abs(logged[0]["time"].timestamp() - time.time()) < 120
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["row"], types["version"], types["time"]) == ("int32", "int32", "timestamp[us, tz=UTC]")
    assert (types["prediction"], types["feature_load"], types["feature_route"]) == ("double", "double", "string")
