"""What the report of a run says that was cut short before its last step, out of a real lake."""

import json
from pathlib import Path

import pytest

from lakeline.lake import CommitId, Lake, open_lake
from lakeline.report import build
from lakeline.report.delivered import data
from lakeline.report.left import left_in_lake

RAW = {
    "passed": False,
    "rows": 29327,
    "checks": [{"check": "dep_delay is a number", "failed": 412, "samples": [{"row": 118, "value": "n/a"}]}],
}
CLEAN = {"passed": True, "rows": 28841, "checks": []}


def _ingest(lake: Lake, content: dict[str, object] | None) -> tuple[str, CommitId]:
    """Branch of a delivery as `ingest` leaves it, with the report that `validate` commits if it gets there."""
    lake.create_branch("ingest-2013-08", "main")
    commit = lake.commit("ingest-2013-08", {"raw/2013-08.parquet": b"PAR1"}, "Ingest 2013-08", {"source": "a file"})
    if content is not None:
        lake.commit("ingest-2013-08", {"_lakeline/reports/2013-08.json": json.dumps(content).encode()}, "Report")
    return "ingest-2013-08", commit


@pytest.fixture
def lake(home: Path) -> Lake:
    return open_lake("flights", create=True)


def test_failed_checks_are_read_from_the_branch(lake: Lake):
    branch, commit = _ingest(lake, {"raw": RAW})
    ingested = {"Output": "new", "branch": branch, "commit": commit, "arrivals": ["2013-08"]}
    found = left_in_lake("flights", ["2013-08"], ingested)
    assert found["data"] == {
        "status": "new",
        "branch": "ingest-2013-08",
        "arrivals": [{"id": "2013-08", "source": "a file", "rows_raw": 29327}],
    }
    assert found["validation"] == [{"arrival": "2013-08", "layer": "raw"} | RAW]
    html = build(found | {"run": {"status": "failed", "error": "412 of 29,327 rows fail"}})
    assert "2013-08 was refused: 412 of 29,327 raw rows fail “dep_delay is a number”." in html
    assert "ingest-2013-08" in html


def test_run_that_ended_before_its_checks_has_the_arrivals_only(lake: Lake):
    branch, commit = _ingest(lake, None)
    found = left_in_lake("flights", ["2013-08"], {"Output": "new", "branch": branch, "commit": commit, "arrivals": ["2013-08"]})
    assert found["data"]["arrivals"] == [{"id": "2013-08", "source": "a file"}]
    assert found["validation"] == []


def test_repeated_arrival_is_told_from_main(lake: Lake):
    said = {"source": "a file", "raw": RAW, "clean": CLEAN}
    commit = lake.commit("main", {"_lakeline/reports/2013-08.json": json.dumps(said).encode()}, "Publish")
    found = left_in_lake("flights", ["2013-08"], {"Output": "repeated", "branch": "", "commit": commit, "arrivals": []})
    rows = {"rows_raw": 29327, "rows_clean": 28841}
    assert found == {"data": {"status": "repeated", "commit": commit, "arrivals": [{"id": "2013-08", "source": "a file"} | rows]}}


@pytest.mark.parametrize("ingested", [{}, {"Output": "new", "branch": "ingest-2013-08", "commit": "0" * 40, "arrivals": ["2013-08"]}])
def test_nothing_is_said_where_the_lake_has_nothing_to_say(lake: Lake, ingested: dict[str, object]):
    assert left_in_lake("flights", ["2013-08"], ingested) == {}


def test_rows_left_out_of_a_source_are_said_in_the_report():
    said = "3 rows of local:all.csv left out, for source.where is null there."

    section = data({"data": {"status": "new", "commit": "c", "arrivals": [{"id": "2013-08"}], "left_out": [said]}})

    assert section is not None
    assert section.intro == said
