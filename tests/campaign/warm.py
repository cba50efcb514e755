"""What is loaded, and done once, before the campaign forks its first process: importing it anew in each would take all the time."""

from __future__ import annotations

import gc
import os
import shutil
import time
from pathlib import Path

from lakeline.settings import get_settings
from pipelines.warm.generations import GENERATIONS
from pipelines.warm.server import prepare

_BESIDES = (
    "lakeline.lake.lakefs",
    "lakeline.report",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "pipelines.diagnose",
    "tests.campaign.checks",
    "tests.campaign.steps",
)
_OF_THE_REGISTRY = (
    "mlflow.server.fastapi_app",
    "mlflow.store.model_registry.rest_store",
    "mlflow.store.tracking.rest_store",
    "uvicorn",
)


def warm(folder: Path, pipeline: str) -> Path | None:
    """Import all that steps use, and have MLflow's database layer compile its statements, in a store of its own.

    Nothing here may start a thread: a fork would lack it.

    Returns
    -------
    Path or None
        An empty store, to be copied: making one takes seconds. None for a pipeline that needs no store.
    """
    trains = pipeline != "data"
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for generation in GENERATIONS:
        if trains or "register" not in generation.steps:
            for name in generation.load:
                prepare(name)
    for name in (*_BESIDES, *(_OF_THE_REGISTRY if trains else ())):
        prepare(name)
    if trains:
        _rehearse(folder / "rehearsal", folder / "empty.db")
    gc.collect()
    gc.freeze()  # pages that the collector doesn't touch stay shared
    return folder / "empty.db" if trains else None


def _rehearse(home: Path, empty: Path) -> None:
    """Do to the registry what a run does to it, after a copy of the empty store was made."""
    from mlflow.entities import Metric, Param, RunTag

    from lakeline.registry import history, models
    from lakeline.registry.moves import move_alias
    from lakeline.registry.store import connect, experiment_id

    os.environ["LAKELINE_HOME"] = str(home)
    get_settings.cache_clear()
    name, client = "rehearsal", connect()
    shutil.copy(home / "mlflow.db", empty)
    experiment = experiment_id(client, name)
    client.search_experiments()
    run = client.create_run(experiment, int(time.time() * 1000), {"pipeline_run": name}, name)
    logged = client.create_logged_model(experiment, "model", run.info.run_id, params={"a": "1"})
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_batch(run.info.run_id, [Metric("rmse", 1.0, 0, 0, model_id=logged.model_id)], [Param("a", "1")], [RunTag("b", "2")])
    client.search_runs([experiment], f"tags.pipeline_run = '{name}'")
    client.search_model_versions(f"name = '{name}' AND tags.`pipeline_run` = '{name}'")
    client.create_registered_model(name, {"dataset": name})
    version = client.create_model_version(name, f"models:/{logged.model_id}", run.info.run_id, {"c": "3"}, model_id=logged.model_id)
    client.set_model_version_tag(name, version.version, "d", "4")
    client.set_tag(run.info.run_id, "e", "5")
    client.set_terminated(run.info.run_id, "FINISHED")
    move_alias(client, name, "production", int(version.version), "rehearsal")
    models(name)
    history(name)
