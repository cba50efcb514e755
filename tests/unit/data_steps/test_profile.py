"""Profiles: of parts joined as of the whole, and the same every time."""

import datetime as dt
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakeline.data.profile import CATEGORIES, Profile, changes, profile, schema_digest


def of(folder: Path, **columns: Any) -> Profile:
    path = folder / "part.parquet"
    pq.write_table(pa.table(columns), path)
    return profile(path)


def test_parts_joined_are_as_the_whole(tmp_path: Path):
    values = np.random.default_rng(1).normal(1e6, 3, 1000)
    column: list[float | None] = [None if n % 9 == 0 else value for n, value in enumerate(values)]
    parts = [of(tmp_path, v=column[start : start + 100]) for start in range(0, 1000, 100)]
    whole = values[[n for n in range(1000) if n % 9]]

    before = changes(parts, [of(tmp_path, v=[1.0])])["columns"]["v"]["before"]

    assert before == pytest.approx(
        {"null_share": 0.112, "mean": whole.mean(), "std": whole.std(), "min": whole.min(), "max": whole.max()}, rel=1e-9
    )


def test_nan_and_infinity_count_as_nulls(tmp_path: Path):
    assert of(tmp_path, v=[1.0, math.nan, math.inf, None])["columns"]["v"] == {
        "kind": "number", "nulls": 3, "mean": 1.0, "m2": 0.0, "min": 1.0, "max": 1.0,
    }  # fmt: skip


def test_kinds_have_what_can_be_said_of_them(tmp_path: Path):
    at = dt.datetime(2024, 1, 2, 3)  # noqa: DTZ001
    found = of(tmp_path, at=[at, None], ok=[True, None], **{'odd "name"': ["b", "a"]}, nested=[[1], [2]])

    assert found["rows"] == 2
    assert found["columns"] == {
        "at": {"kind": "time", "nulls": 1, "min": "2024-01-02 03:00:00", "max": "2024-01-02 03:00:00"},
        "ok": {"kind": "category", "nulls": 1, "values": ["true"]},
        'odd "name"': {"kind": "category", "nulls": 0, "values": ["a", "b"]},
    }


def test_text_that_is_no_category_is_not_listed(tmp_path: Path):
    many = of(tmp_path, t=[str(n) for n in range(CATEGORIES + 1)])
    few = of(tmp_path, t=["a"])

    assert many["columns"]["t"]["values"] is None
    assert changes([many, few], [few])["columns"]["t"] == {
        "before": {"null_share": 0.0, "categories": None},
        "after": {"null_share": 0.0, "categories": 1},
    }


def test_columns_come_and_go_and_change_their_kind(tmp_path: Path):
    earlier = [of(tmp_path, a=["x"], old=[1]), of(tmp_path, a=[5], old=[2])]

    found = changes(earlier, [of(tmp_path, a=[7], new=[1])])["columns"]

    assert list(found) == ["a", "new"]
    assert found["new"]["before"] == {}
    assert (found["a"]["before"]["mean"], found["a"]["after"]["mean"]) == (5, 7)


def test_column_of_nulls_has_no_mean(tmp_path: Path):
    empty, full = of(tmp_path, v=pa.array([None, None], pa.float64())), of(tmp_path, v=[2.0])

    assert changes([empty], [full])["columns"]["v"]["before"] == {"null_share": 1.0, "mean": None, "std": None, "min": None, "max": None}
    assert changes([empty, full, empty], [full])["columns"]["v"]["before"]["mean"] == 2.0


def test_schema_digest_is_of_names_and_types(tmp_path: Path):
    paths = [tmp_path / name for name in "abc"]
    for path, table in zip(paths, ({"x": [1]}, {"x": [2, 3]}, {"x": [1.0]}), strict=True):
        pq.write_table(pa.table(table), path)

    assert schema_digest(paths[:1]) == schema_digest(paths[:2]) != schema_digest(paths[2:])


def test_columns_under_any_name_and_numbers_beyond_all_bounds_have_a_profile(tmp_path: Path):
    columns = of(tmp_path, X=[1.0, 1e300], x=["a", "b"], file_row_number=[1, 2])["columns"]

    assert (columns["X"]["nulls"], columns["X"]["mean"], columns["x"]["values"], columns["file_row_number"]["max"]) == (
        1,
        1.0,
        ["a", "b"],
        2,
    )
