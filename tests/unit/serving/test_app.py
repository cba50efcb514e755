"""What a server answers to whom, and what it says when it doesn't."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from lakeline.training.model import load
from tests.unit.serving.models import FEATURES, NAME, ROW, SPLIT, counted, foreign, made_here

Caller = Callable[..., httpx.Client]


def expected(folder: Path, *rows: dict[str, Any]) -> list[float]:
    model, _ = load(folder)
    return [float(value) for value in model.predict(pd.DataFrame(list(rows), columns=pd.Index(FEATURES)))]


SAME_ROW = [
    SPLIT,
    {"dataframe_split": {"columns": list(reversed(FEATURES)), "data": [list(reversed(ROW.values()))], "index": [7]}},
    {"dataframe_records": [ROW]},
    {"instances": [ROW]},
    {"inputs": [ROW]},
    {"inputs": {name: [value] for name, value in ROW.items()}},
    {"inputs": {name: [value] for name, value in ROW.items()}, "params": {}},
]


@pytest.mark.parametrize("body", SAME_ROW, ids=lambda body: next(iter(body)))
def test_each_of_mlflows_formats_is_answered_as_the_model_does(caller: Caller, folder: Path, body: Any):
    answer = caller().post("/invocations", json=body)
    assert (answer.status_code, answer.json()) == (200, {"predictions": expected(folder, ROW)})
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["Lakeline-Version"], answer.headers["Lakeline-Variant"]) == ("3", "production")
    assert len(answer.headers["X-Request-Id"]) == 32


def test_csv_is_answered_as_the_model_does(caller: Caller, folder: Path):
    text = pd.DataFrame([ROW, ROW | {"weather": None, "wind": None}]).to_csv(index=False)
    answer = caller().post("/invocations", content=text, headers={"Content-Type": "text/csv; charset=utf-8"})
    assert answer.json() == {"predictions": expected(folder, ROW, ROW | {"weather": None, "wind": None})}


def test_optional_columns_may_be_null_or_missing_and_whole_numbers_will_do(caller: Caller, folder: Path):
    server = caller()
    null = server.post("/invocations", json={"instances": [ROW | {"load": 2, "weather": None, "wind": None}]}).json()
    missing = server.post("/invocations", json={"instances": [{"route": "a", "load": 2}]}).json()
    assert null == missing == {"predictions": expected(folder, ROW | {"weather": None, "wind": None})}


def test_what_mlflows_own_client_sends_is_answered(caller: Caller, folder: Path):
    """It writes NaN, which is no JSON, for a number that is missing."""
    from mlflow.utils.proto_json_utils import dump_input_data

    body = dump_input_data(pd.DataFrame([ROW, ROW | {"wind": float("nan")}]))
    assert "NaN" in body
    answer = caller().post("/invocations", content=body, headers={"Content-Type": "application/json"})
    assert answer.json() == {"predictions": expected(folder, ROW, ROW | {"wind": None})}


REFUSED = [
    ({"instances": [ROW, ROW | {"load": "two"}]}, 400, "column 'load', row 1: 'two' is not a number."),
    ({"instances": [ROW | {"route": 7}]}, 400, "column 'route', row 0: 7 is not text."),
    ({"instances": [ROW | {"load": True}]}, 400, "column 'load', row 0: true is not a number."),
    ({"instances": [ROW | {"load": None}]}, 400, "column 'load', row 0: there must be a number, not null."),
    ({"instances": [ROW | {"route": {}}]}, 400, "column 'route', row 0: an object is not text."),
    ({"instances": [ROW | {"colour": 1}]}, 400, "unknown column in row 0: 'colour'. The model takes route, weather, load, wind."),
    ({"instances": [{"route": "a"}]}, 400, "missing column in row 0: 'load'."),
    ({"dataframe_split": {"columns": ["route", "route"], "data": [["a", "b"]]}}, 400, "these columns are there twice: 'route'."),
    ({"dataframe_split": {"columns": ["route", "load"], "data": [["a", 1], ["a"]]}}, 400, "row 1 has 1 values, and there are 2 columns."),
    ({"inputs": {"route": ["a"], "load": [1, 2]}}, 400, "the columns have different numbers of rows: 'route': 1, 'load': 2."),
    ({"instances": []}, 400, "there are no rows."),
    ({"instances": [ROW] * 11}, 413, "there are 11 rows, and a request may have 10."),
    ({"instances": [[1, 2]]}, 400, "row 0 must be an object"),
    ({"instances": [ROW], "inputs": [ROW]}, 400, "exactly one of"),
    ({"rows": [ROW]}, 400, "It has 'rows'."),
    ({"instances": [ROW], "params": {"temperature": 1}}, 400, "exactly one of"),
    ([ROW], 400, "must be a JSON object"),
]


@pytest.mark.parametrize(("body", "status", "message"), REFUSED, ids=[case[2][:40] for case in REFUSED])
def test_a_body_that_is_wrong_is_told_where(caller: Caller, body: Any, status: int, message: str):
    answer = caller(max_rows=10).post("/invocations", json=body)
    assert answer.status_code == status
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert message in answer.json()["message"]


BROKEN = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b'{"instances": [{"route": "a", "load": NaN}]}', "column 'load', row 0: there must be a number, not null."),
    (b'{"instances": [{"route": "a", "load": Infinity}]}', "not valid JSON: Infinity is no JSON value"),
    (b'{"instances": [{"route": "a", "load": -Infinity}]}', "-Infinity is no JSON value"),
    (b'{"instances": [{"route": "a", "load": 1e999}]}', "column 'load', row 0: inf is too large"),
    (b'{"instances": [{"route": "a", "load": 1' + b"0" * 400 + b"}]}", "column 'load', row 0: 1000"),
    (b'{"instances": [{"route": "a", "load": 1' + b"0" * 5000 + b"}]}", "not valid JSON"),
    (b'{"instances": [{"route": "\\ud800", "load": 1}]}', "column 'route', row 0: "),
    (b"\xff", "not UTF-8 (byte 0)"),
    (b"[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
def test_byte_order_mark_is_read_over(caller: Caller, kind: str):
    body = '{"instances": [{"route": "a", "load": 1}]}' if kind == "application/json" else "route,load\na,1\n"

    assert caller().post("/invocations", content=b"\xef\xbb\xbf" + body.encode(), headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize(("body", "message"), BROKEN, ids=[case[1][:30] for case in BROKEN])
def test_what_json_cannot_say_is_refused(caller: Caller, body: bytes, message: str):
    answer = caller().post("/invocations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert message in answer.json()["message"]


CSV = [
    ("", "the body is empty"),
    ("route,load\na,nan\n", "column 'load', row 0: nan is too large, or no number"),
    ("route,load\na,1_000\n", "column 'load', row 0: '1_000' is not a number."),
    ("route,load\na,1\na\n", "line 3 has 1 values"),
    (",route,load\n0,a,1\n", "to_csv(index=False)"),
    ('route,load\n"a,1\n', "not valid CSV: line 2 has a quote that does not end"),
    ("route,load\n,1\n", "column 'route', row 0: there must be text, not null."),
]


@pytest.mark.parametrize(("body", "message"), CSV, ids=[case[1][:30] for case in CSV])
def test_csv_that_is_wrong_is_told_where(caller: Caller, body: str, message: str):
    answer = caller().post("/invocations", content=body, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 400
    assert message in answer.json()["message"]


HEADERS = [
    ({"Content-Type": "application/xml"}, 415, "application/xml"),
    ({"Content-Type": ""}, 415, "it must be said"),
    ({"Content-Type": "application/json; charset=latin-1"}, 415, "must be UTF-8"),
    ({"Content-Encoding": "gzip"}, 415, "must not be compressed"),
    ({"X-Request-Id": "two words"}, 400, "X-Request-Id may have"),
    ({"Lakeline-Key": "k" * 257}, 400, "Lakeline-Key may have 256"),
    ({"Lakeline-Variant": "latest"}, 400, "There are production and challenger."),
    ({"Lakeline-Variant": "challenger"}, 400, "no A/B test runs"),
]


@pytest.mark.parametrize(("headers", "status", "message"), HEADERS, ids=[case[2] for case in HEADERS])
def test_a_header_that_is_wrong_is_named(caller: Caller, headers: dict[str, str], status: int, message: str):
    answer = caller().post("/invocations", content=json.dumps(SPLIT), headers={"Content-Type": "application/json"} | headers)
    assert answer.status_code == status
    assert message in answer.json()["message"]


def test_only_who_has_the_token_is_answered(caller: Caller):
    server = caller(token="a-secret-token")  # noqa: S106
    for wrong in (
        {},
        {"Authorization": "Bearer a-secret-toke"},
        {"Authorization": "Bearer a-secret-token2"},
        {"Authorization": "Basic a-secret-token"},
        {"Authorization": "a-secret-token"},
    ):
        answer = server.post("/invocations", json=SPLIT, headers=wrong)
        assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert server.get("/openapi.json", headers=wrong).status_code == 401
    assert server.post("/invocations", json=SPLIT, headers={"Authorization": "bearer  a-secret-token"}).status_code == 200
    right = {"Authorization": "Bearer a-secret-token"}
    assert server.post("/invocations", json=SPLIT, headers=right).status_code == 200
    assert server.get("/openapi.json", headers=right).status_code == 200
    assert {server.get(path).status_code for path in ("/ping", "/health", "/livez", "/readyz", "/metrics", "/version")} == {200}


def test_it_says_what_it_serves(caller: Caller, folder: Path):
    server = caller(data_commit="c0ffee", run="run-7")
    said = server.get("/version").json()
    assert (said["model"], said["version"], said["variant"], said["data_commit"], said["run"]) == (NAME, 3, "production", "c0ffee", "run-7")
    assert len(said["digest"]) == 64
    assert server.get("/readyz").json() == {"ready": True, "model": NAME, "version": 3, "variant": "production"}


def test_what_is_not_there_is_said_as_all_errors_are(caller: Caller):
    server = caller()
    assert server.get("/nowhere").json() == {"error_code": "ENDPOINT_NOT_FOUND", "message": "GET /nowhere: Not Found"}
    assert server.get("/invocations").json()["message"] == "GET /invocations: Method Not Allowed"
    assert server.get("/docs").status_code == 404  # it would load scripts from elsewhere


def test_what_happens_is_counted(caller: Caller):
    server = caller()
    server.post("/invocations", json={"instances": [ROW] * 3})
    server.post("/invocations", json={"instances": []})
    server.post("/invocations", content="a")
    of_this = {"model": NAME, "version": "3", "variant": "production"}
    assert counted(server, "lakeline_requests_total", status="200", **of_this) == 1
    assert counted(server, "lakeline_requests_total", status="400", **of_this) == 1
    assert counted(server, "lakeline_errors_total", kind="schema", **of_this) == 1
    assert counted(server, "lakeline_errors_total", kind="content_type", **of_this) == 1
    assert counted(server, "lakeline_request_seconds_count", **of_this) == 3
    assert counted(server, "lakeline_prediction_count", **of_this) == 3
    assert counted(server, "lakeline_prediction_bucket", le="1e+06", **of_this) == 3
    assert counted(server, "lakeline_prediction_bucket", le="0.0", **of_this) == 0
    assert counted(server, "lakeline_model_info", **of_this) == 1


def test_a_row_that_has_no_prediction_is_the_callers_to_know(caller: Caller, tmp_path: Path):
    """A finite number may be too much for a model: a forest's trees are of 32-bit floats, a line goes to infinity."""
    line, forest = caller(), caller(made_here(tmp_path / "forest", "random_forest"))
    rows = {"instances": [ROW, ROW | {"load": 1.7e308, "wind": 1.7e308}]}
    of_line, of_forest = line.post("/invocations", json=rows), forest.post("/invocations", json=rows)
    assert (of_line.status_code, of_forest.status_code) == (422, 422)
    assert of_line.json()["message"] == "row 1: the model gives no number for it."
    assert "gives no number for these rows: ValueError" in of_forest.json()["message"]
    assert counted(forest, "lakeline_errors_total", kind="prediction") == 1


