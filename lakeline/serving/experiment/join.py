"""The prediction log joined with the truth: the loss of each unit, and what was left out."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakeline.errors import DataError
from lakeline.serving.experiment.assessment import Units
from lakeline.serving.experiment.truth import MEMORY
from lakeline.serving.release import variant_of
from lakeline.serving.store import filesystem

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as ds

    from lakeline.serving.experiment.state import State

_LOSSES = {"rmse": "(prediction - target) ** 2", "mae": "abs(prediction - target)"}

_ANSWERED = """
CREATE TABLE answered AS
SELECT request_id, "row", nullif(key, '') AS key, time, version, version IN ($production, $challenger) AS tested, prediction,
    coalesce(isfinite(prediction), false) AS finite
FROM predictions WHERE experiment = $experiment
"""

_BROKEN = """
SELECT count(*) FROM answered AS theirs WHERE version = $challenger AND NOT finite
AND NOT EXISTS (FROM answered AS ours WHERE ours.request_id = theirs.request_id AND ours."row" = theirs."row"
    AND ours.version = $production AND NOT ours.finite)
"""
"""Rows that the challenger had no number for, also where production answered in its place; but not those that neither can answer."""

_STEPS: list[tuple[str, dict[str, str]]] = [
    (
        # Which variant a gateway gave a request to, nothing says but who answered it.
        """
        CREATE TABLE twice AS
        SELECT request_id FROM answered WHERE NOT $unkeyed AND key IS NULL AND tested
        GROUP BY request_id HAVING min(version) <> max(version)
        """,
        {
            "answers of other versions": "SELECT count(*) FROM answered WHERE NOT tested",
            "predictions that are no finite number": "SELECT count(*) FROM answered WHERE tested AND NOT finite",
            "requests without a key that both versions answered": "SELECT count(*) FROM twice",
        },
    ),
    (
        # A request that was sent again with its id is one request. Rows that one variant had no number for were answered by the other one.
        """
        CREATE TABLE logged AS
        SELECT request_id, "row", key, time, version, prediction, finite, coalesce('key ' || key, 'request ' || request_id) AS unit,
            request_id IN (SELECT request_id FROM answered WHERE "row" > 0) AS several
        FROM answered WHERE tested AND NOT (key IS NULL AND request_id IN (FROM twice))
        QUALIFY row_number() OVER (PARTITION BY request_id, key, "row" ORDER BY finite DESC, time, version) = 1
        """,
        {
            "answers to a request that was sent again": """
                SELECT (SELECT count(*) FROM answered WHERE tested AND finite AND NOT (key IS NULL AND request_id IN (FROM twice)))
                    - (SELECT count(*) FROM logged WHERE finite)"""
        },
    ),
    ("DROP TABLE answered", {}),
    (
        """
        CREATE TABLE told AS
        SELECT batch, min(known) AS known, kind, id, "row", min(target) AS target, min(target) <> max(target) AS disputed
        FROM truth WHERE isfinite(target) GROUP BY batch, kind, id, "row"
        """,
        {"truth without a number": "SELECT count(*) FROM truth WHERE batch >= 0 AND (target IS NULL OR NOT isfinite(target))"},
    ),
    (
        # Truth by each of the three ways of naming a prediction, the most exact one first.
        """
        CREATE TABLE matched AS
        SELECT logged.rowid AS n, unit, time, 0 AS way, batch, known, target, disputed, true AS clear
        FROM logged JOIN told ON kind = 'row' AND id = request_id AND told."row" = logged."row"
        UNION ALL
        SELECT logged.rowid AS n, unit, time, 1 AS way, batch, known, target, disputed, NOT several AS clear
        FROM logged JOIN told ON kind = 'request' AND id = request_id
        UNION ALL
        SELECT logged.rowid AS n, unit, time, 2 AS way, batch, known, target, disputed, NOT several AS clear
        FROM logged JOIN told ON kind = 'key' AND id = key
        """,
        {"units without truth so far": "SELECT count(DISTINCT unit) FROM logged WHERE finite AND unit NOT IN (SELECT unit FROM matched)"},
    ),
    (
        "CREATE TABLE late AS SELECT DISTINCT n FROM matched WHERE time >= known",
        {
            "predictions made when their truth was known": "SELECT count(*) FROM late",
            "predictions of which the truth says different things": """
                SELECT count(*) FROM matched WHERE disputed AND n NOT IN (FROM late)""",
            "rows of requests with several, whose truth doesn't say which": """
                SELECT count(*) FROM matched WHERE NOT clear AND n NOT IN (FROM late)""",
        },
    ),
    (
        """
        CREATE TABLE usable AS SELECT n, unit, way, batch, target FROM matched
        WHERE clear AND NOT disputed AND n NOT IN (FROM late) AND n IN (SELECT rowid FROM logged WHERE finite)
        """,
        {},
    ),
    ("DROP TABLE matched", {}),
    # A unit is judged once, by what came first of it: so its loss doesn't change from look to look, which a sequential test needs. With
    # losses that go on moving, looking again would be another chance to err that no bound knows of.
    (
        "CREATE TABLE firsts AS SELECT unit, min(batch) AS batch FROM usable GROUP BY unit",
        {
            "truth that came later than a unit's first": """
                SELECT count(*) FROM usable JOIN firsts ON firsts.unit = usable.unit AND usable.batch > firsts.batch"""
        },
    ),
    (
        """
        CREATE TABLE judged AS SELECT n, any_value(batch) AS batch, arg_min(target, way) AS target
        FROM usable JOIN firsts USING (unit, batch) GROUP BY n
        """,
        {},
    ),
    ("DROP TABLE usable", {}),
]
"""From the log and the truth to what is judged, each table with what it leaves out."""

_UNITS = """
SELECT coalesce(any_value(key), any_value(request_id)) AS name, any_value(key) IS NOT NULL AS keyed, min(version) AS least,
    max(version) AS most, avg({loss}) AS loss, count(*) AS "rows"
