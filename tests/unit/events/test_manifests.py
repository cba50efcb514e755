"""What the sensors let through is what the Jobs read, and what they drop is counted."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lakeline.events import payload

EVENTS = Path(__file__).resolve().parents[3] / "kubernetes" / "events"


def sensor(name: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((EVENTS / f"{name}.yaml").read_text())["spec"]


def dependency(name: str, wanted: str) -> dict[str, Any]:
    return next(one for one in sensor(name)["dependencies"] if one["name"] == wanted)


def patterns(name: str, wanted: str) -> dict[str, str]:
    return {one["path"]: one["value"][0] for one in dependency(name, wanted)["filters"]["data"]}


def passes(name: str, wanted: str, body: dict[str, Any]) -> bool:
    """Judge a body as Argo Events does: text by regular expression, all of the filters or, with `or`, one of them."""
    filters = dependency(name, wanted)["filters"]

    def text(path: str) -> str:
        value = body.get(path.removeprefix("body."))
        return "" if value is None else value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    matched = [
        bool(re.search(one["value"][0].replace("$", r"\Z"), text(one["path"]))) != (one.get("comparator") == "!=")
        for one in filters["data"]
    ]
    return any(matched) if filters.get("dataLogicalOperator") == "or" else all(matched)


def test_sensor_of_merges_lets_through_what_the_job_reads():
    assert patterns("merge", "merge") == {
        "body.event_type": "^post-(merge|commit)$",
        "body.repository_id": payload.REPOSITORY,
        "body.branch_id": "^main$",
        "body.commit_id": "^[0-9a-f]{64}$",
    }


def test_sensor_of_aliases_lets_through_what_the_job_reads():
    assert patterns("alias", "alias") == {
        "body.delivery": payload.DELIVERY,
        "body.model": payload.REPOSITORY,
        "body.alias": "^production$",
        "body.version": payload.NUMBER,
    }


RIGHT: dict[str, dict[str, Any]] = {
    "merge": {"event_type": "post-merge", "repository_id": "things", "branch_id": "main", "commit_id": "a" * 64},
    "arrival": {"dataset": "things", "arrivals": ["2024-01", "2024-02"], "version": "9b2cf5"},
    "alias": {"delivery": "0f3c1a52-9a1e-4c63-8d0e-2b8f3f0a9c11", "model": "things", "alias": "production", "version": "3"},
}
KINDS = {"merge": payload.Merge, "arrival": payload.Arrival, "alias": payload.Alias}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("merge", {"branch_id": "dev"}),
    ("merge", {"branch_id": None}),
    ("merge", {"event_type": "pre-merge"}),
    ("merge", {"commit_id": "$(HOME)"}),
    ("merge", {"commit_id": "a" * 64 + "\n"}),
    ("merge", {"repository_id": {"a": 1}}),
    ("arrival", {"arrivals": []}),
    ("arrival", {"arrivals": ["$(HOME)"]}),
    ("arrival", {"arrivals": [1]}),
    ("arrival", {"arrivals": "2024-01"}),
    ("arrival", {"dataset": None}),
    ("arrival", {"version": "$(HOME)"}),
    ("alias", {"alias": "staging"}),
    ("alias", {"model": "$(HOME)"}),
    ("alias", {"model": None}),
    ("alias", {"version": "0"}),
    ("alias", {"version": ["3"]}),
    ("alias", {"delivery": "$(HOME)"}),
]


@pytest.mark.parametrize("name", ["merge", "arrival", "alias"])
def test_what_is_right_starts_a_job_and_is_not_counted_as_refused(name: str):
    assert passes(name, name, RIGHT[name])
    assert not passes(name, "refused", RIGHT[name])
    payload.parse(KINDS[name], json.dumps(RIGHT[name]))


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_what_is_wrong_is_counted_as_refused_and_starts_nothing(name: str, wrong: dict[str, Any]):
    body = RIGHT[name] | wrong

    assert not passes(name, name, body)
    assert passes(name, "refused", body)


@pytest.mark.parametrize("name", ["merge", "arrival", "alias"])
def test_each_event_is_either_taken_or_refused(name: str):
    """The two filters of a sensor are each other's opposite, of the same fields and patterns."""
    spec = sensor(name)
    pairs = [("arrival", "refused"), ("object", "strange")] if name == "arrival" else [(name, "refused")]
    for good, bad in pairs:
        one, other = dependency(name, good), dependency(name, bad)
        assert one["transform"] == other["transform"]
        assert one["eventName"] == other["eventName"]
        assert patterns(name, good) == patterns(name, bad)
        assert other["filters"]["dataLogicalOperator"] == "or"
        assert {each["comparator"] for each in other["filters"]["data"]} == {"!="}
        assert all("comparator" not in each for each in one["filters"]["data"])
    conditions = {trigger["template"]["name"]: trigger["template"]["conditions"] for trigger in spec["triggers"]}
    assert conditions == {name: " || ".join(good for good, _ in pairs), "refused": " || ".join(bad for _, bad in pairs)}


def test_nothing_but_what_fits_a_pattern_reaches_a_job():
    """Kubernetes puts variables in place of $(NAME) in a Job's arguments."""
    for name in KINDS:
        for found in (one for one in sensor(name)["dependencies"] if one["name"] in (*KINDS, "object")):
            kept = set(re.findall(r"\{(\w+(?:, \w+)+)\}", found["transform"]["jq"])) or {"dataset, arrivals, version"}
            assert {f"body.{field}" for field in kept.pop().split(", ")} == {each["path"] for each in found["filters"]["data"]}
            for each in found["filters"]["data"]:
                assert not re.search(each["value"][0].replace("$", r"\Z"), "$(HOME)")


def test_bus_keeps_what_it_takes():
    """Without encryption, which loses events in this version of NATS, and with limits that are numbers."""
    bus = YAML(typ="safe", pure=True).load((EVENTS / "bus.yaml").read_text())["spec"]["jetstream"]
    stream = YAML(typ="safe", pure=True).load(bus["streamConfig"])

    assert 'key: ""' in bus["settings"]
    assert bus["persistence"]
    assert isinstance(stream["maxBytes"], int)
    assert stream["replicas"] == bus["replicas"]
