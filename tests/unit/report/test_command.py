"""`lakeline report` and `lakeline ui`, as they are typed."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from lakeline.errors import UsageError
from pipelines.commands import report
from tests.ports import free_port

PROJECT = Path(__file__).resolve().parents[3]

app = typer.Typer()
app.command("report")(report.report)
app.command("ui")(report.ui)


def lakeline(*words: str) -> Result:
    return CliRunner().invoke(app, words)


@pytest.fixture
def runs(home: Path) -> Path:
    """Three runs: the first has a report, the second one and a record, the third is under way."""
    folder = home / "runs"
    for hour, name in enumerate(("data-20131101-100000-aa", "training-20131101-110000-bb", "training-20131101-120000-cc")):
        (folder / name).mkdir(parents=True)
        arguments = folder / name / "arguments.json"
        arguments.write_text('{"dataset": "flights"}')
        os.utime(arguments, (1383300000 + 3600 * hour, 1383300000 + 3600 * hour))
        if hour < 2:
            (folder / name / "report.html").write_text("<!DOCTYPE html>")
    record = {"run": {"pipeline": "training", "dataset": "flights", "status": "succeeded"}}
    (folder / "training-20131101-110000-bb" / "record.json").write_text(json.dumps(record))
    return folder.resolve()


def test_latest_report_is_the_default(runs: Path):
    done = lakeline("report")
    assert done.exit_code == 0
    assert done.stdout == f"{runs / 'training-20131101-110000-bb' / 'report.html'}\n"


def test_start_of_an_id_is_enough(runs: Path):
    assert lakeline("report", "data", "--no-open").stdout == f"{runs / 'data-20131101-100000-aa' / 'report.html'}\n"


def test_json_says_which_run(runs: Path):
    folder = runs / "training-20131101-110000-bb"
    assert json.loads(lakeline("report", "--json").stdout) == {
        "run_id": "training-20131101-110000-bb",
        "pipeline": "training",
        "dataset": "flights",
        "status": "succeeded",
        "started": 1383303600,
        "report": str(folder / "report.html"),
        "record": str(folder / "record.json"),
    }


def test_list_has_every_run_latest_first(runs: Path):
    found = json.loads(lakeline("report", "--list", "--json").stdout)["runs"]
    assert [each["run_id"] for each in found] == sorted((path.name for path in runs.iterdir()), key=lambda name: name.split("-", 1)[1])[
        ::-1
    ]
    assert [each["report"] is None for each in found] == [True, False, False]
    text = lakeline("report", "--list").stdout
    assert "training-20131101-120000-cc" in text
    assert "succeeded" in text


def test_empty_list_says_what_to_do(home: Path):
    assert "lakeline demo" in lakeline("report", "--list").stdout
    assert json.loads(lakeline("report", "--list", "--json").stdout) == {"runs": []}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("march", r"there is no run 'march' on this machine\. The latest: training-20131101-120000-cc, .* See: lakeline report --list"),
        ("training", r"2 runs start with 'training': .*\. Give more of the id\."),
        ("training-20131101-12", r"training-20131101-120000-cc left no report: it is under way, or was cut short\. Its log: .*run\.log"),
    ],
)
def test_wrong_run_is_refused_with_what_there_is(runs: Path, word: str, said: str):
    with pytest.raises(UsageError, match=said):
        raise lakeline("report", word).exception or AssertionError("it was not refused")


def test_no_run_yet_is_refused_with_what_to_do(home: Path):
    with pytest.raises(UsageError, match=r"there is no report in .* yet"):
        raise lakeline("report").exception or AssertionError("it was not refused")


def test_record_cut_short_does_not_hide_its_run(runs: Path):
    (runs / "training-20131101-110000-bb" / "record.json").write_text('{"run": {"sta')
    found = json.loads(lakeline("report", "training-20131101-11", "--json").stdout)
    assert found["dataset"] == "flights"
    assert found["status"] is None


def test_ui_without_a_store_says_what_makes_one(home: Path):
    with pytest.raises(UsageError, match=r"there is no MLflow store at .* yet"):
        raise lakeline("ui").exception or AssertionError("it was not refused")


def test_ui_of_a_server_is_the_server_s_own(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    done = lakeline("ui")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "https://mlflow.example.org"


def test_ui_on_a_taken_port_is_refused(home: Path):
    home.mkdir()
    (home / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            raise lakeline("ui", "--port", str(port)).exception or AssertionError("it was not refused")


def test_ui_answers_until_it_is_interrupted_and_leaves_nothing(home: Path):
    from lakeline.registry.store import connect

    connect()
    port = free_port()
    code = f"from pipelines.commands.report import ui; ui({port}, False)"
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert address == f"http://127.0.0.1:{port}", (home / "mlflow-ui.log").read_text()
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=30) as page:
            assert b"<title>MLflow</title>" in page.read()
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