FROM judged JOIN logged ON logged.rowid = n GROUP BY unit ORDER BY min(batch), min(time), unit
"""


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

    values = {"experiment": state.id, "production": state.production, "challenger": state.challenger, "unkeyed": state.unkeyed}
    left_out: dict[str, int] = {}
    with (
        tempfile.TemporaryDirectory(prefix="lakeline-") as folder,
        duckdb.connect(f"{folder}/join.db", config={"memory_limit": MEMORY}) as database,
    ):
        database.register("predictions", _log(predictions, model, state.started or 0.0))
        database.register("truth", truth)
        try:
            _run(database, _ANSWERED, values)
        except (duckdb.Error, OSError) as error:
            raise DataError(f"{model}: the prediction log at {predictions} can't be read: {str(error).splitlines()[0]}") from None
        broken = _count(database, _BROKEN, values)
        for statement, counts in _STEPS:
            _run(database, statement, values)
            left_out |= {name: _count(database, query, values) for name, query in counts.items()}
        found = database.execute(_UNITS.format(loss=_LOSSES[metric])).fetchnumpy()
    return _assign(state, found, broken, {name: count for name, count in left_out.items() if count})


def _run(database: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    return database.execute(query, {name: value for name, value in values.items() if f"${name}" in query})


def _count(database: duckdb.DuckDBPyConnection, query: str, values: dict[str, Any]) -> int:
    return int(_run(database, query, values).fetchall()[0][0])


def _assign(state: State, found: dict[str, Any], broken: int, left_out: dict[str, int]) -> Units:
    """Say of each unit whose it was: by its hash, as the servers do; where a gateway shares out requests without a key, by who answered."""
    import numpy as np

    least, most = found["least"], found["most"]
    hashed = found["keyed"] | state.unkeyed
    drawn = (each and variant_of(name, state.id, state.weight) == "challenger" for name, each in zip(found["name"], hashed, strict=True))
    challengers = np.where(hashed, np.fromiter(drawn, np.bool_, len(hashed)), least == state.challenger)
    versions = np.where(challengers, state.challenger, state.production)
    crossed = int(np.count_nonzero((least != versions) | (most != versions)))
    return Units(np.asarray(found["loss"], dtype=np.float64), challengers, int(found["rows"].sum()), crossed, broken, left_out)


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
