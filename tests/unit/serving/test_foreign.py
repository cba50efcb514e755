"""Models that were logged with MLflow alone: what their signature says that they take."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pandas as pd

from tests.unit.serving.models import foreign

Caller = Callable[..., httpx.Client]


def test_a_model_of_somebody_elses_is_held_to_its_signature(caller: Caller, tmp_path: Path):
    def minutes(model_input: pd.DataFrame) -> list[float]:
        assert [str(kind) for kind in model_input.dtypes] == ["int64", "bool", "float32", "object", "datetime64[ns]"]
        return (model_input["load"] * 2.0 + model_input["wet"]).tolist()

    example = pd.DataFrame(
        {
            "load": [1],
            "wet": [True],
            "wind": pd.Series([1.5], dtype="float32"),
            "route": ["a"],
            "at": [pd.Timestamp("2024-01-01")],
        }
    )
    server = caller(foreign(tmp_path / "foreign", minutes, example))
    row = {"load": 4, "wet": True, "wind": 2, "route": "b", "at": "2024-05-06T07:08:09+02:00"}
    assert server.post("/invocations", json={"instances": [row, row | {"wet": False}]}).json() == {"predictions": [9.0, 8.0]}
    wrong = {
        "load": (1.5, "is too large, or has decimals"), "wet": (1, "1 is not true or false"), "wind": (1e39, "is too large"),
        "at": ("noon", "'noon' is no time"),
    }  # fmt: skip
    for name, (value, message) in wrong.items():
        said = server.post("/invocations", json={"instances": [row | {name: value}]}).json()["message"]
        assert f"column '{name}', row 0" in said
        assert message in said
    assert server.post("/invocations", json={"instances": [row | {"load": -(2**63)}]}).status_code == 200
    text = "load,wet,wind,route,at\n4.0,true,2,b,2024-05-06\n"
    assert server.post("/invocations", content=text, headers={"Content-Type": "text/csv"}).json() == {"predictions": [9.0]}


def test_a_whole_number_may_be_left_out_and_cannot_be_null(caller: Caller, tmp_path: Path):
    """Pandas has no null among whole numbers, so MLflow takes such a column or does without it."""
    from concurrent.futures import ThreadPoolExecutor

    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    def loads(model_input: pd.DataFrame) -> list[float]:
        return (model_input["load"] + model_input.get("cars", -1)).astype(float).tolist()

    signature = ModelSignature(Schema([ColSpec("double", "load"), ColSpec("long", "cars", required=False)]), Schema([ColSpec("double")]))
    server = caller(foreign(tmp_path / "cars", loads, pd.DataFrame({"load": [1.0]}), signature))
    rows = [{"load": load} | ({"cars": 7} if load % 3 else {}) for load in range(40)]
    with ThreadPoolExecutor(20) as pool:  # some of them at the same time, which is one call of the model for those that are alike
        answers = list(pool.map(lambda row: server.post("/invocations", json={"instances": [row]}), rows))
    assert [answer.json() for answer in answers] == [{"predictions": [row["load"] + row.get("cars", -1)]} for row in rows]
    assert server.post("/invocations", json={"instances": [{"load": 1}, {"load": 2}]}).json() == {"predictions": [0, 1]}
    for wrong in ([{"load": 1, "cars": 1}, {"load": 1, "cars": None}], [{"load": 1, "cars": 1}, {"load": 1}]):
        answer = server.post("/invocations", json={"instances": wrong})
        assert answer.status_code == 400
        assert "column 'cars', row 1: there must be a whole number, not null." in answer.json()["message"]
    described = server.get("/openapi.json").json()["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert '"cars": {"type": "integer"' in json.dumps(described)
