"""How a run ended is recorded where its MLflow run is, and nowhere at a cost when there is nothing to say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakeline.registry import record_end


def test_a_successful_run_without_a_model_does_not_import_mlflow(alone: Callable[[str], str], store: Path):
    code = """
        import sys
        from lakeline.registry import record_end
        record_end("ferries", "data-1", "data", "SUCCEEDED")
        print("mlflow" in sys.modules, "pandas" in sys.modules, "sklearn" in sys.modules)
    """

    assert alone(code) == "False False False"


def test_a_run_that_failed_before_it_had_a_model_leaves_a_small_run(world: Any):
    record_end("ferries", "data-1", "data", "FAILED", "12 of 400 rows fail 'load is an integer'")

    experiment = world.client.get_experiment_by_name("ferries").experiment_id
    (run,) = world.client.search_runs([experiment])
    assert (run.info.run_name, run.info.status) == ("data-1", "FAILED")
    assert run.data.tags["error"] == "12 of 400 rows fail 'load is an integer'"
    assert (run.data.tags["pipeline"], run.data.tags["ended"]) == ("data", "failed")


@pytest.mark.parametrize(("state", "status"), [("FAILED", "FAILED"), ("SUCCEEDED", "FINISHED")])
def test_a_run_that_is_still_open_is_closed(state: str, status: str, world: Any):
    run = world.train().mlflow_run_id

    record_end("ferries", "training-1", "training", state, "the disk is full" if state == "FAILED" else "")

    ended = world.client.get_run(run)
    assert ended.info.status == status
    assert ended.info.end_time
    assert ended.data.tags.get("error") == ("the disk is full" if state == "FAILED" else None)


def test_the_run_of_kubeflows_plugin_is_not_closed_but_told(world: Any, monkeypatch: pytest.MonkeyPatch):
    run = world.client.create_run(world.client.create_experiment("of-the-plugin")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run)

    record_end("ferries", "data-1", "data", "FAILED", "no")

    told = world.client.get_run(run)
    assert told.info.status == "RUNNING"
    assert told.data.tags["ended"] == "failed"


def test_a_registry_that_is_gone_does_not_change_the_end(home: Path, capsys: pytest.CaptureFixture[str]):
    home.mkdir()
    (home / "mlflow.db").write_bytes(b"this is no database" * 100)

    record_end("ferries", "data-1", "data", "FAILED", "no")

    told = capsys.readouterr().err
    assert told.startswith("lakeline: how the run ended was not recorded. MLflow at sqlite:")
    assert "this file is no MLflow database, or a damaged one" in told
    assert len(told.splitlines()) == 1
