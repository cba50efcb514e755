"""What changed in the data, in words, out of real profiles of rows."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakeline.data.profile import changes, profile
from lakeline.report.changes import tables


@pytest.fixture
def remarks(tmp_path: Path) -> Any:
    def compare(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> dict[str, str]:
        profiles = []
        for name, columns in (("before", before), ("after", after)):
            pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
            profiles.append(profile(tmp_path / f"{name}.parquet"))
        found = tables(changes([profiles[0]], [profiles[1]]))
        assert found is not None
        return {row[0].text: row[1].marked.replace("\u00a0", " ") for row in found[1][0].rows}

    return compare


def test_same_rows_are_as_before(remarks: Any):
    rows = {"distance": [1.0, 2.0, 3.0], "origin": ["EWR", "JFK", "LGA"]}
    assert remarks(rows, rows) == {"distance": "as before", "origin": "as before"}


def test_shift_nulls_and_new_categories_are_named(remarks: Any):
    before = {"delay": [1.0, 2.0, 3.0, 4.0], "speed": [1.0, 2.0, 3.0, 4.0], "dest": ["ATL", "BOS", "ATL", "BOS"]}
    after = {"delay": [-6.0, -5.0, -7.0, -4.0], "speed": [2.0, 3.0, None, None], "dest": ["ANC", "ATL", "BOS", "BOS"]}
    assert remarks(before, after) == {"delay": "▲ mean fell", "speed": "▲ nulls rose by 50.0 % of the rows", "dest": "▲ new: ANC"}


def test_many_new_categories_are_counted(remarks: Any):
    said = remarks({"zone": ["z"]}, {"zone": [f"zone {number:02d}" for number in range(30)]})["zone"]
    assert said.startswith("▲ new: zone 00, zone 01,")
    assert said.endswith(" and 22 more")


def test_column_that_was_not_there_is_new(remarks: Any):
    assert remarks({"a": [1.0]}, {"a": [1.0], "b": [True]}) == {"b": "▲ new column", "a": "as before"}


def test_first_delivery_changes_nothing():
    assert tables({"rows": {"before": 0, "after": 10}, "columns": {}}) is None