def test_a_failing_row_takes_no_other_request_with_it(caller: Caller, tmp_path: Path):
    """Requests that are under way together are predicted together: one of them breaks the model, the others never know."""
    from concurrent.futures import ThreadPoolExecutor

    def picky(model_input: pd.DataFrame) -> list[float]:
        if (model_input["load"] > 100).any():
            raise RuntimeError("overloaded")
        return model_input["load"].tolist()

    server = caller(foreign(tmp_path / "picky", picky, pd.DataFrame({"load": [1.0]})))
    loads = [1.0, 2.0, 200.0, 3.0, 4.0] * 8
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda load: server.post("/invocations", json={"instances": [{"load": load}]}), loads))
    assert [answer.status_code for answer in answers] == [422 if load > 100 else 200 for load in loads]
    assert [answer.json()["predictions"] for answer in answers if answer.status_code == 200] == [[load] for load in loads if load < 100]


def test_want_of_memory_is_not_said_to_be_the_rows_fault(caller: Caller, tmp_path: Path):
    def greedy(model_input: pd.DataFrame) -> list[float]:
        if (model_input["load"] > 100).any():
            raise MemoryError
        return model_input["load"].tolist()

    server = caller(foreign(tmp_path / "greedy", greedy, pd.DataFrame({"load": [1.0]})))
    assert server.post("/invocations", json={"instances": [{"load": 200.0}]}).status_code == 500


