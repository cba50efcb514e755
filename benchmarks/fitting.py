"""The fit alone: rows folded in DuckDB against DictVectorizer and LinearRegression on every row, after all imports.

Usage: python -m benchmarks.fitting script|lakeline ROWS.parquet
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contest import DATASET, WORKLOADS, Bench
from benchmarks.measure import measure

FEATURES = ("PULocationID", "DOLocationID")
TARGET = "duration"
SIDES = ("script", "lakeline")


def fitting(data: Path, workloads: Sequence[str], rounds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Fit the same linear model on the same rows, in turns, each in a process of its own.

    Parameters
    ----------
    data
        Folder of local copies, LAKELINE_DATA.
    workloads
        Keys of WORKLOADS.
    rounds
        Measured runs a side and workload.
    say
        Told about each workload.

    Returns
    -------
    list[dict]
        By workload and side: rows, rmse on them, median seconds and peak MiB of the process.
    """
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="lakeline-bench-") as scratch:
        bench = Bench(Path(scratch), data)
        for workload in workloads:
            rows = Path(scratch) / "rows.parquet"
            write_rows(data, WORKLOADS[workload], rows)
            runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
            for _ in range(rounds):
                for side in SIDES:
                    with bench.home() as home:
                        command = [sys.executable, "-m", "benchmarks.fitting", side, rows]
                        cost, printed = measure(command, environment=bench.environment(home), folder=home)
                    runs[side].append(json.loads(printed) | {"mib": cost.largest_mib})
            for side in SIDES:
                middle = {name: median(run[name] for run in runs[side]) for name in ("seconds", "mib")}
                found.append({"workload": workload, "side": side, **{name: runs[side][0][name] for name in ("rows", "rmse")}, **middle})
                say(f"fit, {workload}, {side}: {middle['seconds']:.2f} s")
    return found


def write_rows(data: Path, months: Sequence[str], path: Path) -> None:
    """Clean rows of months, by DuckDB, so that this process stays small."""
    import duckdb

    files = [str(data / DATASET / f"green_tripdata_{month}.parquet") for month in months]
    duckdb.execute(
        f"""
        COPY (
            SELECT PULocationID::INTEGER::VARCHAR AS PULocationID, DOLocationID::INTEGER::VARCHAR AS DOLocationID, duration
            FROM (SELECT *, epoch(lpep_dropoff_datetime - lpep_pickup_datetime) / 60 AS duration FROM read_parquet(?, union_by_name = true))
            WHERE duration BETWEEN 1 AND 60
        ) TO '{path}' (FORMAT parquet)
        """,  # noqa: S608 (a path of our own)
        [files],
    )


def script(path: Path) -> dict[str, Any]:
    """Fit as the plain script does."""
    import pandas as pd
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import root_mean_squared_error
    from sklearn.pipeline import make_pipeline

    began = time.perf_counter()
    rows = pd.read_parquet(path)
    records: Any = rows[list(FEATURES)].to_dict(orient="records")  # pyright: ignore[reportCallIssue]
    model = make_pipeline(DictVectorizer(), LinearRegression()).fit(records, rows[TARGET])
    seconds = time.perf_counter() - began
    return {"rows": len(rows), "rmse": float(root_mean_squared_error(rows[TARGET], model.predict(records))), "seconds": seconds}


def lakeline(path: Path) -> dict[str, Any]:
    """Fit as Lakeline does: one weighted row for all that have the same features."""
    import numpy as np

    from lakeline.data.specfile import local_spec
    from lakeline.training import features, fold

    spec = local_spec(DATASET).spec
    pipeline = features.pipeline(spec, "linear_regression", {})
    began = time.perf_counter()
    rows = fold.rows_to_fit(path, features.feature_types(spec), TARGET)
    features.fit(pipeline, rows.features, rows.target, rows.weight)
    seconds = time.perf_counter() - began
    weight = np.ones(len(rows.target)) if rows.weight is None else rows.weight
    squares = float(weight @ (rows.target - pipeline.predict(rows.features)) ** 2) + rows.within
    return {"rows": rows.rows, "rmse": (squares / rows.rows) ** 0.5, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps({"script": script, "lakeline": lakeline}[sys.argv[1]](Path(sys.argv[2]))))
