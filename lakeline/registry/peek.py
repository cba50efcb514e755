"""A read-only glance at MLflow's SQLite store, for steps that need one fact of it and not MLflow, whose import and start cost seconds.

What is read here is four tables of MLflow's own schema. Where they are not as expected, or the store is no SQLite file,
`CannotTell` is raised, and the caller asks MLflow itself.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lakeline.registry.location import follow_and_say
from lakeline.settings import get_settings

PRODUCTION = "production"


class CannotTell(Exception):
    """The store is not one that can be glanced at: ask MLflow."""


def sqlite_path(uri: str) -> Path | None:
    """File of a SQLite store, or None if the store is something else."""
    path = uri.removeprefix("sqlite:///")
    return None if path == uri or not path or path.startswith(":") or "?" in path else Path(unquote(path))


def _rows(query: str, *values: Any) -> list[tuple[Any, ...]]:
    path = sqlite_path(get_settings().mlflow_uri)
    if path is None:
        raise CannotTell
    if not path.exists():
        return []
    follow_and_say(path)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise CannotTell from error


def production(name: str) -> tuple[int, str] | None:
    """Version in production, and where its files are; None if there is none.

    Raises
    ------
    CannotTell
        If MLflow must be asked.
    """
    found = _rows(
        """
        SELECT versions.version, coalesce(logged.artifact_location, versions.storage_location, versions.source)
        FROM registered_model_aliases AS aliases
        JOIN model_versions AS versions ON versions.name = aliases.name AND versions.version = aliases.version
        LEFT JOIN logged_models AS logged ON versions.source = 'models:/' || logged.model_id
        WHERE aliases.name = ? AND aliases.alias = ?
        """,
        name,
        PRODUCTION,
    )
    return (int(found[0][0]), str(found[0][1])) if found else None


def run_status(name: str, run_id: str) -> str | None:
    """Status (RUNNING, FINISHED, ...) of the MLflow run of a pipeline run; None if it has none.

    Raises
    ------
    CannotTell
        If MLflow must be asked.
    """
    found = _rows(
        """
        SELECT runs.status FROM runs
        JOIN tags AS run ON run.run_uuid = runs.run_uuid AND run.key = 'pipeline_run' AND run.value = ?
        JOIN experiments ON experiments.experiment_id = runs.experiment_id AND experiments.name = ?
        WHERE NOT EXISTS (SELECT 1 FROM tags AS parent WHERE parent.run_uuid = runs.run_uuid AND parent.key = 'mlflow.parentRunId')
        """,
        run_id,
        name,
    )
    return str(found[0][0]) if found else None
