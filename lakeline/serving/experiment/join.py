"""The prediction log joined with the truth: the loss of each unit, and what was left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakeline.errors import DataError
from lakeline.serving.experiment.assessment import Units
from lakeline.serving.release import variant_of
from lakeline.serving.store import filesystem

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as ds

    from lakeline.serving.experiment.state import State

_LOSSES = {"rmse": "(prediction - target) ** 2", "mae": "abs(prediction - target)"}

_LOGGED = """
CREATE TEMP TABLE answered AS
SELECT request_id, "row", nullif(key, '') AS key, time, version, prediction FROM predictions WHERE experiment = $experiment;

CREATE TEMP TABLE logged AS
SELECT *, coalesce('key ' || key, 'request ' || request_id) AS unit, count(*) OVER (PARTITION BY request_id, key) AS rows
FROM (
    FROM answered WHERE version IN ($production, $challenger)
    QUALIFY row_number() OVER (PARTITION BY request_id, key, "row" ORDER BY time, version) = 1
);
"""
"""Each row that was answered in the test, once: a request that was sent again with its id is one request."""

_MATCHED = """
CREATE TEMP TABLE told AS
SELECT batch, min(known) AS known, kind, id, "row", min(target) AS target, count(DISTINCT target) AS values
FROM truth WHERE isfinite(target) GROUP BY batch, kind, id, "row";

CREATE TEMP TABLE matched AS
SELECT logged.*, told.* EXCLUDE ("row", id, kind), kind = 'row' OR rows = 1 AS clear FROM logged JOIN told
ON kind = 'row' AND id = request_id AND told."row" = logged."row"
UNION ALL BY NAME
SELECT logged.*, told.* EXCLUDE ("row", id, kind), rows = 1 AS clear FROM logged JOIN told ON kind = 'request' AND id = request_id
UNION ALL BY NAME
SELECT logged.*, told.* EXCLUDE ("row", id, kind), rows = 1 AS clear FROM logged JOIN told ON kind = 'key' AND id = key;

CREATE TEMP TABLE usable AS
FROM matched WHERE clear AND values = 1 AND time < known AND isfinite(prediction);

CREATE TEMP TABLE judged AS
FROM (SELECT *, min(batch) OVER (PARTITION BY unit) AS first FROM usable) WHERE batch = first
QUALIFY row_number() OVER (PARTITION BY request_id, key, "row" ORDER BY known) = 1;
"""
"""Truth by each of the three ways of naming a prediction; a unit is judged once, by what came first of it.

So a unit's loss doesn't change from look to look, which a sequential test needs: with losses that go on moving, looking again would be
another chance to err that no bound knows of.
"""

_UNITS = """
SELECT any_value(key) AS key, any_value(request_id) AS request_id, min(version) AS least, max(version) AS most, avg({loss}) AS loss,
    count(*) AS rows
