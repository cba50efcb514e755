"""Requests that nobody would think of: whatever is sent, it is predicted, or refused for what it is."""

import json
import math
from collections.abc import Callable
from typing import Any

import httpx
import pandas as pd
import pytest
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lakeline.serving.rows import Column, parse_csv, parse_json
from tests.unit.serving.models import FEATURES, ROW

COLUMNS = (Column("route", "string"), Column("weather", "string", True), Column("load", "double"), Column("wind", "double", True))

often = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
seldom = settings(often, max_examples=60)

values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("") | st.integers(10**300, 10**310)
things = st.recursive(values, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12)
names = st.sampled_from(FEATURES) | st.text(max_size=3)
rows = st.dictionaries(names, things, max_size=5) | st.builds(lambda name, value: ROW | {name: value}, names, things)
records = st.sampled_from(["instances", "inputs", "dataframe_records"])
lines = st.lists(st.lists(things, max_size=5), max_size=4) | things
split = st.builds(lambda columns, data: {"columns": columns, "data": data}, st.lists(names, max_size=5) | things, lines)
bodies = st.one_of(
    st.builds(lambda form, given: {form: given}, records, st.lists(rows, max_size=4) | things),
    split.map(lambda given: {"dataframe_split": given}),
    st.dictionaries(names, st.lists(things, max_size=3), max_size=5).map(lambda columns: {"inputs": columns}),
    things,
)
table_like = st.text(alphabet='route,load"\n\r\0\v\u2028 1.e-é', max_size=80).map(str.encode)
headers = ["Content-Type", "Content-Encoding", "X-Request-Id", "Lakeline-Key", "Lakeline-Variant", "Content-Length", "Authorization"]


@pytest.fixture
def server(caller: Callable[..., httpx.Client]) -> httpx.Client:
    return caller(max_bytes=100_000)


def judged(answer: httpx.Response) -> None:
    """What holds of every answer."""
    assert answer.status_code in (200, 400, 413, 415, 422), (answer.status_code, answer.text)
    said = answer.json()
    if answer.status_code == 200:
        assert said["predictions"]
        assert all(isinstance(value, float) and math.isfinite(value) for value in said["predictions"])
    else:
        assert said["error_code"] == "BAD_REQUEST"
        assert 10 < len(said["message"]) < 1000
        said["message"].encode()


@often
@given(body=bodies)
@example(body={"instances": [ROW | {"route": "\ud800"}]})
@example(body={"instances": [ROW | {"load": 1.7e308, "wind": -1.7e308}]})
def test_no_json_is_answered_with_a_failure(server: httpx.Client, body: Any):
    judged(server.post("/invocations", content=json.dumps(body), headers={"Content-Type": "application/json"}))


@often
@given(body=st.binary(max_size=300) | table_like, kind=st.sampled_from(["application/json", "text/csv"]))
def test_no_bytes_are_answered_with_a_failure(server: httpx.Client, body: bytes, kind: str):
    judged(server.post("/invocations", content=body, headers={"Content-Type": kind}))


@seldom
@given(name=st.sampled_from(headers), value=st.binary(max_size=300))
def test_no_header_is_answered_with_a_failure(server: httpx.Client, name: str, value: bytes):
    content = json.dumps({"instances": [ROW]}).encode()
    judged(server.post("/invocations", content=content, headers=[(b"Content-Type", b"application/json"), (name.encode(), value)]))


def test_what_the_description_allows_is_predicted_and_what_it_does_not_is_refused(caller: Callable[..., httpx.Client]):
    """By schemathesis: bodies and headers that the OpenAPI document allows, and ones that it doesn't."""
    server = caller()
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json").json())
    seen: dict[str, set[int]] = {}
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
        statuses = seen[mode.value] = set[int]()

        @settings(often, max_examples=120, database=None)
        @given(case=schema["/invocations"]["POST"].as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url="http://server")
            parts = {part: sent[part] for part in ("json", "data", "headers", "params") if sent.get(part) is not None}
            try:
                answer = server.request(sent["method"], sent["url"], **parts)
            except (UnicodeEncodeError, TypeError, ValueError):  # no client can send it
                return
            judged(answer)
            statuses.add(answer.status_code)  # noqa: B023 (asked at once)

        ask()
    assert 200 in seen["positive"]
    assert seen["negative"] & {400, 415}


@often
@given(routes=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1), min_size=1, max_size=5))
def test_csv_as_pandas_writes_it_is_read_as_json_is(routes: list[str]):
    frame = pd.DataFrame({"route": routes, "load": [float(number) for number in range(len(routes))]})
    by_csv = parse_csv(frame.to_csv(index=False).encode(), COLUMNS, 10)
    by_json = parse_json(json.dumps({"instances": frame.to_dict("records")}).encode(), COLUMNS, 10)
    assert by_csv == by_json
