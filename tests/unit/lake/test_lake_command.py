"""`lakeline lake`: what people and scripts see of a lake."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lakeline.errors import LakeNotFound, UsageError
from lakeline.lake import Lake
from pipelines.commands.lake import app

SAMPLES = [{"row": 118, "value": "n/a"}, {"row": 120, "value": None}]
CHECKS = [
    {"check": "delay is a number", "column": "delay", "failed": 412, "samples": SAMPLES},
    {"check": "origin is text", "column": "origin", "failed": 0, "samples": []},
    {"check": "columns", "column": None, "failed": 0, "samples": [], "problem": "column 'year' is missing"},
]
REPORT = {"raw": {"passed": False, "rows": 29327, "checks": CHECKS}}
GOOD = {"raw": {"passed": True, "rows": 10, "checks": CHECKS[1:2]}}


@pytest.fixture
def things(lake: Lake) -> Lake:
    """Return a lake with two arrivals: one published, one refused."""
    lake.commit("main", {"_lakeline/dataset.yaml": b"name: things\n"}, "Push the spec")
    for arrival, report in (("2013-07", GOOD), ("2013-08", REPORT)):
        lake.create_branch(f"ingest-{arrival}", "main")
        metadata = {"arrivals": arrival, "rows_raw": "29327", "rows_clean": "28000"}
        lake.commit(f"ingest-{arrival}", {f"raw/{arrival}.parquet": b"PAR1" * 1000}, f"Bring [{arrival}]\n\nMore.", metadata)
        lake.commit(f"ingest-{arrival}", {f"_lakeline/reports/{arrival}.json": json.dumps(report).encode()}, "Report")
    lake.merge("ingest-2013-07", "main", "Publish 2013-07")
    lake.tag("things/2013-07", "main")
    return lake


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result


def call_json(*arguments: str) -> dict:
    result = call(*arguments, "--json")
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_log_shows_commits_newest_first(things: Lake):
    lines = call("log", things.name, "--ref", "ingest-2013-08").stdout.splitlines()

    assert "Report" in lines[1]
    assert things.resolve("ingest-2013-08")[:12] in lines[1]
    assert "Bring [2013-08]" in lines[2]
    assert "2013-08, 29,327 raw → 28,000 clean rows" in lines[2]
    assert "More." not in lines[2]


def test_log_as_json(things: Lake):
    answer = call_json("log", things.name, "-n", "2")

    assert (answer["dataset"], answer["ref"]) == (things.name, "main")
    newest, *_ = commits = answer["commits"]
    assert len(commits) == 2
    assert newest["id"] == things.resolve("main")
    assert newest["parents"][1] == things.resolve("ingest-2013-07")
    assert set(newest) == {"id", "parents", "message", "author", "time", "metadata"}


def test_show_says_why_an_arrival_was_refused(things: Lake):
    shown = call("show", things.name, "ingest-2013-08").stdout

    assert things.resolve("ingest-2013-08") in shown
    assert "raw/2013-08.parquet" in shown
    assert "4,000" in shown
    assert "delay is a number" in shown
    assert "412 of 29,327" in shown
    assert "row 118: 'n/a'" in shown
    assert "column 'year' is missing" in shown
    assert "origin is text" not in shown


def test_show_of_what_was_published_has_no_failures(things: Lake):
    shown = call("show", things.name, "things/2013-07").stdout

    assert "raw/2013-07.parquet" in shown
    assert "check that failed" not in shown


def test_show_as_json(things: Lake):
    answer = call_json("show", things.name, "ingest-2013-08")

    assert answer["url"] == things.url
    assert answer["commit"]["id"] == things.resolve("ingest-2013-08")
    assert answer["reports"] == {"2013-08": REPORT}
    assert [entry["path"] for entry in answer["files"]][-1] == "raw/2013-08.parquet"
    assert answer["files"][-1]["size"] == 4000
    assert call_json("show", things.name, "main")["reports"] == {}


def test_diff_lists_changes(things: Lake):
    assert call("diff", things.name, "main", "main").stdout == "no file differs\n"
    shown = call("diff", things.name, "main", "ingest-2013-08").stdout
    assert "added" in shown
    assert "raw/2013-07.parquet" in shown

    answer = call_json("diff", things.name, "main~1", "main")
    assert answer["other"] == things.resolve("main")
    assert answer["changes"] == [
        {"path": "_lakeline/reports/2013-07.json", "kind": "added"},
        {"path": "raw/2013-07.parquet", "kind": "added"},
    ]


def test_get_writes_to_standard_output_or_a_file(things: Lake, tmp_path: Path):
    assert call("get", things.name, "main", "_lakeline/dataset.yaml").stdout_bytes == b"name: things\n"

    said = call("get", things.name, "things/2013-07", "raw/2013-07.parquet", "-o", str(tmp_path)).stdout
    assert (tmp_path / "2013-07.parquet").read_bytes() == b"PAR1" * 1000
    assert "4,000 bytes" in said

    answer = call_json("get", things.name, "main", "_lakeline/dataset.yaml", "-o", str(tmp_path / "new" / "spec.yaml"))
    assert Path(answer["file"]).read_bytes() == b"name: things\n"
    assert (answer["size"], answer["commit"]) == (13, things.resolve("main"))


def test_branches_and_tags_are_listed(things: Lake):
    assert "ingest-2013-08" in call("branches", things.name).stdout
    assert "things/2013-07" in call("tags", things.name).stdout

    assert [branch["name"] for branch in call_json("branches", things.name)["branches"]] == ["ingest-2013-07", "ingest-2013-08", "main"]
    assert call_json("tags", things.name)["tags"] == [{"name": "things/2013-07", "commit": things.resolve("main")}]


def test_lake_without_tags_says_so(lake: Lake):
    assert call("tags", lake.name).stdout == "no tag yet\n"


def test_what_is_wrong_is_left_to_the_command_line_to_say(things: Lake):
    for arguments, kind in (
        (["log", "nothing-here"], LakeNotFound),
        (["show", things.name, "ingest-2013-09"], LakeNotFound),
        (["get", things.name, "main", "raw/2013-09.parquet"], LakeNotFound),
        (["get", things.name, "main", "_lakeline/dataset.yaml", "--json"], UsageError),
        (["log", "No Name"], UsageError),
    ):
        with pytest.raises(kind):
            call(*arguments)


def test_help_has_an_example_for_each_command():
    for command in ("log", "show", "diff", "get"):
        assert f"lakeline lake {command} DATASET" in call(command, "--help").stdout
    assert "things" not in call("--help").stdout
