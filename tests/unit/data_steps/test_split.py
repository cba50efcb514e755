"""Which rows are learned from: drawn as scikit-learn draws them, cut where time says, and never different."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeline.data.spec import RandomSplit
from lakeline.data.specfile import local_spec
from lakeline.data.split import Split, random_masks, split, time_cut
from lakeline.data.sql import run_sql
from lakeline.errors import DataError, UsageError
from tests.unit.data_steps.conftest import SPEC, Toy

SQL_OF_MARK = "SELECT moment, kind, _validation, y FROM raw"
BY_TIME = SPEC.replace("kind: random, seed: 42", "kind: time, column: moment")


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pq.read_table(folder / "train.parquet").to_pandas(), pq.read_table(folder / "holdout.parquet").to_pandas()


def split_toy(toy: Toy, folder: Path, arrivals: str = "*", commit: str | None = None) -> Split:
    return split("toy", commit or toy.lake.resolve("main"), arrivals, folder / "train.parquet", folder / "holdout.parquet")


def rows(n: int, **changed: Any) -> pa.Table:
    moment = pd.date_range("2024-01-01", periods=n, freq="h").to_numpy()
    return pa.table({"moment": moment, "kind": ["a"] * n, "x": np.arange(n, dtype=float), "y": np.arange(n, dtype=float)} | changed)


@given(st.integers(1, 400), st.integers(0, 2**31), st.floats(0.01, 0.9))
@settings(max_examples=60, deadline=None)
def test_held_out_rows_are_those_that_scikit_learn_draws(n: int, seed: int, fraction: float):
    from sklearn.model_selection import train_test_split

    held, valid = random_masks(n, RandomSplit(kind="random", seed=seed, holdout=fraction))

    assert not (held & valid).any()
    assert held.sum() == math.ceil(fraction * n)
    if 0 < held.sum() < n:
        _, theirs = train_test_split(np.arange(n), test_size=fraction, random_state=seed)
        assert sorted(theirs) == np.flatnonzero(held).tolist()


def test_random_split_is_by_arrival_so_that_a_row_once_held_out_stays_so(toy: Toy, tmp_path: Path):
    toy.deliver(1)
    one = split_toy(toy, tmp_path)
    _, before = read(tmp_path)
    toy.deliver(2)
    two = split_toy(toy, tmp_path)
    train, holdout = read(tmp_path)

    assert (one.train_rows, one.holdout_rows, one.validation_rows) == (28, 8, 7)
    assert (two.train_rows, two.holdout_rows, two.validation_rows) == (56, 16, 14)
    assert holdout.iloc[:8].equals(before)
    assert list(train.columns) == ["kind", "x", "y", "_validation"]
    assert list(holdout.columns) == ["kind", "x", "y"]
    assert train["_validation"].sum() == 14
    assert not set(train["x"]) & set(holdout["x"])
    assert train["x"].is_monotonic_increasing


def test_lineage_says_what_the_rows_are_of(toy: Toy, tmp_path: Path):
    commit = toy.deliver(1, 2).commit

    result = split_toy(toy, tmp_path)

    assert result.arrivals == ("01", "02")
    assert result.lineage.items() >= {"dataset": "toy", "data_commit": commit, "data_arrivals": "01,02"}.items()
    assert result.lineage["split"] == '{"kind":"random","seed":42,"holdout":0.2,"validation":0.25}'
    assert len(result.lineage["spec_digest"]) == 64


def test_same_commit_same_bytes(toy: Toy, tmp_path: Path):
    toy.deliver(1, 2)
    contents = []
    for _ in range(2):
        split_toy(toy, tmp_path)
        contents.append([(tmp_path / f"{part}.parquet").read_bytes() for part in ("train", "holdout")])

    assert contents[0] == contents[1]


def test_arrivals_are_chosen_by_pattern(toy: Toy, tmp_path: Path):
    for arrival in ("01", "02", "03"):
        toy.put(arrival, rows(20), tmp_path)

    for pattern, chosen in (("*", "01,02,03"), ("02", "02"), ("0[13]", "01,03"), ("03, 01", "01,03"), ("*,02", "01,02,03")):
        assert split_toy(toy, tmp_path, pattern).lineage["data_arrivals"] == chosen


def test_pattern_that_matches_nothing_is_refused(toy: Toy, tmp_path: Path):
    with pytest.raises(DataError, match=r"has no clean rows\. Bring some: lakeline run data --dataset toy"):
        split_toy(toy, tmp_path)
    toy.deliver(1, 2)
    with pytest.raises(UsageError, match=r"no arrival at [0-9a-f]{12} matches '2024-\*'\. There are: 01, 02\."):
        split_toy(toy, tmp_path, "2024-*")


def test_name_that_may_change_its_meaning_is_refused(toy: Toy, tmp_path: Path):
    commit = toy.deliver(1).commit

    for name in ("main", "toy/01", commit[:10]):
        with pytest.raises(UsageError, match=f"no full commit id. Give that, which means the same for ever: {commit}"):
            split_toy(toy, tmp_path, commit=name)


def test_time_split_holds_out_the_latest_of_all_arrivals(toy: Toy, tmp_path: Path):
    toy.define(BY_TIME)
    toy.put("01", rows(50), tmp_path)
    toy.put("02", rows(50, moment=pd.date_range("2024-01-02", periods=50, freq="h").to_numpy()), tmp_path)

    result = split_toy(toy, tmp_path)

    train, holdout = read(tmp_path)
    valid = train["_validation"]
    assert holdout["moment"].min() > train["moment"].max()
    assert train["moment"][valid].min() > train["moment"][~valid].max()
    assert (result.train_rows, result.holdout_rows) == (80, 20)
    assert result.validation_rows in {20, 21}  # two rows at the very cut are not parted
    assert list(train.columns) == ["kind", "x", "y", "moment", "_validation"]


def test_rows_of_the_same_time_are_not_parted(toy: Toy, tmp_path: Path):
    toy.define(BY_TIME)
    toy.put("01", rows(40, moment=np.repeat(np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "datetime64[us]"), [20, 5, 15])), tmp_path)

    result = split_toy(toy, tmp_path)

    assert (result.train_rows, result.holdout_rows, result.validation_rows) == (25, 15, 5)


def test_all_rows_of_one_time_can_not_be_split_by_it(toy: Toy, tmp_path: Path):
    toy.define(BY_TIME)
    toy.put("01", rows(20, moment=np.repeat(np.datetime64("2024-01-01", "us"), 20)), tmp_path)

    with pytest.raises(DataError, match="leaves 0 to learn from, 0 for validation and 20 held out"):
        split_toy(toy, tmp_path)


def test_row_without_a_time_is_refused(toy: Toy, tmp_path: Path):
    toy.define(BY_TIME)
    toy.put("01", rows(20, moment=pd.date_range("2024-01-01", periods=20).where(np.arange(20) != 6)), tmp_path)

    with pytest.raises(DataError, match=r"1 of 20 rows have no time .*\(first: row 7\)"):
        split_toy(toy, tmp_path)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=80), st.floats(0.01, 0.99))
@settings(max_examples=80, deadline=None)
def test_cut_holds_out_at_least_the_fraction_and_no_time_more_than_needed(times: list[int], fraction: float):
    array = np.array(times)

    cut = time_cut(array, fraction)

    assert (array > cut).sum() < math.ceil(fraction * len(array))
    if (array >= cut).sum() < fraction * len(array):  # then the earliest time alone is before the cut: more would leave no rows
        assert len(set(array[array < cut])) == 1
    else:
        assert (array < cut).any() or len(set(times)) == 1


@pytest.mark.parametrize("bad", [math.nan, None])
def test_target_without_a_value_is_said_with_count_and_row(toy: Toy, tmp_path: Path, bad: float | None):
    toy.put("01", rows(20), tmp_path)
    toy.put("02", rows(20, y=pa.array([1.0] * 7 + [bad] * 3 + [1.0] * 10)), tmp_path)

    with pytest.raises(
        DataError, match=r"^toy 02: 3 of 20 clean rows have no y, which is the target \(first: row 8\)\. Have transform\.sql"
    ):
        split_toy(toy, tmp_path)


def test_few_rows_are_refused(toy: Toy, tmp_path: Path):
    toy.put("01", rows(9), tmp_path)

    with pytest.raises(DataError, match="01: 9 clean rows are too few"):
        split_toy(toy, tmp_path)


def test_arrivals_with_drifted_types_go_together(toy: Toy, tmp_path: Path):
    toy.put("01", rows(20), tmp_path)
    toy.put("02", rows(20, x=pa.array(range(20), pa.int32()), kind=pa.array(["b"] * 20).dictionary_encode()), tmp_path)

    split_toy(toy, tmp_path)

    train, _ = read(tmp_path)
    assert train["x"].dtype == np.float64
    assert set(train["kind"]) == {"a", "b"}


def test_arrivals_with_and_without_nulls_go_together_where_older_versions_wrote_them(toy: Toy, tmp_path: Path):
    """DuckDB writes a column without nulls as one that has none, which is another schema."""
    first, second = rows(20), rows(20, moment=pa.array(np.arange(20) * 1001).cast(pa.timestamp("ns")))
    toy.put("01", first.cast(pa.schema([field.with_nullable(False) for field in first.schema])), tmp_path)
    toy.put("02", second, tmp_path)

    for spec in (SPEC, BY_TIME):
        toy.define(spec)
        assert split_toy(toy, tmp_path).train_rows == 32


def test_column_that_is_called_as_the_mark_is_keeps_its_name(toy: Toy, tmp_path: Path):
    toy.define(SPEC.replace("    x: {", "    _validation: {").replace("numeric: [x]", "numeric: [_validation]"), SQL_OF_MARK)
    toy.put("01", rows(20).rename_columns(["moment", "kind", "_validation", "y"]), tmp_path)

    split_toy(toy, tmp_path)

    train, holdout = read(tmp_path)
    assert list(train.columns) == ["kind", "_validation", "y", "__validation"]
    assert train["__validation"].sum() == 4
    assert list(holdout.columns) == ["kind", "_validation", "y"]


def test_clean_rows_that_the_spec_no_longer_fits_are_refused(toy: Toy, tmp_path: Path):
    for x, said in ((["one"] * 20, r"string, and row 1, 'one', is"), ([1.0] * 11 + [math.inf] * 9, r"double, and row 12, 'inf', is")):
        toy.put("01", rows(20, x=x), tmp_path)
        with pytest.raises(DataError, match=f"^toy 01: clean column x is stored as {said} not a number within .* run the arrival again"):
            split_toy(toy, tmp_path)

    toy.put("01", rows(20).drop_columns(["x"]), tmp_path)
    with pytest.raises(DataError, match="toy 01: the clean rows have no column x"):
        split_toy(toy, tmp_path)


def test_reference_month_scores_what_it_is_known_to(data: Path, tmp_path: Path):
    """SOURCES' reference: 80,372 rows, one-hot of two columns, LinearRegression, validation RMSE 10.4884."""
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import OneHotEncoder

    definition = local_spec("nyc-taxi")
    clean = tmp_path / "clean.parquet"
    counts = run_sql(definition.sql, data / "nyc-taxi/green_tripdata_2021-03.parquet", clean, {}, origin="2021-03")
    assert counts == (83_827, 80_372)
    assert isinstance(definition.spec.split, RandomSplit)
    frame = pq.read_table(clean).to_pandas()
    held, _ = random_masks(len(frame), definition.spec.split)
    features = list(definition.spec.features.all)
    encoder = OneHotEncoder(handle_unknown="ignore").fit(frame.loc[~held, features])
    model = LinearRegression().fit(encoder.transform(frame.loc[~held, features]), frame.loc[~held, "duration"])

    off = model.predict(encoder.transform(frame.loc[held, features])) - frame.loc[held, "duration"]

    assert round(float(np.sqrt(np.mean(off**2))), 4) == 10.4884
