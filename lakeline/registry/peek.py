"""A read-only glance at MLflow's SQLite store, for steps that need one fact of it and not MLflow, whose import and start cost seconds.

What is read here is six tables of MLflow's own schema. Where they are not as expected, or the store is no SQLite file,
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


def _rows(query: str, *values: Any, **named: Any) -> list[tuple[Any, ...]]:
    path = sqlite_path(get_settings().mlflow_uri)
    if path is None:
        raise CannotTell
    if not path.exists():
        return []
    follow_and_say(path)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            return database.execute(query, named or values).fetchall()
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


def any_open(name: str) -> bool:
    """Whether an MLflow run of a data set is open, or a version of ours has no verdict.

    Raises
    ------
    CannotTell
        If MLflow must be asked.
    """
    found = _rows(
        """
        SELECT 1 FROM runs
        JOIN experiments ON experiments.experiment_id = runs.experiment_id AND experiments.name = :name
        WHERE runs.status = 'RUNNING' AND runs.lifecycle_stage = 'active'
        UNION ALL
        SELECT 1 FROM model_version_tags AS run
        WHERE run.name = :name AND run.key = 'pipeline_run' AND NOT EXISTS (
            SELECT 1 FROM model_version_tags AS verdict
            WHERE verdict.name = run.name AND verdict.version = run.version AND verdict.key = 'verdict'
        )
        LIMIT 1
        """,
        name=name,
    )
    return bool(found)
