"""What people see of a run."""

import io
import json
from typing import Any

import pytest
from rich.console import Console as RichConsole

from pipelines.local import Progress
from pipelines.show import Console, Steps, show_result, show_verdict

RESULT: dict[str, Any] = {
    "pipeline": "continuous",
    "dataset": "flights",
    "status": "succeeded",
    "error": None,
    "message": None,
    "data_commit": "ab" * 20,
    "arrivals": ["2013-01", "2013-02", "2013-03", "2013-04"],
    "rows_raw": 110_000,
    "rows_clean": 106_000,
    "trials": [
        {"number": 0, "estimator": "linear_regression", "parameters": {}, "best": False},
        {"number": 1, "estimator": "ridge", "parameters": {"alpha": 24.0213}, "best": True},
    ],
    "metrics": {"rmse": 16.5, "r2": 0.84},
    "production_metrics": {"rmse": 17.25, "r2": 0.82},
    "verdict": "promoted",
    "url": None,
    "reasons": ["rmse 16.5 is 4.3 % better than production's 17.25."],
    "model": "flights",
    "version": 3,
    "run_id": "continuous-1",
    "seconds": 41.0,
    "report": "/home/somebody/report.html",
    "log": "/home/somebody/run.log",
}


@pytest.fixture
def console() -> Console:
    made = Console()
    made.rich = RichConsole(file=io.StringIO(), width=120, highlight=False)
    return made


def said(console: Console) -> str:
    assert isinstance(console.rich.file, io.StringIO)
    return console.rich.file.getvalue()


def test_table_says_data_rows_best_trial_metrics_verdict_reason_version_and_report(console: Console):
    show_result(RESULT, console)
    text = said(console)
    for part in (
        "ab" * 20,
        "110,000 raw → 106,000 clean (2013-01 to 2013-04, 4 arrivals)",
        "1 of 2: ridge(alpha=24.02)",
        "rmse 16.5 (production 17.25)",
        "promoted",
        "4.3 % better",
        "flights version 3",
        "/home/somebody/report.html",
    ):
        assert part in text


def test_failure_says_why_and_where_the_log_is(console: Console):
    show_result(RESULT | {"status": "failed", "error": "flights [2013]: 2 of 3 rows fail"}, console)
    assert "lakeline: flights [2013]: 2 of 3 rows fail" in said(console)
    assert "/home/somebody/run.log" in said(console)


def test_json_is_one_object_on_stdout(capsys: pytest.CaptureFixture[str]):
    show_result(RESULT, Console(as_json=True))
    out, _ = capsys.readouterr()
    assert json.loads(out) == RESULT


def test_trials_that_failed_are_counted_with_why(console: Console):
    failed = "1 of 2 trials failed: 0 (linear_regression): a [bad] matrix"

    show_result(RESULT | {"failed_trials": failed}, console)
    show_verdict({"status": "succeeded", "seconds": 1.0, "verdict": "held", "version": 3, "reasons": [], "failed_trials": failed}, console)

    assert said(console).count(failed) == 2


def test_trial_that_failed_has_no_check_mark(console: Console):
    with Steps(console) as steps:
        for failure in (None, "a [bad] matrix"):
            steps(Progress("search", "began"))
            steps(Progress("search", "done", failure))
    good, bad = said(console).splitlines()
    assert (good.split()[0], bad.split()[0]) == ("✓", "✗")
    assert bad.endswith("a [bad] matrix")
    assert steps.failed is None, "the run goes on"


def test_each_step_that_ends_is_told_once_and_trials_are_numbered(console: Console):
    with Steps(console) as steps:
        for task in ("split", "search", "search"):
            steps(Progress(task, "began"))
        for task in ("split", "search", "search"):
            steps(Progress(task, "done"))
        steps(Progress("fit", "began"))
        steps(Progress("fit", "failed"))
        steps(Progress("record", "done"))
    lines = said(console).splitlines()
    assert [line.split()[:2] for line in lines] == [["✓", "split"], ["✓", "search"], ["✓", "search"], ["✗", "fit"]]
    assert "search 2" in lines[2]
    assert steps.failed == "fit"
