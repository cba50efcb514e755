"""Records as the pipelines leave them, of runs that end in each way."""

import copy
import math
import random
from typing import Any

import pytest

Record = dict[str, Any]

COMMIT = "9f1c52a7d0b3e84477ab21f0c55d9e1b3a6c7f80"
EVIL = "<script>alert('x')</script><img src=https://example.org/x.png onerror=alert(1)> & \"quoted\""


def _metrics(rmse: float) -> dict[str, float]:
    return {"rmse": rmse, "mae": rmse * 0.72, "r2": 1 - (rmse / 48) ** 2}


def _slice(column: str, value: str, rows: int, ours: float, theirs: float | None) -> Record:
    production = None if theirs is None else _metrics(theirs)
    return {"slice": column, "value": value, "rows": rows, "candidate": _metrics(ours), "production": production}


def _validated(arrival: str, layer: str, rows: int) -> Record:
    names = ("dep_delay", "distance")
    checks: list[Record] = [{"check": f"{name} is a number", "column": name, "failed": 0, "samples": []} for name in names]
    return {"arrival": arrival, "layer": layer, "passed": True, "rows": rows, "checks": checks}


def _sample(production: bool) -> list[list[float | None]]:
    source = random.Random(7)
    rows = []
    for _ in range(2000):
        actual = source.expovariate(1 / 30) - 20
        ours, theirs = actual + source.gauss(0, 13), actual + source.gauss(1, 15)
        rows.append([round(actual, 3), round(ours, 3), round(theirs, 3) if production else None])
    return rows


def _data(*arrivals: str) -> Record:
    found = [{"id": each, "source": "a package 0.0.3: data/rows.csv.zip", "rows_raw": 29425, "rows_clean": 28293} for each in arrivals]
    return {"commit": COMMIT, "status": "new", "arrivals": found, "changes": {}}


CHANGES = {
    "rows": {"before": 160678, "after": 28293},
    "columns": {
        "dep_delay": {
            "before": {"null_share": 0.0, "mean": 13.63, "std": 39.9, "min": -33.0, "max": 1301.0},
            "after": {"null_share": 0.0, "mean": 53.53, "std": 50.1, "min": -22.0, "max": 1005.0},
        },
        "distance": {
            "before": {"null_share": 0.0, "mean": 1040.0, "std": 730.0, "min": 80.0, "max": 4983.0},
            "after": {"null_share": 0.125, "mean": 1043.0, "std": 731.0, "min": 80.0, "max": 4983.0},
        },
        "dest": {
            "before": {"null_share": 0.0, "categories": 100},
            "after": {"null_share": 0.0, "categories": 93},
            "new_categories": ["ANC", "LEX"],
            "new_categories_count": 2,
        },
        "time_hour": {
            "before": {"null_share": 0.0, "min": "2013-01-01 05:00:00", "max": "2013-06-30 23:00:00"},
            "after": {"null_share": 0.0, "min": "2013-07-01 00:00:00", "max": "2013-07-31 23:00:00"},
        },
    },
}


