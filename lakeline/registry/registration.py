"""A candidate becomes a version of a data set's model, with where it comes from."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.errors import LakeNotFound
from lakeline.registry.conclusion import is_finished
from lakeline.registry.files import DIGEST_TAG, files_digest
from lakeline.registry.unfinished import take_over
from lakeline.registry.versions import FAILED_TRIALS, LINEAGE, version_by_alias
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from sklearn.pipeline import Pipeline

    from lakeline.training.model import Card

STAGING = "staging"
_NOT_NEEDED = ("duckdb", "pyarrow")
"""Packages that make the rows of a model and are not needed to load it."""


_RECIPE = ({*LINEAGE} - {"pipeline_run"}) | {"estimator", "parameters", "trial", "packages"}
"""Tags that say what makes a model: two versions that agree in these are the same model."""


@dataclass(frozen=True)
class Registered:
    """A registered version and the MLflow run that it belongs to."""

    version: int
    mlflow_run_id: str


def register(
    dataset: str,
    commit: str,
    model: Path,
    evaluation: Mapping[str, Any],
    results: Sequence[str],
    lineage: Mapping[str, Any],
    run_id: str,
    started: float,
) -> Registered:
    """Track a run in MLflow and register its model as a new version with the alias `staging`.

    Parameters
    ----------
    dataset
        Name of the data set, which names its experiment and its model too.
    commit
        Commit that the model learned from.
    model
        Folder that `fit` wrote.
    evaluation
        `Evaluation.to_dict()`.
    results
        A TrialResult as JSON for each trial.
    lineage
        What `split` said its rows were made from.
    run_id
        Id of the pipeline run; LAKELINE_RUN_ID goes before it. The same id again finds the version that it registered. Another one
        takes over a version that was made alike and is unfinished, as a run that was killed leaves it.
    started
        When the pipeline run began, in seconds since 1970.

    Returns
    -------
    Registered
        The version, and its MLflow run, which stays open until `promote` or `record_end`.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.lineage import code_version, image, packages
    from lakeline.registry import runs
    from lakeline.registry.store import connect, experiment_id, speaking
    from lakeline.training.model import load
    from lakeline.training.search import TrialResult, failures

    run_id = get_settings().run_id or run_id
    pipeline, card = load(model)  # before MLflow: skops, when imported, looks through every module that there is
    made_by = {
        "data_commit": commit,
        **lineage,
        "code_version": code_version(),
        "image": image(),
        "pipeline_run": run_id,
        "seed": card.seed,
    }
    origin = {name: str(made_by[name]) for name in LINEAGE if made_by.get(name) not in (None, "")}
    recipe = origin | {"estimator": card.estimator, "parameters": json.dumps(card.parameters), "trial": str(card.trial)}
    recipe["packages"] = packages()
    client = connect()
    with speaking():
        experiment = experiment_id(client, dataset)
        known = _known(client, dataset, recipe)
        if known is not None:
            take_over(client, known, run_id)
            return _staged(client, known)
        parent = runs.parent_run(client, experiment, run_id, started)
        trials = [TrialResult.from_json(result) for result in results]
        runs.log_trials(client, parent, trials)
        _describe(client, parent.info.run_id, dataset, origin)
        model_id, digest = _log_model(client, parent.info.experiment_id, parent.info.run_id, model, pipeline, card)
        best = next((trial.metrics for trial in trials if trial.number == card.trial), {})
        _log_parent(client, parent.info.run_id, model_id, evaluation, best, card)
        failed = failures(map(vars, trials))
        told = {DIGEST_TAG: digest} | ({FAILED_TRIALS: runs.clip(failed)} if failed else {})
        version = _create_version(client, dataset, model_id, parent.info.run_id, recipe | told, evaluation)
        first = _alike(client, dataset, recipe) or version
        if first.version != version.version:  # two runs at once, or a server that went away before it could say that it had made it
            client.delete_model_version(dataset, version.version)
            take_over(client, first, run_id)
        client.set_tag(parent.info.run_id, "model_version", first.version)
        return _staged(client, first)


def _known(client: MlflowClient, dataset: str, recipe: Mapping[str, str]) -> ModelVersion | None:
    """Find the version that this run made before; or one made alike that is unfinished, for its run was killed or is at it still."""
    run_id = recipe["pipeline_run"]
    own = client.search_model_versions(f"name = '{dataset}' AND tags.`pipeline_run` = '{run_id}'")
    return min(own, key=lambda version: int(version.version), default=None) or _alike(client, dataset, recipe)


