"""Truth that people bring: checked before it is committed, and no delivery that anything is trained from."""

from pathlib import Path

import pandas as pd
import pytest

from lakeline.data.spec import Target
from lakeline.errors import DataError, UsageError
from lakeline.events.deliveries import fate
from lakeline.serving.experiment.truth import bring, truth_since
from tests.unit.serving.experiment.conftest import Trial


def test_file_is_committed_as_it_can_be_joined(trial: Trial, tmp_path: Path):
    path = tmp_path / "july.csv"
    path.write_text("key,minutes,note\n007,12.5,late\n8,3,\n")

    commit, rows = bring(trial.lake, trial.spec, path)

    assert rows == 2
    assert trial.lake.exists(commit, "truth/july.parquet")
    said = truth_since(trial.lake, trial.spec, 0).to_pylist()
    assert [(each["kind"], each["id"], each["row"], each["target"]) for each in said] == [("key", "007", 0, 12.5), ("key", "8", 0, 3.0)]


def test_nothing_is_trained_from_it(trial: Trial, tmp_path: Path):
    path = tmp_path / "july.csv"
    path.write_text("key,minutes\n7,12.5\n")
    assert fate(trial.lake, bring(trial.lake, trial.spec, path)[0]) == "no delivery"


def test_parquet_with_requests_and_rows_is_taken_too(trial: Trial, tmp_path: Path):
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"request_id": ["a", "a"], "row": [0, 1], "minutes": [1.0, 2.0]}).to_parquet(path)
    bring(trial.lake, trial.spec, path)
    said = truth_since(trial.lake, trial.spec, 0).to_pylist()
    assert [(each["kind"], each["id"], each["row"]) for each in said] == [("row", "a", 0), ("row", "a", 1)]


@pytest.mark.parametrize("target", ["row", "key"])
def test_target_may_be_called_as_an_id_is(trial: Trial, tmp_path: Path, target: str):
    spec = trial.spec.model_copy(update={"target": Target(column=target)})
    path = tmp_path / "july.csv"
    path.write_text(f"request_id,{target}\na,12.5\n")

    bring(trial.lake, spec, path)

    said = truth_since(trial.lake, spec, 0).to_pylist()
    assert [(each["kind"], each["id"], each["row"], each["target"]) for each in said] == [("request", "a", 0, 12.5)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key,hours\n7,12.5\n", "has the columns key, hours; needed are minutes, and key or request_id"),
        ("key,request_id,minutes\n7,a,1\n", "but not both"),
        ("minutes\n1\n", "needed are minutes"),
    ],
)
def test_file_with_other_columns_is_refused(trial: Trial, tmp_path: Path, text: str, said: str):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        bring(trial.lake, trial.spec, path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key,minutes\n7,12.5\n8,n/a\n9,\n", r"2 of 3 rows lack key, and minutes as a number \(first: row 2\)"),
        ("key,minutes\n,12.5\n", "1 of 1 rows lack key"),
        ("key,minutes\n7,1\n7,2\n", r"different things of 1 predictions \(first: key 7\)"),
        ("request_id,row,minutes\na,0,1\na,x,2\n", "1 of 2 rows lack request_id and row"),
    ],
)
def test_file_with_rows_that_can_not_be_used_is_refused_whole(trial: Trial, tmp_path: Path, text: str, said: str):
    before = trial.lake.resolve("main")
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        bring(trial.lake, trial.spec, path)
    assert trial.lake.resolve("main") == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("bad.csv", b"key,minutes\n7,1,\n", "line 2 has 3 fields; the line of names has 2"),
        ("bad.csv", b'key,minutes\n7,"1\n', "line 2 has a quote that does not end"),
        ("bad.csv", b"\x1f\x8b\xff", "is gzip-compressed, not text"),
        ("bad.csv", b"", "has no line of column names"),
        ("bad.parquet", b"key,minutes\n", "is no Parquet file"),
    ],
)
def test_file_that_can_not_be_read_is_refused_in_our_words(trial: Trial, tmp_path: Path, name: str, content: bytes, said: str):
    before = trial.lake.resolve("main")
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=rf"{name} {said}.*Nothing was committed"):
        bring(trial.lake, trial.spec, tmp_path / name)

    assert trial.lake.resolve("main") == before


def test_file_that_is_none_is_refused(trial: Trial, tmp_path: Path):
    with pytest.raises(UsageError, match="there is no such file"):
        bring(trial.lake, trial.spec, tmp_path / "gone.csv")
    (tmp_path / "x.xlsx").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"give a \.csv or \.parquet file"):
        bring(trial.lake, trial.spec, tmp_path / "x.xlsx")
    (tmp_path / "bad.parquet").write_bytes(b"no Parquet")
    with pytest.raises(DataError, match=r"bad\.parquet"):
        bring(trial.lake, trial.spec, tmp_path / "bad.parquet")


def test_clean_rows_without_the_key_are_an_error_that_says_so(trial: Trial):
    trial.deliver({"load": [1.0], "minutes": [2.0]})
    with pytest.raises(DataError, match="has no column 'parcel'"):
        truth_since(trial.lake, trial.spec, 0)
