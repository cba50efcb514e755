"""Artifact locations of a SQLite store: beside the store, also after its folder was moved or copied.

MLflow writes absolute paths into the store, and knows no other ones for artifacts of this machine. So whoever opens a store compares
them with where the store is now, and rewrites those that a move left behind, in one transaction: all of them, or none.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from lakeline.errors import RegistryError

FOLDER = "mlartifacts"

_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
"""All that hold a path of an artifact; `source` does in versions that were registered from one."""

_FILES = (("logged_models", "artifact_location"), ("runs", "artifact_uri"))
"""Those that name a folder of artifacts, not one of such folders."""


def artifact_root(store: Path) -> str:
    """Location of the artifacts of a SQLite store: beside it, whatever the working folder of a step.

    Parameters
    ----------
    store
        Its file.

    Returns
    -------
    str
        A path, as MLflow has it; a URL where MLflow would read a character of the path as something else (`%`, `#`, `?`).
    """
    folder = store.resolve().parent / FOLDER
    return str(folder) if not set("%#?") & set(str(folder)) else folder.as_uri()


def local_path(location: str) -> Path | None:
    """Path of an artifact location; None if it isn't of this machine."""
    if location.startswith("/"):
        return Path(location)
    parsed = urlparse(location)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def follow(store: Path) -> str | None:
    """Have the artifact locations of a store follow its folder; artifacts that runs wrote to the old one since are copied from there.

    Nothing of the old folder is changed: it may be what this one is a copy of. Where the store is as it should be, this is one query.

    Parameters
    ----------
    store
        Its file.

    Returns
    -------
    str or None
        What was done, in a sentence; None if there was nothing to do.

    Raises
    ------
    RegistryError
        If the store can't be written.
    """
    here = artifact_root(store)
    roots = _left_behind(store, here)
    if not roots:
        return None
    copied = kept = 0
    try:
        with closing(sqlite3.connect(store.resolve(), timeout=30, isolation_level=None)) as database:
            for root in roots:
                copied += _bring(database, root, here)
            database.execute("BEGIN IMMEDIATE")
            for table, column in _there(database, _COLUMNS):
                for root in roots:
                    # The slash keeps /srv/old apart from /srv/older.
                    changed = database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ? || '/'",  # noqa: S608 (names of ours)
                        (here, len(root) + 1, len(root) + 1, root),
                    )
                    kept += changed.rowcount if (table, column) in _FILES else 0
            database.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise RegistryError(
            f"{store} was moved here from {local_path(roots[0])}, and the artifact locations in it can't be rewritten: {error}. "
            "Nothing was changed. Look at the folder's permissions and at the space left, and run the same command again."
        ) from error
    if not kept:  # a store without runs has moved without anybody's noticing
        return None
    said = f"MLflow's store was moved or copied from {_parent(roots[0])}: its artifacts are now those of {_parent(here)}"
    return f"{said}; {copied} that runs had written to the old place since were copied" if copied else said


def follow_and_say(store: Path) -> None:
    """Have the artifact locations of a store follow its folder, and say so on stderr."""
    done = follow(store)
    if done:
        print(f"lakeline: {done}.", file=sys.stderr)


def missing(store: Path) -> list[str]:
    """Versions whose files are not where the store has them, such as `ferries 3`."""
    query = """
        SELECT versions.name || ' ' || versions.version, coalesce(logged.artifact_location, versions.storage_location)
        FROM model_versions AS versions LEFT JOIN logged_models AS logged ON versions.source = 'models:/' || logged.model_id
        WHERE versions.current_stage != 'Deleted_Internal' ORDER BY versions.name, versions.version
    """
    try:
        with closing(sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            found = database.execute(query).fetchall()
    except sqlite3.Error:  # MLflow itself says what is wrong with a store
        return []
    paths = {str(version): local_path(str(location)) for version, location in found if location}
    return [version for version, path in paths.items() if path is not None and not path.is_dir()]


def _left_behind(store: Path, here: str) -> list[str]:
    """Roots that experiments of the store have and that are another folder's."""
    try:
        with closing(sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            rows = database.execute("SELECT experiment_id, name, artifact_location FROM experiments").fetchall()
    except sqlite3.Error:  # MLflow itself says what is wrong with a store
        return []
    roots: dict[str, None] = {}
    for number, name, location in rows:
        root, _, last = str(location).rpartition("/")
        if last in {str(number), name} and root.endswith(f"/{FOLDER}") and root != here and _moved(root, here):
            roots[root] = None
    return list(roots)


def _moved(root: str, here: str) -> bool:
    """Whether to look for artifacts here: not if it is one folder of two names, nor if neither is there (a disk that isn't mounted)."""
    old, new = local_path(root), local_path(here)
    if old is None or new is None or not (old.is_dir() or new.is_dir()):
        return False
    return not (old.is_dir() and new.is_dir() and old.samefile(new))


def _bring(database: sqlite3.Connection, root: str, here: str) -> int:
    """Copy the artifacts that are in the old folder only, each whole or not at all; how many there were."""
    copied = 0
    for table, column in _there(database, _FILES):
        for (location,) in database.execute(f"SELECT {column} FROM {table}").fetchall():  # noqa: S608 (names of ours)
            if not str(location).startswith(f"{root}/"):
                continue
            old, new = local_path(location), local_path(here + str(location).removeprefix(root))
            if old is None or new is None or new.exists() or not old.is_dir():
                continue
            draft = new.with_name(f".{new.name}-{uuid.uuid4().hex[:8]}")
            try:
                shutil.copytree(old, draft)
                draft.rename(new)
            except OSError:
                shutil.rmtree(draft, ignore_errors=True)
                if not new.exists():  # or another process was quicker
                    raise
            copied += 1
    return copied


def _there(database: sqlite3.Connection, columns: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Those of the columns that the store has: MLflow's schema changes."""
    return [
        (table, column)
        for table, column in columns
        if column in {str(row[1]) for row in database.execute(f"PRAGMA table_info({table})").fetchall()}
    ]


def _parent(root: str) -> Path:
    return (local_path(root) or Path(root)).parent
