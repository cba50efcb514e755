"""A/B tests: who answers, who passes on, and what becomes of it when the other one is gone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from lakeline.serving.release import variant_of
from tests.unit.serving.models import SPLIT, counted, made_here

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
    assert (refused.status_code, refused.headers["Lakeline-Variant"]) == (400, "challenger")
    assert counted(server, "lakeline_passed_on_total", outcome="answered") == wanted.count("challenger") + 2

    assert challenger.end() == 0
    answer = server.post("/invocations", json=SPLIT, headers={"Lakeline-Key": keys[wanted.index("challenger")]})
    assert (answer.status_code, answer.headers["Lakeline-Variant"]) == (200, "production")
    assert counted(server, "lakeline_passed_on_total", outcome="failed") == 1


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