def test_who_waits_too_long_is_told_so_and_so_is_who_watches(caller: Caller, tmp_path: Path, eventually: Callable[..., Any]):
    def slow(model_input: pd.DataFrame) -> list[float]:
        import time

        time.sleep(0.0 if model_input["load"].iloc[0] == 1 else 2)
        return model_input["load"].tolist()

    server = caller(foreign(tmp_path / "slow", slow, pd.DataFrame({"load": [1.0]})), timeout=0.2)
    answer = server.post("/invocations", json={"instances": [{"load": 2.0}]})
    assert (answer.status_code, answer.json()["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert counted(server, "lakeline_errors_total", kind="timeout") == 1
    eventually(lambda: server.get("/readyz").status_code == 503, 2)
    eventually(lambda: server.get("/livez").status_code == 503, 2)
    eventually(lambda: server.get("/livez").status_code == 200)
    assert server.get("/readyz").status_code == 200


def test_a_bug_is_answered_and_its_log_line_quotes_no_row(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*_: object) -> None:
        raise KeyError("a-passenger's-name")

    server = caller()
    monkeypatch.setattr("lakeline.serving.bodies.parse", broken)  # stands for a bug of ours, which there is none to be had of
    answer = server.post("/invocations", json=SPLIT)
    assert (answer.status_code, answer.json()["error_code"]) == (500, "INTERNAL_ERROR")
    said = capsys.readouterr().err
    assert "a-passenger" not in said
    assert "KeyError" in said
