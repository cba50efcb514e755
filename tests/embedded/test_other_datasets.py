"""The other data sets, against the reference results of their sources."""

from pathlib import Path

import pytest

from lakeline.data.specfile import pinned_spec
from lakeline.lake import open_lake
from tests.embedded.conftest import Lakeline


@pytest.fixture(scope="module")
def taxi(data: Path) -> dict[str, str]:
    if not (data / "nyc-taxi" / "green_tripdata_2021-03.parquet").is_file():
        pytest.skip("LAKELINE_DATA has no nyc-taxi")
    return {"LAKELINE_DATA": str(data)}


def test_taxi_gives_the_reference_numbers(lakeline: Lakeline, taxi: dict[str, str]):
    done = lakeline("run", "continuous", "-d", "nyc-taxi", "--color", "green", "--year", "2021", "--month", "3", "--trials", "1", **taxi)
    assert done.code == 0, done.said
    assert (done.result["rows_raw"], done.result["rows_clean"]) == (83_827, 80_372)
    assert done.result["metrics"]["rmse"] == pytest.approx(10.4884, abs=5e-5)


def test_months_with_drifted_schemas_are_one_data_set(lakeline: Lakeline, taxi: dict[str, str]):
    done = lakeline("run", "data", "-d", "nyc-taxi", "--arrival", "green-2023-01,green-2023-02", **taxi)
    assert done.code == 0, done.said
    assert done.result["arrivals"] == ["green-2023-01", "green-2023-02"]
    learned = lakeline("run", "training", "-d", "nyc-taxi", "--learn-from", "green-2023-*", "--trials", "1", **taxi)
    assert learned.code == 0, learned.said
    assert learned.result["metrics"]["rmse"] < 9


def test_impossible_month_is_refused_before_anything_is_written(lakeline: Lakeline, shared_home: Path):
    before = sorted(path.name for path in shared_home.iterdir())
    refused = lakeline("run", "data", "-d", "nyc-taxi", "--color", "green", "--year", "2022", "--month", "13")
    assert refused.code == 2
    assert "there is no month 13. Give --month 1 to 12." in refused.said
    assert sorted(path.name for path in shared_home.iterdir()) == before


def test_truncated_parquet_is_refused(lakeline: Lakeline, taxi: dict[str, str], tmp_path: Path):
    whole = Path(taxi["LAKELINE_DATA"], "nyc-taxi", "green_tripdata_2022-05.parquet").read_bytes()
    (tmp_path / "nyc-taxi").mkdir()
    (tmp_path / "nyc-taxi" / "green_tripdata_2022-05.parquet").write_bytes(whole[: len(whole) // 2])
    refused = lakeline("run", "data", "-d", "nyc-taxi", "--arrival", "green-2022-05", LAKELINE_DATA=str(tmp_path))
    assert refused.code == 1
    assert "green-2022-05" in refused.result["error"]
    assert "Traceback" not in refused.said


def test_bikes_learn_without_what_leaks(lakeline: Lakeline, data: Path, at_home: Path):
    if not (data / "bike-sharing" / "hour.csv").is_file():
        pytest.skip("LAKELINE_DATA has no bike-sharing")
    local = {"LAKELINE_DATA": str(data)}
    done = lakeline("run", "continuous", "-d", "bike-sharing", "--arrival", "2011", "--trials", "5", **local)
    assert done.code == 0, done.said
    assert done.result["rows_raw"] == 8_645
    assert len(done.result["trials"]) == 5
    assert 0.5 < done.result["metrics"]["r2"] < 0.999, "the sum of casual and registered would give 1"
    lake = open_lake("bike-sharing")
    assert at_home.is_dir()
    assert not {"casual", "registered"} & set(pinned_spec(lake, lake.resolve("main")).spec.clean.columns)
