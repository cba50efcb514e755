"""`lakeline experiment` as it is called, where no server is needed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakeline.registry.store import connect
from lakeline.serving.experiment import running
from lakeline.serving.experiment.state import TAG
from pipelines.cli import app
from tests import ferries
from tests.unit.serving.experiment.conftest import NAME, Trial
from tests.unit.serving.experiment.standin import StandIn


@pytest.fixture
def tested(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """The registry knows of the test, and the log is where servers of this home write it."""
    monkeypatch.setenv("LAKELINE_PREDICTIONS", str(trial.log))
    from lakeline.settings import get_settings

    get_settings.cache_clear()
    client = connect()
    client.create_registered_model(NAME)
    for _ in range(2):
        client.create_model_version(NAME, "file:///nowhere")
    client.set_registered_model_alias(NAME, "production", "1")
    client.set_registered_model_tag(NAME, TAG, json.dumps(trial.state.to_dict()))
    return trial


def _json(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["experiment", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_truth_that_is_brought_is_what_the_next_look_judges_by(tested: Trial, tmp_path: Path):
    requests = [tested.answer(11.0) for _ in range(60)]
    tested.flush()
    path = tmp_path / "july.csv"
    path.write_text("request_id,minutes\n" + "".join(f"{request},10\n" for request in requests[:50]))

    assert _json("truth", NAME, str(path))["rows"] == 50
    said = _json("status", NAME)

    found = said["assessment"]
    assert isinstance(found, dict)
    assert found["production"]["units"] + found["challenger"]["units"] == 50
    assert found["left_out"] == {"units without truth so far": 10}
    assert found["production"]["metric"] == 1.0


def test_status_for_people_says_the_verdict(tested: Trial):
    done = CliRunner().invoke(app, ["experiment", "status", NAME], catch_exceptions=False)
    assert "challenger  " in done.stdout
    assert "continue: 0 units of production and 0 of the challenger" in done.stdout


def test_status_of_a_model_that_never_was_in_a_test_says_so(tested: Trial):
    connect().delete_registered_model_tag(NAME, TAG)
    assert _json("status", NAME) == {"model": NAME, "test": None, "assessment": None}
    done = CliRunner().invoke(app, ["experiment", "status", NAME], catch_exceptions=False)
    assert "never was in a test" in done.stdout


def test_step_of_the_pipeline_writes_what_it_found(tested: Trial, tmp_path: Path):
    from lakeline.report.experiment import assess_and_report

    outputs = {name: str(tmp_path / name) for name in ("report", "verdict", "record")}
    found = assess_and_report(NAME, 0, "experiment-1", outputs)
    assert (found.Output, found.experiment) == ("continue", "test-1")
    assert "The test of version 2 beside version 1 goes on." in Path(outputs["report"]).read_text()
    assert json.loads(Path(outputs["record"]).read_text())["assessment"]["verdict"] == "continue"


def test_step_has_nothing_to_do_where_there_is_no_test(tested: Trial, tmp_path: Path):
    """It may be scheduled: that nothing is tested now is no failure."""
    from lakeline.report.experiment import assess_and_report

    connect().delete_registered_model_tag(NAME, TAG)
    outputs = {name: str(tmp_path / name) for name in ("report", "verdict", "record")}
    assert assess_and_report(NAME, 0, "experiment-1", outputs).Output == "none"


@pytest.mark.parametrize(("challenger", "verdict"), [(0, "continue"), (2, "continue"), (1, "start")])
def test_step_starts_a_test_of_a_version_unless_one_is_under_way(tested: Trial, tmp_path: Path, challenger: int, verdict: str):
    from lakeline.report.experiment import assess_and_report

    outputs = {name: str(tmp_path / name) for name in ("report", "verdict", "record")}
    assert assess_and_report(NAME, challenger, "experiment-1", outputs).Output == verdict


def test_stop_says_which_version_serves_now(site: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lakeline.serving.site.open_site", lambda: site)
    running.start(ferries.NAME, 1)
    site.arms["production"] = replace(site.arms["production"], version=3)  # somebody has promoted it since

    done = CliRunner().invoke(app, ["experiment", "stop", ferries.NAME, "--why", "enough"], catch_exceptions=False)

    assert done.stdout == "The test of version 1 is stopped. Version 3 answers all requests for ferries.\n"
