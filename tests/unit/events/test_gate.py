"""The gate, asked over real sockets: what MLflow signed just now gets through, and nothing else does, whoever sends it and however."""

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from lakeline.errors import UsageError
from lakeline.events import gate as gates
from lakeline.events.signature import DELIVERY, SIGNATURE, TIMESTAMP, WINDOW, sign
from tests.ports import free_port
from tests.unit.events.receiver import TOKEN, Receiver

SECRET, BEFORE = secrets.token_hex(20), secrets.token_hex(20)
MOVE = {"name": "things", "alias": "production", "version": "3"}


def said(**changes: Any) -> bytes:
    """What MLflow posts when an alias is set, with parts of `data` replaced."""
    told = {"entity": "model_version_alias", "action": "created", "timestamp": "2026-03-04T05:06:07+00:00", "data": MOVE | changes}
    return json.dumps(told).encode()


def signed(body: bytes, secret: str = SECRET, age: float = 0, delivery: str | None = None) -> dict[str, str]:
    delivery, timestamp = delivery or str(uuid.uuid4()), str(int(time.time() - age))
    return {DELIVERY: delivery, TIMESTAMP: timestamp, SIGNATURE: sign(secret, delivery, timestamp, body)}


@pytest.fixture
def gate(receiver: Receiver) -> Iterator[str]:
    """A gate before the stand-in for the event source: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = gates.server(gates.application((SECRET, BEFORE), receiver.url, TOKEN), "127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [free]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{free.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


def post(gate: str, body: bytes, headers: dict[str, str]) -> int:
    return httpx.post(f"{gate}/alias", content=body, headers=headers, timeout=20).status_code


def counted(gate: str) -> dict[str, int]:
    lines = [line for line in httpx.get(f"{gate}/metrics").text.splitlines() if line.startswith("lakeline_gate_deliveries_total")]
    return {line.split('"')[1]: int(float(line.rpartition(" ")[2])) for line in lines if not line.endswith(" 0.0")}


def test_what_is_signed_is_passed_on_with_the_token_and_names_only(gate: str, receiver: Receiver):
    body = said()
    headers = signed(body)

    assert post(gate, body, headers) == 200

    ((path, passed),) = receiver.taken
    assert path == "/alias"
    assert json.loads(passed) == {"delivery": headers[DELIVERY], "model": "things", "alias": "production", "version": "3"}


def test_secret_of_before_is_good_while_mlflow_gets_another(gate: str, receiver: Receiver):
    assert post(gate, said(), signed(said(), BEFORE)) == 200
    assert len(receiver.taken) == 1


def test_delivery_can_not_be_given_another_id_beside_its_own(gate: str, receiver: Receiver):
    """With another id a move is another one, and is deployed once more."""
    body = said()
    headers = list(signed(body).items())

    for more in ([(DELIVERY, str(uuid.uuid4())), *headers], [*headers, (DELIVERY.lower(), str(uuid.uuid4()))]):
        assert httpx.post(f"{gate}/alias", content=body, headers=more, timeout=20).status_code == 401
    assert receiver.taken == []
    assert counted(gate) == {"forged": 2}


def test_what_is_forged_is_refused(gate: str, receiver: Receiver):
    body = said()
    right = signed(body)
    forged = [
        {},
        signed(body, secrets.token_hex(20)),
        signed(body, ""),
        right | {DELIVERY: str(uuid.uuid4())},
        right | {TIMESTAMP: str(int(right[TIMESTAMP]) + 1)},
        right | {SIGNATURE: right[SIGNATURE].removeprefix("v1,")},
        right | {SIGNATURE: right[SIGNATURE].replace("v1", "v2")},
        right | {SIGNATURE: "v1,"},
        right | {TIMESTAMP: "soon"},
        {name: value for name, value in right.items() if name != SIGNATURE},
        {name: value for name, value in right.items() if name != TIMESTAMP},
        {name: value for name, value in right.items() if name != DELIVERY},
    ]

    assert [post(gate, body, headers) for headers in forged] == [401] * len(forged)
    assert post(gate, said(version="4"), right) == 401
    assert receiver.taken == []
    assert counted(gate) == {"forged": len(forged) + 1}


@pytest.mark.parametrize("age", [WINDOW + 5, -WINDOW - 5])
def test_what_is_old_or_of_the_future_is_refused(gate: str, receiver: Receiver, age: float):
    assert post(gate, said(), signed(said(), age=age)) == 401
    assert post(gate, said(), signed(said(), age=age * 0.9)) == 200
    assert counted(gate) == {"old": 1, "passed": 1}


def test_what_is_of_something_else_is_taken_and_left(gate: str, receiver: Receiver):
    other = [
        said(alias="staging"),
        said(alias="example_alias", name="example_model"),
        said(name="not a data set"),
        said().replace(b"created", b"deleted"),
        said().replace(b"model_version_alias", b"prompt_alias"),
    ]

    assert [post(gate, body, signed(body)) for body in other] == [200] * len(other)
    assert receiver.taken == []
    assert counted(gate) == {"ignored": len(other)}


def test_what_is_signed_and_malformed_is_refused(gate: str, receiver: Receiver):
    wrong = [b"", b"no json", b"[]", b"\xff", b'{"entity": 1}', said(version=3), said(version="03"), said(version=None), said(name=None)]

    assert [post(gate, body, signed(body)) for body in wrong] == [400] * len(wrong)
    assert post(gate, said(), signed(said(), delivery="$(HOME)")) == 400
    assert receiver.taken == []


def test_what_is_too_large_is_refused_before_it_is_read(gate: str, receiver: Receiver):
    body = said(more="x" * 70_000)

    assert post(gate, body, signed(body)) == 413
    chunks = (b"x" * 1000 for _ in range(100))
    assert httpx.post(f"{gate}/alias", content=chunks, timeout=20).status_code == 413
    head = b"POST /alias HTTP/1.1\r\nHost: gate\r\nContent-Length: 10000000\r\n\r\n"
    assert b" 413 " in raw(gate, head)
    assert receiver.taken == []


def raw(gate: str, *parts: bytes, pause: float = 0) -> bytes:
    """Send parts with pauses between them; what comes back until the gate hangs up."""
    with socket.create_connection(("127.0.0.1", int(gate.rpartition(":")[2])), timeout=20) as peer:
        got = b""
        try:
            for part in parts:
                peer.sendall(part)
                time.sleep(pause)
            while more := peer.recv(65536):
                got += more
        except ConnectionError:
            pass
        return got


def test_slow_senders_do_not_keep_a_place(gate: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gates, "_BODY", 0.3)
    monkeypatch.setattr(gates, "_CONNECTION", 1.0)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        bodies = [pool.submit(raw, gate, b"POST /alias HTTP/1.1\r\nHost: gate\r\nContent-Length: 10\r\n\r\nx") for _ in range(4)]
        heads = [pool.submit(raw, gate, *[b"POST /alias HTTP/1.1\r\nX: "], *([b"x"] * 20), pause=0.1) for _ in range(4)]

        assert post(gate, said(), signed(said())) == 200
        assert all(b" 408 " in one.result() for one in bodies)
        assert [one.result() for one in heads] == [b""] * 4
    assert time.monotonic() - began < 10


def test_event_source_that_is_away_or_refuses_is_told_of_so_that_mlflow_tries_again(receiver: Receiver, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "lakeline.gate")
    for source, token in (("http://127.0.0.1:1", TOKEN), (receiver.url, "another token")):
        assert asked(gates.application((SECRET,), source, token), said()) == 502
    away, refuses = (json.loads(record.message) for record in caplog.records)
    assert (away["outcome"], away["model"], away["version"]) == ("undelivered", "things", "3")
    assert "ConnectError" in away["error"]
    assert refuses["error"] == "the event source answers 401"


def asked(app: FastAPI, body: bytes) -> int:
    """Ask an application without a socket."""

    async def ask() -> int:
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            return (await client.post("/alias", content=body, headers=signed(body))).status_code

    return asyncio.run(ask())


def test_many_at_once_all_get_through(gate: str, receiver: Receiver):
    bodies = [said(version=str(number)) for number in range(1, 41)]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: post(gate, body, signed(body)), bodies))

    assert answers == [200] * 40
    assert {json.loads(passed)["version"] for _, passed in receiver.taken} == {str(number) for number in range(1, 41)}


def test_other_requests_find_nothing(gate: str):
    asked = [("GET", "/alias", 405), ("POST", "/", 404), ("GET", "/docs", 404), ("GET", "/openapi.json", 404), ("GET", "/livez", 200)]
    answers = [(method, path, httpx.request(method, f"{gate}{path}")) for method, path, _ in asked]

    assert [(method, path, answer.status_code) for method, path, answer in answers] == asked
    assert {answer.headers["Connection"] for _, _, answer in answers} == {"close"}
    assert not any("server" in answer.headers for _, _, answer in answers)


def test_command_serves_until_it_is_told_to_end_and_says_no_secret(receiver: Receiver):
    port = free_port()
    told = {"LAKELINE_GATE_SECRET": SECRET, "LAKELINE_GATE_PREVIOUS": BEFORE, "LAKELINE_GATE_PORT": str(port)}
    command = [sys.executable, "-m", "pipelines.cli", "event", "gate"]
    process = subprocess.Popen(command, env=os.environ | told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(process, f"{url}/readyz")
        body = said()
        assert post(url, body, signed(body)) == 200
        assert post(url, body, signed(body, "x" * 20)) == 401
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [line["outcome"] for line in lines] == ["passed", "forged"]
    assert not any(secret in out + err for secret in (SECRET, BEFORE, TOKEN))
    assert process.returncode == 128 + signal.SIGTERM


def wait_for(process: subprocess.Popen[str], url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(url)
            return
        except httpx.TransportError:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({}, "LAKELINE_GATE_SECRET: Field required"),
        ({"LAKELINE_GATE_SECRET": "short"}, "LAKELINE_GATE_SECRET: Value should have at least 20 items"),
        ({"LAKELINE_GATE_SECRET": SECRET}, "where do events go"),
    ],
)
def test_gate_that_is_not_told_enough_does_not_start(told: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in told.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(UsageError, match=reason) as error:
        gates.serve()
    assert "short" not in str(error.value)
