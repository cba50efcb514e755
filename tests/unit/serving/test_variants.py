"""A/B tests: who answers, who passes on, and what becomes of it when the other one is gone."""

import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow.dataset as ds
import pytest

from lakeline.serving.release import variant_of
from tests.unit.serving.models import SPLIT, counted, foreign, made_here

Caller = Callable[..., httpx.Client]


def test_a_key_is_answered_by_its_variant_and_that_one_is_named(caller: Caller, folder: Path, start: Callable[..., Any], tmp_path: Path):
    """Production's server passes on what is the challenger's, a real process here, and answers itself when that one is gone."""
    challenger = start(made_here(tmp_path / "better", seed=1), variant="challenger")
    server = caller(experiment="e1", weight=0.5, peer=challenger.url)
    keys = [f"key{number}" for number in range(20)]
    wanted = [variant_of(key, "e1", 0.5) for key in keys]
    assert set(wanted) == {"production", "challenger"}

    answers = [server.post("/invocations", json=SPLIT, headers={"Lakeline-Key": key, "X-Request-Id": f"r-{key}"}) for key in keys]

    assert [answer.headers["Lakeline-Variant"] for answer in answers] == wanted
    assert [answer.headers["X-Request-Id"] for answer in answers] == [f"r-{key}" for key in keys]
    of_both = {variant: {answer.text for answer in answers if answer.headers["Lakeline-Variant"] == variant} for variant in set(wanted)}
    assert [len(texts) for texts in of_both.values()] == [1, 1]
    assert of_both["production"] != of_both["challenger"]
    assert server.post("/invocations", json=SPLIT).headers["Lakeline-Variant"] == "production"  # no key: whoever gets it
    forced = server.post(
        "/invocations", json=SPLIT, headers={"Lakeline-Variant": "challenger", "Lakeline-Key": keys[wanted.index("production")]}
    )
    assert forced.headers["Lakeline-Variant"] == "challenger"
    refused = server.post("/invocations", json={"instances": []}, headers={"Lakeline-Variant": "challenger"})
    assert (refused.status_code, refused.headers["Lakeline-Variant"]) == (400, "production")
    assert counted(server, "lakeline_passed_on_total", outcome="answered") == wanted.count("challenger") + 1
    assert counted(server, "lakeline_passed_on_total", outcome="failed") == 1

    assert challenger.end() == 0
    answer = server.post("/invocations", json=SPLIT, headers={"Lakeline-Key": keys[wanted.index("challenger")]})
    assert (answer.status_code, answer.headers["Lakeline-Variant"]) == (200, "production")
    assert counted(server, "lakeline_passed_on_total", outcome="failed") == 2


def test_what_only_the_challenger_refuses_is_answered_by_production_and_known_to_the_test(start: Callable[..., Any], tmp_path: Path):
    """Else callers would pay for the test, and the challenger would be judged by nothing but what it can do."""

    def picky(model_input: pd.DataFrame) -> list[float]:
        if (model_input["load"] > 1000).any():
            raise RuntimeError("overloaded")
        return [float("nan") if load > 100 else -load for load in model_input["load"]]

    example = pd.DataFrame({"load": [1.0]})
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        of_production, of_challenger = (f"http://127.0.0.1:{listening.getsockname()[1]}" for listening in (first, second))
        told = {"experiment": "e1", "weight": 1, "predictions": log}
        production = foreign(tmp_path / "p", lambda model_input: model_input["load"].tolist(), example)
        servers = [
            start(production, first, peer=of_challenger, **told),
            start(foreign(tmp_path / "c", picky, example), second, variant="challenger", peer=of_production, **told),
        ]
        for load in (1.0, 200.0, 2000.0):
            answered = ("challenger", -load) if load == 1 else ("production", load)
            for way, url in {"key": of_production, "gateway": of_challenger}.items():
                said = {"Lakeline-Key": f"{way}-{load:g}", "X-Request-Id": f"r-{way}-{load:g}"}
                answer = httpx.post(f"{url}/invocations", json={"instances": [{"load": load}]}, headers=said)
                assert (answer.status_code, answer.headers["Lakeline-Variant"], answer.json()["predictions"]) == (
                    200, answered[0], [answered[1]],
                )  # fmt: skip
        asked = httpx.post(
            f"{of_challenger}/invocations", json={"instances": [{"load": 200.0}]}, headers={"Lakeline-Variant": "challenger"}
        )
        assert asked.status_code == 422  # who asks for the challenger hears what it says
        neither = httpx.post(f"{of_challenger}/invocations", json={"instances": [{"load": None}]})
        assert (neither.status_code, neither.headers["Lakeline-Variant"]) == (400, "challenger")
        assert [server.end() for server in servers] == [0, 0]
    logged = {
        (row["request_id"], row["key"], row["experiment"], row["variant"]): row["prediction"]
        for row in ds.dataset(log).to_table().to_pylist()
        if row["key"]
    }
    expected: dict[Any, float] = {}
    for way in ("key", "gateway"):
        expected |= {(f"r-{way}-1", f"{way}-1", "e1", "challenger"): -1.0}
        for load in (200, 2000):
            unit = (f"r-{way}-{load}", f"{way}-{load}", "e1")
            expected |= {(*unit, "challenger"): math.nan, (*unit, "production"): load}
    assert logged == pytest.approx(expected, nan_ok=True)


def test_a_request_that_was_passed_on_is_answered_whatever_its_key_says(caller: Caller):
    """Two servers that each take the other for its owner must not send it to and fro."""
    server = caller(experiment="e1", weight=1, peer="http://127.0.0.1:9", unkeyed=True)
    passed = {"Lakeline-Passed-On": "1", "Lakeline-Variant": "challenger", "Lakeline-Key": "k"}
    assert server.post("/invocations", json=SPLIT, headers=passed).headers["Lakeline-Variant"] == "production"
    assert counted(server, "lakeline_passed_on_total", outcome="failed") == 0


def test_requests_without_a_key_are_shared_out_where_nothing_else_does_so(caller: Caller):
    server = caller(experiment="e1", weight=0.5, peer="http://127.0.0.1:9", unkeyed=True)  # nobody there: it answers all of them itself
    ids = [f"id{number}" for number in range(30)]
    for request_id in ids:
        assert server.post("/invocations", json=SPLIT, headers={"X-Request-Id": request_id}).status_code == 200
    tried = counted(server, "lakeline_passed_on_total", outcome="failed")
    assert tried == sum(variant_of(request_id, "e1", 0.5) == "challenger" for request_id in ids)
