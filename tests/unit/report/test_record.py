"""The documented shape of a record is the one that these tests, and so the page, go by."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from lakeline.report.record import Record


def unknown(value: Any, shape: Any, where: str = "") -> list[str]:
    """Keys that the typed dictionaries don't have."""
    if is_typeddict(shape) and isinstance(value, Mapping):
        hints = get_type_hints(shape)
        found = [f"{where}.{key}" for key in value if key not in hints]
        return found + [each for key in value if key in hints for each in unknown(value[key], hints[key], f"{where}.{key}")]
    if get_origin(shape) is Sequence and not isinstance(value, str):
        return [each for item in value for each in unknown(item, get_args(shape)[0], f"{where}[]")]
    return []


@pytest.mark.parametrize("kind", ["promoted", "first", "held", "refused", "published", "repeated"])
def test_keys_of_a_record_are_documented(kind: str, records: dict[str, dict[str, Any]]):
    assert unknown(records[kind], Record) == []


def test_key_that_is_not_documented_would_be_noticed(records: dict[str, dict[str, Any]]):
    record = records["promoted"]
    record["trials"][0]["speed"] = 3
    assert unknown(record, Record) == [".trials[].speed"]
