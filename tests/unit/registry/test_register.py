"""A candidate becomes a version once, with all that says where it comes from."""

import json
from pathlib import Path
from typing import Any

import pytest

from lakeline.errors import RegistryError
from lakeline.lake import open_lake
from lakeline.registry import models, version_info
from lakeline.registry.runs import injected_run
from lakeline.registry.store import connect


def test_a_run_is_logged_whole_with_a_nested_run_for_each_trial(world: Any):
    registered = world.train()

    run = world.client.get_run(registered.mlflow_run_id)
    assert run.info.run_name == "training-1"
    assert run.info.start_time == int(world.last["started"] * 1000)
    assert run.info.status == "RUNNING"  # until the gates have judged
    assert run.data.metrics.keys() == {
        *("rmse", "mae", "r2"), *("validation_rmse", "validation_mae", "validation_r2"), *("train_rmse", "train_r2"),
    }  # fmt: skip
    assert run.data.metrics["rmse"] == world.last["evaluation"]["candidate"]["rmse"]
    assert run.data.params["estimator"] == "linear_regression"
    files = {file.path for file in world.client.list_artifacts(registered.mlflow_run_id)}
    assert files >= {"evaluation.json", "feature_names.json"}
    nested = world.client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{registered.mlflow_run_id}'")
    by_trial = {each.data.tags["trial"]: each for each in nested}
    assert {trial: each.info.status for trial, each in by_trial.items()} == {"0": "FINISHED", "9": "FAILED"}
    assert by_trial["9"].data.tags["error"] == "it rained"
    assert by_trial["9"].info.end_time - by_trial["9"].info.start_time == 2500


def test_a_version_says_where_it_comes_from(world: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_IMAGE", "registry.example/steps@sha256:0123")

    info = version_info("ferries", world.train().version)

    assert info.aliases == ["staging"]
    assert info.lineage["data_commit"] == world.commit
    assert info.lineage["data_arrivals"] == "2023,2024"
    assert info.lineage["pipeline_run"] == "training-1"
    assert info.lineage["image"] == "registry.example/steps@sha256:0123"
    assert info.lineage["seed"] == "42"
    assert len(info.lineage["spec_digest"]) == 64
    assert info.lineage["code_version"]
    assert "scikit-learn==" in info.tags["packages"]
    assert world.client.get_run(info.run_id).data.tags.items() >= info.lineage.items()
    assert json.loads(json.dumps(info.to_dict()))["version"] == 1


def test_registering_again_finds_the_version_of_the_run(world: Any):
    first = world.train()

    assert world.register() == first
    assert len(models("ferries")) == 1
    assert len(world.client.search_runs([world.client.get_run(first.mlflow_run_id).info.experiment_id])) == 3


def test_a_retry_after_an_interrupt_goes_on_with_the_same_mlflow_run(world: Any):
    first = world.train()
    world.client.delete_registered_model("ferries")  # as if the step had been cut off before

    again = world.register()

    assert again.mlflow_run_id == first.mlflow_run_id
    experiment = world.client.get_run(first.mlflow_run_id).info.experiment_id
    assert len(world.client.search_runs([experiment])) == 3
    assert world.aliases() == {"staging": 1}


def test_the_model_takes_what_a_server_gives_it(world: Any):
    world.train()
    world.client  # noqa: B018 (MLflow's settings)
    import mlflow
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    model = mlflow.pyfunc.load_model("models:/ferries@staging")
    schema = model.metadata.get_input_schema()
    assert schema is not None

    assert {column.name: column.type.name for column in schema.inputs} == {"route": "string", "load": "double"}
    records = [{"route": "b", "load": 1}, {"route": "nowhere", "load": 1}, {"route": "b", "load": None}]
    predicted = model.predict(infer_and_parse_data({"dataframe_records": records}, schema))
    assert predicted[0] == pytest.approx(22, abs=1)
    assert "skops" in model.metadata.flavors["sklearn"]["serialization_format"]


def test_a_later_run_takes_the_alias_staging(world: Any):
    world.settle(world.train().version)
    world.train()

    assert world.aliases() == {"staging": 2}


def test_the_run_that_kubeflows_plugin_made_is_the_parent_and_is_left_open(world: Any, monkeypatch: pytest.MonkeyPatch):
    experiment = world.client.create_experiment("of-the-plugin")
    parent = world.client.create_run(experiment).info.run_id

    def step(within: str) -> str:
        run_id = world.client.create_run(experiment, tags={"mlflow.parentRunId": within}).info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        return run_id

    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)

    step(step(parent))  # a step within a condition
    registered = world.train()
    step(parent)
    decision = world.promote(registered.version)

    assert registered.mlflow_run_id == parent
    assert decision.verdict == "promoted"
    assert world.client.get_run(parent).info.status == "RUNNING"
    steps, trials = 3, 2
    assert len(world.client.search_runs([experiment])) == 1 + steps + trials


def test_the_run_id_of_the_settings_goes_before_the_pipelines(world: Any, monkeypatch: pytest.MonkeyPatch):
    from lakeline.settings import get_settings

    monkeypatch.setenv("LAKELINE_RUN_ID", "ferries-of-tuesday")
    get_settings.cache_clear()

    assert version_info("ferries", world.train().version).lineage["pipeline_run"] == "ferries-of-tuesday"


def test_an_experiment_in_the_trash_is_taken_back(world: Any):
    experiment = world.client.get_run(world.train().mlflow_run_id).info.experiment_id
    world.client.delete_experiment(experiment)

    assert world.client.get_run(world.train().mlflow_run_id).info.experiment_id == experiment


def test_commit_is_tagged_when_the_gates_have_judged(world: Any):
    """A run that was cut short before them would otherwise count as done, and its model would never be promoted."""
    lake = open_lake("ferries")
    version = world.train().version
    assert f"model/{version}" not in lake.tags()

    world.promote(version)

    assert lake.tags()[f"model/{version}"] == world.commit


def test_there_are_no_models_before_the_first(home: Path):
    assert models() == []
    assert not (home / "mlflow.db").exists()


def test_a_version_that_is_not_there_is_told_with_those_that_are(world: Any):
    with pytest.raises(RegistryError, match=r"ferries: there is no version 3 in the registry\. There is no model of that name"):
        version_info("ferries", 3)
    world.train()
    with pytest.raises(RegistryError, match=r"It has: 1\. See: lakeline models"):
        version_info("ferries", 3)


def test_a_report_is_kept_with_the_run(world: Any, tmp_path: Path):
    info = version_info("ferries", world.train().version)
    (tmp_path / "page.html").write_text("<h1>How it went</h1>")

    info.log_report(tmp_path / "page.html")

    assert "report.html" in {file.path for file in world.client.list_artifacts(info.run_id)}


def test_run_id_that_is_left_from_something_else_is_named(store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "deadbeef" * 4)

    with pytest.raises(RegistryError, match=r"MLFLOW_RUN_ID is deadbeef.*, and MLflow has no run .* Unset it"):
        injected_run(connect())
