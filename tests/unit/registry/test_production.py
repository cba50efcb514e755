"""The model in production is found at a glance where that can be, and through MLflow where not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lakeline.registry.files import files_digest
from lakeline.registry.production import load_production
from lakeline.settings import get_settings


def test_production_is_loaded_without_mlflow(world: Any, alone: Callable[[str], str]):
    world.run()
    code = """
        import sys
        from lakeline.registry.production import load_production
        rival = load_production("ferries")
        print(rival.version, rival.features, rival.model is not None, "mlflow" in sys.modules)
    """

    assert alone(code) == "1 {'route': 'text', 'load': 'number'} True False"


def test_where_a_glance_does_not_do_mlflow_is_asked(world: Any, monkeypatch: pytest.MonkeyPatch, store: Path):
    world.run()
    glanced = load_production("ferries")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}?timeout=5")
    get_settings.cache_clear()

    asked = load_production("ferries")

    assert asked is not None
    assert glanced is not None
    assert (asked.version, asked.features) == (glanced.version, glanced.features)
    assert load_production("trains") is None


def test_a_model_that_somebody_else_logged_is_compared_too(world: Any):
    import mlflow
    import mlflow.sklearn as flavor
    from mlflow.models import infer_signature
    from sklearn.dummy import DummyRegressor

    rows = pd.DataFrame({"route": ["a", "b"], "load": [1.0, 2.0]})
    client = world.client
    run = client.create_run(client.create_experiment("elsewhere")).info.run_id
    with mlflow.start_run(run_id=run):
        model = DummyRegressor().fit(rows, [10.0, 20.0])
        flavor.log_model(model, name="theirs", signature=infer_signature(rows, [1.0]), registered_model_name="ferries", pip_requirements=[])
    client.set_registered_model_alias("ferries", "production", "1")

    rival = load_production("ferries")

    assert rival is not None
    assert (rival.version, rival.features) == (1, {"route": "text", "load": "number"})
    assert list(rival.model.predict(rows)) == [15.0, 15.0]


def test_a_model_that_is_code_is_what_it_was_after_it_was_loaded(world: Any, tmp_path: Path):
    """A local store gives its own folder, and Python writes beside what it imports."""
    import mlflow
    import numpy as np
    from mlflow.models import infer_signature

    code = tmp_path / "means.py"
    code.write_text(
        "import mlflow\n"
        "class Mean(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, rows, params=None):\n"
        "        return [12.0] * len(rows)\n"
        "mlflow.models.set_model(Mean())\n"
    )
    folder, rows = tmp_path / "theirs", pd.DataFrame({"route": ["a"], "load": [1.0]})
    signature = infer_signature(rows, np.array([1.0]))
    mlflow.pyfunc.save_model(str(folder), python_model=str(code), signature=signature, pip_requirements=[])
    world.client.create_registered_model("ferries")
    world.client.create_model_version("ferries", str(folder))
    world.client.set_registered_model_alias("ferries", "production", "1")
    before = files_digest(folder)

    rival = load_production("ferries")

    assert rival is not None
    assert list(rival.model.predict(rows)) == [12.0]
    assert files_digest(folder) == before


def test_a_model_without_a_signature_is_told(world: Any):
    import mlflow
    import mlflow.sklearn as flavor
    from sklearn.dummy import DummyRegressor

    client = world.client
    run = client.create_run(client.create_experiment("elsewhere")).info.run_id
    with mlflow.start_run(run_id=run):
        model = DummyRegressor().fit([[1.0]], [10.0])
        flavor.log_model(model, name="theirs", registered_model_name="ferries", pip_requirements=[])
    client.set_registered_model_alias("ferries", "production", "1")

    rival = load_production("ferries")

    assert rival is not None
    assert (rival.model, rival.reason) == (None, "it has no signature, so what it takes is not known")
