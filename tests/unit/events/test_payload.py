"""Events from outside: what is right is read, and what isn't is refused with the reason, whatever it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeline.events import Arrival, MalformedEvent, Merge, parse

COMMIT = "5a0ed2f6b1b8e9f2ce6a0f9a7ba9d1f7bd4a5c63e0d3c1a1d6c9fb2a5f0d1e77"
MERGE: dict[str, Any] = {  # as lakeFS 1.84 posts it
    "event_type": "post-merge",
    "event_time": "2026-03-04T05:06:07Z",
    "action_name": "lakeline",
    "hook_id": "tell",
    "repository_id": "things",
    "branch_id": "main",
    "source_ref": COMMIT,
    "commit_id": COMMIT,
    "commit_message": "Publish 2024-01: 29,327 clean rows",
    "committer": "lakeline",
    "commit_metadata": {".lakefs.merge.strategy": "default", "arrivals": "2024-01"},
    "merge_source": "ingest-2024-01",
}
ARRIVAL: dict[str, Any] = {"dataset": "things", "arrivals": ["2024-01", "2024-02"]}
NEEDED = {"event_type", "repository_id", "branch_id", "commit_id"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*MERGE, *ARRIVAL]) | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=20,
)


def test_event_of_lakefs_is_read():
    event = parse(Merge, json.dumps(MERGE))

    assert (event.repository_id, event.branch_id, event.commit_id) == ("things", "main", COMMIT)
    assert event.commit_metadata["arrivals"] == "2024-01"


def test_what_names_the_commit_is_enough_and_more_is_no_mistake():
    short = {name: MERGE[name] for name in NEEDED} | {"new_in_a_later_lakefs": [1]}

    assert parse(Merge, json.dumps(short)).commit_id == COMMIT


def test_arrivals_are_read():
    assert parse(Arrival, json.dumps(ARRIVAL)).arrivals == ["2024-01", "2024-02"]
    assert parse(Arrival, json.dumps(ARRIVAL | {"version": '9b2cf5"'.strip('"')})).version == "9b2cf5"
    assert parse(Arrival, json.dumps(ARRIVAL | {"version": None})).version is None


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_field_that_is_missing_is_named(missing: str):
    with pytest.raises(MalformedEvent, match=rf"malformed merge event: {missing}: Field required. Nothing was done"):
        parse(Merge, json.dumps({name: value for name, value in MERGE.items() if name != missing}))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("event_type", "pre-merge"),
        ("repository_id", "../etc"),
        ("repository_id", "Things"),
        ("repository_id", "things\n"),
        ("branch_id", "main2"),
        ("branch_id", "ingest-1"),
        ("commit_id", "main"),
        ("commit_id", COMMIT[:12]),
        ("commit_id", COMMIT.upper()),
        ("commit_id", f"{COMMIT}\n"),
        ("commit_id", "$(LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY)"),
        ("commit_id", 7),
        ("commit_id", None),
        ("commit_message", "x" * 9000),
        ("commit_metadata", {"a": 1}),
        ("commit_metadata", {str(number): "" for number in range(201)}),
    ],
)
def test_field_that_is_wrong_is_named(field: str, wrong: object):
    with pytest.raises(MalformedEvent, match=f"malformed merge event: {field}"):
        parse(Merge, json.dumps(MERGE | {field: wrong}))


@pytest.mark.parametrize(
    "wrong",
    [{"arrivals": []}, {"arrivals": ["a b"]}, {"arrivals": "2024-01"}, {"arrivals": ["x"] * 101}, {"dataset": "-"}, {"version": "a b"}],
)
def test_arrival_event_that_is_wrong_is_refused(wrong: dict[str, Any]):
    with pytest.raises(MalformedEvent, match=f"malformed arrival event: {next(iter(wrong))}"):
        parse(Arrival, json.dumps(ARRIVAL | wrong))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('"text"', "no JSON object"),
        ("null", "no JSON object"),
        ('{"commit_id": NaN}', "no JSON"),
        ("[" * 50_000, "nested too deeply|no JSON"),
        (json.dumps(MERGE | {"padding": "x" * 70_000}), "more than 64 KiB"),
        ("ä" * 40_000, "more than 64 KiB"),
        ("\ud800", "no JSON"),
    ],
)
def test_text_that_is_no_event_is_refused(text: str, said: str):
    with pytest.raises(MalformedEvent, match=said):
        parse(Merge, text)


@given(st.text() | JSON.map(json.dumps) | st.dictionaries(st.sampled_from(list(MERGE)), JSON).map(lambda other: json.dumps(MERGE | other)))
def test_whatever_comes_is_an_event_or_refused(text: str):
    for kind in (Merge, Arrival):
        said = ""
        try:
            event = parse(kind, text)
        except MalformedEvent as error:
            said = str(error)
        else:
            assert kind.model_validate(event.model_dump()) == event
        assert said == "" or (said.startswith("malformed") and len(said) < 1000)


@given(st.sampled_from(sorted(NEEDED)), JSON)
def test_no_other_value_of_what_names_the_commit_is_taken(field: str, value: object):
    if value == MERGE[field] or (field == "event_type" and value == "post-commit"):
        return
    if field == "repository_id" and isinstance(value, str) and value.isascii() and value.isalnum():
        return
    with pytest.raises(MalformedEvent):
        parse(Merge, json.dumps(MERGE | {field: value}))
