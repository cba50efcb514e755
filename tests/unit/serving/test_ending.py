"""How a server ends: its callers are answered, others take those who come, and nothing that hangs is waited for."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow.dataset as ds

from lakeline.registry.files import files_digest
from tests.unit.serving.models import ROW, counted, foreign

BODY = {"instances": [ROW]}
Start = Callable[..., Any]


HANGS = """
import logging
import time
import warnings

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Hanging(PythonModel):
    def predict(self, context, model_input, params=None):
        if "hang" in list(model_input["route"]):
            time.sleep(600)
        if list(model_input["route"]) != ["a"]:
            warnings.warn(f"never heard of {list(model_input['route'])}")
            logging.getLogger("anybody").warning("never heard of %s", list(model_input["route"]))
        return [1.0] * len(model_input)


set_model(Hanging())
"""


def test_what_hangs_is_not_waited_for_and_no_line_of_the_log_quotes_a_row(start: Start, tmp_path: Path, eventually: Callable[..., Any]):
    """A caller who doesn't go on, and a model that doesn't come back; the model's own code warns of what it is sent."""
    code = tmp_path / "hanging.py"
    code.write_text(HANGS)
    model = foreign(tmp_path / "hanging", str(code), pd.DataFrame({"route": ["a"]}))
    digest = files_digest(model)
    server = start(model, timeout=1, drain=1)
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as half:
        half.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        answered = half.recv(1000)
        assert answered.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nconnection: close\r\n" in answered
    for route, status in {"a": 200, "a-passenger": 200, "hang": 504}.items():
        assert httpx.post(f"{server.url}/invocations", json={"instances": [{"route": route}]}, timeout=60).status_code == status
    eventually(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
    assert counted(httpx.Client(base_url=server.url), "lakeline_errors_total", kind="slow") == 1
    server.process.terminate()
    assert server.process.wait(30) == 0
    said = server.log.read_text()
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[-1]["event"] == "ended"
    assert {line.get("logger", line.get("category")) for line in lines} > {"anybody", "UserWarning"}
    assert "never heard of" not in said
    assert "a-passenger" not in said
    assert files_digest(model) == digest


def test_callers_are_sent_away_without_an_error(start: Start, tmp_path: Path, eventually: Callable[..., Any]):
    """Told to end, it is not ready any more, answers all that is asked on open connections, and closes each with an answer."""
    log = tmp_path / "predictions"
    server = start(drain=20, predictions=log)
    statuses: list[list[int]] = [[] for _ in range(8)]

    def call(mine: list[int]) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while True:
                answer = client.post("/invocations", json=BODY)
                mine.append(answer.status_code)
                if answer.headers.get("connection") == "close":
                    return

    callers = [threading.Thread(target=call, args=[mine]) for mine in statuses]
    with httpx.Client(base_url=server.url, timeout=60) as idle:
        assert idle.get("/readyz").status_code == 200
        for caller in callers:
            caller.start()
        eventually(lambda: all(len(mine) > 5 for mine in statuses), 60)
        server.process.terminate()
        time.sleep(1)  # this connection asks nothing meanwhile
        ready = idle.get("/readyz")
        assert (ready.status_code, ready.json()["ready"], ready.headers["connection"]) == (503, False, "close")
    for caller in callers:
        caller.join(30)
    assert server.process.wait(180) == 0
    answers = [status for mine in statuses for status in mine]
    assert set(answers) == {200}
    assert ds.dataset(log).count_rows() == len(answers)


def test_one_that_is_replaced_leaves_new_callers_to_its_successor(start: Start, eventually: Callable[..., Any]):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        old, new = start(listening=listening, drain=20), start(listening=listening)
        stop = threading.Event()
        failed: list[str] = []
        count = 0

        def call() -> None:
            nonlocal count
            while not stop.is_set():  # a connection for each: those that are new are what this is about
                try:
                    if httpx.post(f"{old.url}/invocations", json=BODY, timeout=60).status_code != 200:
                        failed.append("status")
                except httpx.TransportError as error:
                    failed.append(repr(error))
                count += 1

        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        eventually(lambda: count > 20, 60)
        assert old.end() == 0
        assert httpx.get(f"{new.url}/readyz").status_code == 200
        seen = count
        eventually(lambda: count > seen + 20, 60)
        stop.set()
        for caller in callers:
            caller.join()
    assert failed == []


def test_an_impatient_second_signal_ends_it_at_once(start: Start):
    server = start(drain=60)
    with httpx.Client(base_url=server.url, timeout=60) as idle:
        idle.get("/livez")
        server.process.terminate()
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0


def test_workers_share_a_socket_count_together_and_end_each_for_itself(start: Start):
    server = start(workers=2, drain=20, inherits=False)
    assert server.report == {"ready": True, "pid": server.process.pid, "version": 3}
    for _ in range(40):
        assert httpx.post(f"{server.url}/invocations", json=BODY, timeout=60).status_code == 200
    answered = [line for line in httpx.get(f"{server.url}/metrics").text.splitlines() if line.startswith("lakeline_requests_total{")]
    assert [line.rpartition(" ")[2] for line in answered] == ["40.0"]
    with httpx.Client(base_url=server.url, timeout=60) as idle:
        assert idle.get("/livez").status_code == 200
        server.process.terminate()
        time.sleep(0.3)
        assert httpx.get(f"{server.url}/livez", timeout=5).status_code == 200  # nobody else would take who comes now
        time.sleep(2)  # the worker that has no callers has ended
        assert idle.get("/livez").headers["connection"] == "close"
    assert server.process.wait(60) == 0
    pids = {json.loads(line)["pid"] for line in server.log.read_text().splitlines()}
    assert len(pids) == 2