def _promoted() -> Record:
    trials = [
        {"number": 0, "estimator": "linear_regression", "parameters": {}, "metrics": _metrics(13.4), "seconds": 0.41, "error": None},
        {"number": 1, "estimator": "ridge", "parameters": {"alpha": 3.2}, "metrics": _metrics(13.2), "seconds": 0.52, "error": None},
        {
            "number": 2,
            "estimator": "decision_tree",
            "parameters": {"max_depth": 9},
            "metrics": _metrics(14.9),
            "seconds": 75.0,
            "error": None,
        },
        {
            "number": 3,
            "estimator": "ridge",
            "parameters": {"alpha": -1.0},
            "metrics": {},
            "seconds": 0.02,
            "error": "ValueError: alpha < 0",
        },
    ]
    gates = [
        {"name": "rmse maximum", "passed": True, "observed": 13.1, "bound": 25.0, "text": "rmse 13.1 minutes; needed: at most 25."},
        {"name": "improvement", "passed": True, "observed": 0.0225, "bound": 0.0, "text": "rmse 13.1 is 2.2 % better; needed: not worse."},
        {"name": "smoke", "passed": True, "observed": None, "bound": None, "text": "the registered model predicts 5 rows."},
    ]
    parts = [
        _slice("origin", name, rows, ours, theirs) for name, rows, ours, theirs in (("EWR", 14810, 12.9, 13.3), ("JFK", 13771, 13.6, 13.4))
    ]
    parts += [_slice("carrier", f"C{number:02d}", 9000 - 300 * number, 13.0 + number / 10, 13.5) for number in range(16)]
    return {
        "run": {
            "id": "continuous-20131101-120000-ab12",
            "pipeline": "continuous",
            "dataset": "flights",
            "title": "NYC flights 2013",
            "started": 1383307200.0,
            "seconds": 38.4,
            "status": "succeeded",
            "error": None,
        },
        "data": _data("2013-07") | {"changes": CHANGES},
        "validation": [_validated("2013-07", "raw", 29425), _validated("2013-07", "clean", 28293)],
        "trials": trials,
        "best": 1.0,
        "metric": {"name": "rmse", "direction": "minimize"},
        "target": {"column": "arr_delay", "unit": "minutes"},
        "evaluation": {
            "candidate": _metrics(13.1),
            "production": _metrics(13.4084),
            "production_version": 2.0,
            "rows": 41020.0,
            "slices": parts,
            "sample": _sample(production=True),
        },
        "decision": {"verdict": "promoted", "reasons": ["every gate holds"], "gates": gates, "previous": 2},
        "model": {
            "name": "flights",
            "version": 3,
            "mlflow_run_id": "3f2c1a9b8d7e6f5a4b3c2d1e0f9a8b7c",
            "features": {"categorical": ["carrier", "origin"], "numeric": ["dep_delay", "distance"]},
        },
        "lineage": {
            "data_commit": COMMIT,
            "data_arrivals": "2013-01,2013-02",
            "spec_digest": "4b7a6e0f1d2c3b4a5968778695a4b3c2",
            "code_version": "c2e2875f7a31",
            "image": "lakeline/steps@sha256:0a1b2c3d",
            "pipeline_run": "continuous-20131101-120000-ab12",
            "seed": "42",
        },
    }


def _first() -> Record:
    record = _promoted()
    record["data"] = _data("2013-01", "2013-02", "2013-03")
    record["evaluation"] |= {"production": None, "production_version": None, "sample": _sample(production=False)}
    for part in record["evaluation"]["slices"]:
        part["production"] = None
    record["model"]["version"] = 1
    return record


def _held() -> Record:
    record = _promoted()
    refusal = "rmse 13.1 is 2.2 % better; needed: at least 5 % better."
    record["decision"]["gates"][1] |= {"passed": False, "bound": 0.05, "text": refusal}
    record["decision"] |= {"verdict": "held", "reasons": [refusal]}
    return record


def _refused() -> Record:
    samples = [
        {"row": 118 + 37 * number, "value": value} for number, value in enumerate(["n/a", EVIL, "", "  ", None, math.nan, "\x1b[31m"])
    ]
    broken: Record = _validated("2013-08", "raw", 29327) | {"passed": False}
    broken["checks"][0] |= {"failed": 412, "samples": samples}
    return {
        "run": {
            "id": "data-20131101-120000-cd34",
            "pipeline": "data",
            "dataset": "flights",
            "title": "NYC flights 2013",
            "seconds": 3.7,
            "status": "failed",
            "error": "flights 2013-08: 412 of 29,327 rows fail \"dep_delay is a number\" (first: row 118, 'n/a').\nNothing was merged.",
        },
        "data": {"branch": "ingest-2013-08", "status": "new", "arrivals": [{"id": "2013-08", "source": "a file", "rows_raw": 29327}]},
        "validation": [broken],
    }


def _published() -> Record:
    record = {key: value for key, value in _promoted().items() if key in {"run", "data", "validation", "metric", "target"}}
    record["run"]["pipeline"] = "data"
    return record


def _repeated() -> Record:
    record = _published()
    record["data"] = _data("2013-07") | {"status": "repeated"}
    del record["validation"]
    return record


RECORDS = {
    "promoted": _promoted(),
    "first": _first(),
    "held": _held(),
    "refused": _refused(),
    "published": _published(),
    "repeated": _repeated(),
    "nothing": {},
}


@pytest.fixture
def records() -> dict[str, Record]:
    """Records by how the run ended; a test may change them."""
    return copy.deepcopy(RECORDS)
