"""Models to serve, small and made up: as the training steps make them, and as somebody else does with MLflow alone."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from lakeline.data.spec import DatasetSpec
from lakeline.registry.store import quiet
from lakeline.serving.environment import ServerSettings
from lakeline.training.features import feature_types, fit, pipeline
from lakeline.training.model import CARD_FILE, Card, Example, example_frame, plain_rows, save, trusted_types

NAME = "ferries"
COLUMNS = {
    "route": {"type": "text"},
    "weather": {"type": "text"},
    "load": {"type": "integer"},
    "wind": {"type": "number"},
    "minutes": {"type": "number"},
}
SPEC: dict[str, Any] = {
    "name": NAME,
    "title": "Ferries",
    "source": {"kind": "url", "format": "csv", "url": "https://example.org/{year}.csv"},
    "arrival": {"id": "{year}", "parameters": {"year": {}}},
    "raw": {"columns": COLUMNS},
    "clean": {"columns": COLUMNS},
    "target": {"column": "minutes", "unit": "min"},
    "features": {"categorical": ["route", "weather"], "numeric": ["load", "wind"]},
    "split": {"kind": "random"},
    "slices": ["route"],
    "search": {"trials": 1, "estimators": [{"name": "ridge"}]},
}
ROW = {"route": "a", "weather": "rain", "load": 2.0, "wind": 3.5}
FEATURES = ("route", "weather", "load", "wind")
SPLIT = {"dataframe_split": {"columns": list(FEATURES), "data": [list(ROW.values())]}}


def made_here(folder: Path, estimator: str = "ridge", seed: int = 0, **card: Any) -> Path:
    """Fit a model and store it in a folder as the registry has it; arguments replace parts of the card beside it.

    Two of its features may be null, which a card can say and no spec allows yet.
    """
    spec = DatasetSpec.model_validate(SPEC)
    chance = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "route": chance.choice(["a", "b", "c"], 300),
            "weather": chance.choice(np.array(["rain", "sun", None], dtype=object), 300),
            "load": chance.integers(0, 5, 300).astype(float),
            "wind": np.where(chance.random(300) < 0.1, np.nan, chance.normal(5, 2, 300)),
        }
    )
    minutes = rows["route"].replace({"a": 10.0, "b": 20.0, "c": 35.0}).astype(float) + 2 * rows["load"] + chance.normal(0, 1, 300)
    model = pipeline(spec, estimator, {})
    fit(model, rows, minutes.to_numpy())
    sample = rows.head(5)
    example = Example(list(rows.columns), plain_rows(sample), [float(value) for value in model.predict(sample)])
    types = feature_types(spec)
    parts: dict[str, Any] = {
        "dataset": NAME,
        "commit": "c" * 40,
        "estimator": estimator,
        "parameters": {},
        "trial": 0,
        "seed": 42,
        "features": types,
        "optional": ["weather", "wind"],
        "target": "minutes",
        "unit": "min",
        "rows": 300,
        "folded_rows": 300,
        "train": {"rmse": 1.0, "r2": 0.9},
        "example": example,
    }
    _store(folder, model, Card(**parts), Card(**parts | card))
    return folder


def _store(folder: Path, model: Any, card: Card, told: Card) -> None:
    quiet()
    import mlflow.sklearn as flavor
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    save(model, card, folder.with_name(f"{folder.name}-fit"))
    inputs: list[Any] = [
        ColSpec("string" if kind == "text" else "double", name, name not in card.optional) for name, kind in card.features.items()
    ]
    flavor.save_model(
        model,
        str(folder),
        serialization_format="skops",
        skops_trusted_types=trusted_types(folder.with_name(f"{folder.name}-fit") / "model.skops"),
        signature=ModelSignature(Schema(inputs), Schema([ColSpec("double", card.target)])),
        input_example=example_frame(card.example, card.features),
        pip_requirements=[],
    )
    (folder / CARD_FILE).write_text(json.dumps(asdict(told)))


def foreign(folder: Path, function: Any, example: pd.DataFrame, signature: Any = "infer") -> Path:
    """Store a Python function as a model of MLflow's, as somebody may who has never heard of us."""
    quiet()
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    told = infer_signature(example, [1.0]) if signature == "infer" else signature
    mlflow.pyfunc.save_model(str(folder), python_model=function, signature=told, input_example=example, pip_requirements=[])
    return folder


def settings(folder: Path, **told: Any) -> ServerSettings:
    """What a server of a folder's model is told."""
    from lakeline.registry.files import files_digest

    return ServerSettings(model=NAME, version=3, digest=files_digest(folder), folder=folder, **told)


def counted(server: httpx.Client, name: str, **labels: str) -> float:
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    lines = [line for line in server.get("/metrics").text.splitlines() if line.partition("{")[0].partition(" ")[0] == name]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))