def _alike(client: MlflowClient, dataset: str, recipe: Mapping[str, str]) -> ModelVersion | None:
    """Find the first version of the same model that is unfinished."""
    from lakeline.lake import open_lake
    from lakeline.registry import runs

    try:
        lake_tags, commit = open_lake(dataset).tags(), recipe["data_commit"]
    except LakeNotFound:  # nothing says what is finished
        return None
    found = client.search_model_versions(f"name = '{dataset}' AND tags.`data_commit` = '{commit}'")
    alike = (version for version in found if all(version.tags.get(name) == recipe.get(name) for name in _RECIPE))
    left = (version for version in alike if not is_finished(version, lake_tags) and runs.run_of(client, version) is not None)
    return min(left, key=lambda version: int(version.version), default=None)


def _describe(client: MlflowClient, run: str, dataset: str, origin: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    from lakeline.registry.runs import clip

    client.log_batch(run, tags=[RunTag(name, clip(text)) for name, text in {"dataset": dataset, **origin}.items()])


def _log_parent(
    client: MlflowClient, run: str, model_id: str, evaluation: Mapping[str, Any], best: Mapping[str, float], card: Card
) -> None:
    from lakeline.registry import runs

    values: dict[str, float] = dict(evaluation["candidate"])
    values |= {f"production_{name}": value for name, value in (evaluation.get("production") or {}).items()}
    values |= {f"validation_{name}": value for name, value in best.items()} | {f"train_{name}": value for name, value in card.train.items()}
    said = {"estimator": card.estimator, "trial": card.trial, "rows": card.rows, "folded_rows": card.folded_rows, "seed": card.seed}
    said |= {"holdout_rows": evaluation["rows"], "target": card.target}
    client.log_batch(run, runs.metrics(values, int(time.time() * 1000), model_id), runs.params(said | card.parameters))
    client.log_dict(run, dict(evaluation), "evaluation.json")
    client.log_dict(run, {"features": card.features}, "feature_names.json")


def _log_model(client: MlflowClient, experiment: str, run: str, folder: Path, pipeline: Pipeline, card: Card) -> tuple[str, str]:
    """Log the model of a folder as MLflow's model `model` of a run; its card goes with it. Returns its id, and its files' digest."""
    import tempfile

    import mlflow
    import mlflow.sklearn as flavor
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, Schema, TensorSpec

    from lakeline.lineage import packages
    from lakeline.training.model import CARD_FILE, MODEL_FILE, example_frame, trusted_types

    said = {"estimator": card.estimator} | {name: str(value) for name, value in card.parameters.items()}
    logged = client.create_logged_model(experiment, "model", run, params=said)
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec("string" if kind == "text" else "double", name, name not in card.optional) for name, kind in card.features.items()
    ]
    signature = ModelSignature(Schema(inputs), Schema([ColSpec("double", card.target)]))
    with tempfile.TemporaryDirectory(prefix="lakeline-") as scratch:
        path = Path(scratch) / "model"
        flavor.save_model(
            pipeline,
            str(path),
            mlflow_model=Model(artifact_path=logged.artifact_location, run_id=run, model_uuid=logged.model_id, model_id=logged.model_id),
            serialization_format="skops",
            skops_trusted_types=trusted_types(folder / MODEL_FILE),
            signature=signature,
            input_example=example_frame(card.example, card.features),
            pip_requirements=[pin for pin in packages().split(",") if not pin.startswith(_NOT_NEEDED)] + [f"mlflow=={mlflow.__version__}"],
        )
        (path / CARD_FILE).write_bytes((folder / CARD_FILE).read_bytes())
        digest = files_digest(path)
        client.log_model_artifacts(logged.model_id, str(path))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(logged.model_id, step=0)])
    return logged.model_id, digest


def _create_version(
    client: MlflowClient, dataset: str, model_id: str, run: str, tags: Mapping[str, str], evaluation: Mapping[str, Any]
) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(dataset, {"dataset": dataset})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    metric, rows = evaluation["metric"], evaluation["rows"]
    said = f"{tags['estimator']}: {metric} {evaluation['candidate'][metric]:.6g} on {rows:,} held-out rows."
    return client.create_model_version(
        dataset, f"models:/{model_id}", run, dict(tags), description=f"{said} Data: commit {tags['data_commit'][:12]}.", model_id=model_id
    )


def _staged(client: MlflowClient, version: ModelVersion) -> Registered:
    staged = version_by_alias(client, version.name, STAGING)
    if staged is None or int(staged.version) < int(version.version):
        client.set_registered_model_alias(version.name, STAGING, version.version)
    return Registered(int(version.version), str(version.run_id))