FROM judged GROUP BY unit ORDER BY min(batch), min(time), unit
"""

_LEFT_OUT = {
    "answers of other versions": "SELECT count(*) FROM answered WHERE version NOT IN ($production, $challenger)",
    "answers to a request that was sent again": """
        SELECT (SELECT count(*) FROM answered WHERE version IN ($production, $challenger)) - (SELECT count(*) FROM logged)""",
    "predictions that are no finite number": "SELECT count(*) FROM logged WHERE NOT isfinite(prediction)",
    "units without truth so far": "SELECT count(DISTINCT unit) FROM logged WHERE unit NOT IN (SELECT unit FROM matched)",
    "truth without a number": "SELECT count(*) FROM truth WHERE target IS NULL OR NOT isfinite(target)",
    "predictions of which the truth says different things": "SELECT count(*) FROM matched WHERE values > 1",
    "predictions made when their truth was known": "SELECT count(*) FROM matched WHERE time >= known",
    "rows of requests with several, whose truth doesn't say which": "SELECT count(*) FROM matched WHERE NOT clear",
    "truth that came later than a unit's first": """
        SELECT count(*) FROM (SELECT batch, min(batch) OVER (PARTITION BY unit) AS first FROM usable) WHERE batch > first""",
}


def units_of(state: State, metric: str, predictions: str, model: str, truth: pa.Table) -> Units:
    """Find the loss of each unit of a test whose truth is known.

    A unit is a key, or a request without one, and belongs to the variant that it was given to, whichever answered (intention to treat):
    requests that a variant couldn't answer are no random ones, and neither are those that the other one answered in its place.

    Parameters
    ----------
    state
        The test, which has started.
    metric
        rmse or mae.
    predictions
        URL of the prediction log.
    model
        Its name.
    truth
        From `truth.truth_since`.

    Raises
    ------
    DataError
        If a file of the log can't be read.
    """
    import duckdb

    values = {"experiment": state.id, "production": state.production, "challenger": state.challenger}
    with duckdb.connect(":memory:") as database:
        database.register("predictions", _log(predictions, model, state.started or 0.0))
        database.register("truth", truth)
        try:
            for statement in [*_LOGGED.split(";"), *_MATCHED.split(";")]:
                if statement.strip():
                    _run(database, statement, values)
        except (duckdb.Error, OSError) as error:
            raise DataError(f"{model}: the prediction log at {predictions} can't be read: {str(error).splitlines()[0]}") from None
        counts = {name: int(_run(database, query, values).fetchall()[0][0]) for name, query in _LEFT_OUT.items()}
        broken = _run(database, "SELECT count(*) FROM logged WHERE version = $challenger AND NOT isfinite(prediction)", values)
        broken = int(broken.fetchall()[0][0])
        found = database.execute(_UNITS.format(loss=_LOSSES[metric])).fetchall()
    return _assign(state, found, broken, {name: count for name, count in counts.items() if count})


def _run(database: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    return database.execute(query, {name: value for name, value in values.items() if f"${name}" in query})


def _assign(state: State, found: list[tuple[Any, ...]], broken: int, left_out: dict[str, int]) -> Units:
    """Say of each unit whose it was: by its hash, as the servers do; where a gateway shares out requests without a key, by who answered."""
    import numpy as np

    versions = {"production": state.production, "challenger": state.challenger}
    challengers = np.empty(len(found), dtype=np.bool_)
    crossed = 0
    for place, (key, request, least, most, _, _) in enumerate(found):
        hashed = key is not None or state.unkeyed
        version = versions[variant_of(request if key is None else key, state.id, state.weight)] if hashed else least
        challengers[place] = version == state.challenger
        crossed += not version == least == most
    losses = np.array([loss for *_, loss, _ in found], dtype=np.float64)
    return Units(losses, challengers, sum(rows for *_, rows in found), crossed, broken, left_out)


def _log(url: str, model: str, since: float) -> ds.Dataset:
    """Files of the log since a day before a moment: clocks differ."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    schema = pa.schema(
        {
            "request_id": pa.string(),
            "row": pa.int32(),
            "key": pa.string(),
            "time": pa.timestamp("us", "UTC"),
            "version": pa.int32(),
            "experiment": pa.string(),
            "prediction": pa.float64(),
        }
    )
    store, root = filesystem(url)
    first = (datetime.fromtimestamp(since, UTC) - timedelta(days=1)).date().isoformat()
    files: list[str] = []
    if store.exists(f"{root}/{model}"):
        for folder in store.ls(f"{root}/{model}", detail=False):
            day = str(folder).rstrip("/").rpartition("date=")[2]
            if day >= first:
                files += [str(path) for path in store.find(str(folder)) if _finished(str(path))]
    return (
        ds.dataset(sorted(files), schema=schema, format="parquet", filesystem=store)
        if files
        else ds.dataset(pa.table({name: pa.array([], kind) for name, kind in zip(schema.names, schema.types, strict=True)}))
    )


def _finished(path: str) -> bool:
    return path.endswith(".parquet") and not path.rpartition("/")[2].startswith((".", "_"))
