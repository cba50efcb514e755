"""Specs of data sets: read from a folder or from a commit of the lake, checked, and pushed from one to the other."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lakeline.data.mistakes import Lines, Mistake, SpecMistakes, did_you_mean, flaw_mistakes, spec_mistakes, syntax_mistake
from lakeline.data.spec import DatasetSpec
from lakeline.errors import LakeNotFound, SpecError, UsageError
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakeline.lake.base import CommitId, Lake

YAML_NAME, SQL_NAME, SCHEMA_NAME = "dataset.yaml", "transform.sql", "dataset.schema.json"
PINNED_YAML, PINNED_SQL = f"_lakeline/{YAML_NAME}", f"_lakeline/{SQL_NAME}"


_DEEPEST, _MOST_PARTS = 20, 200_000


@dataclass(frozen=True)
class Definition:
    """All that defines a data set: its spec, and the two texts that say it."""

    spec: DatasetSpec
    yaml: str
    sql: str

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of both texts."""
        return hashlib.sha256((self.yaml + self.sql).encode()).hexdigest()

    @functools.cached_property
    def data_digest(self) -> str:
        """SHA-256 of what decides which rows an arrival becomes: source, arrival, tables and transform, but nothing of the training.

        Whether rows of no arrival are refused is no part of it: those of the arrival are the same.
        """
        parts = self.spec.model_dump_json(include={"source", "arrival", "raw", "clean"}, exclude={"source": {"where_null"}})
        return hashlib.sha256((parts + self.sql).encode()).hexdigest()


def load_spec(text: str, origin: str) -> DatasetSpec:
    """Read a spec.

    Parameters
    ----------
    text
        YAML text.
    origin
        Name of the file, for the reader.

    Raises
    ------
    SpecMistakes
        A SpecError with every mistake and the line that it is in.
    """
    from ruamel.yaml import YAML

    try:
        content: Any = YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # of a date such as 2020-13-01 or a key that is a list, the parser raises what its own code stumbles over
        raise SpecMistakes([syntax_mistake(error, text, origin)]) from None
    if not _small(content):
        raise SpecMistakes([Mistake(origin, 1, "", "not a spec: nested too deep, or too large with its aliases written out")])
    if not isinstance(content, dict):
        raise SpecMistakes([Mistake(origin, 1, "", "a spec is a mapping of keys (name, title, source, ...) to values")])
    try:
        return DatasetSpec.model_validate(content)
    except ValidationError as error:
        raise SpecMistakes(spec_mistakes(error, text, json_schema(), origin)) from None


def _small(content: Any) -> bool:
    """Whether a document has no more parts than any spec, so that what walks it comes to an end: an alias may stand within itself."""
    parts, depth = [content], 0
    while parts:
        if depth > _DEEPEST or len(parts) > _MOST_PARTS:
            return False
        inner: list[Any] = []
        for part in parts:
            if isinstance(part, dict):
                inner += [*part.keys(), *part.values()]
            elif isinstance(part, (list, tuple, set)):
                inner += part
            if len(inner) > _MOST_PARTS:
                return False
        parts, depth = inner, depth + 1
    return True


def dataset_names() -> list[str]:
    """Names of the data sets that have a folder with a spec in it."""
    folder = get_settings().datasets
    return sorted(path.parent.name for path in folder.glob(f"*/{YAML_NAME}")) if folder.is_dir() else []


def local_spec(name: str) -> Definition:
    """Read a data set's definition from its folder.

    Raises
    ------
    UsageError
        If there is no such data set: says which there are.
    SpecError
        If the spec has mistakes, or the folder lacks a file.
    """
    known = dataset_names()
    if name not in known:
        folder = get_settings().datasets
        others = f"There are: {', '.join(known)}" if known else f"There is none in {folder}"
        hint = did_you_mean(name, known) or "."
        raise UsageError(f"unknown data set {name!r}{hint} {others}. Make a new one: lakeline dataset new {name}")
    folder = get_settings().datasets / name
    yaml = _read(folder / YAML_NAME)
    spec = load_spec(yaml, _shown(folder / YAML_NAME))
    if spec.name != name:
        mistake = Mistake(_shown(folder / YAML_NAME), 1, "name", f"{spec.name!r} differs from the name of the folder, {name!r}")
        raise SpecMistakes([mistake])
    return Definition(spec, yaml, _read(folder / SQL_NAME))


def check(name: str) -> Definition:
    """Read a data set's definition from its folder, and find what a run would refuse of it; its SQL is run on empty tables.

    Only what is pushed is looked at as closely: what the lake has stays readable, for a commit of long ago is reproduced by its own spec.

    Raises
    ------
    UsageError, SpecError
        As `local_spec`, and for what no run could use.
    """
    from lakeline.data.runnable import obstacles
    from lakeline.data.sqlcheck import sql_mistakes
    from lakeline.training.parameters import unfit

    definition = local_spec(name)
    spec, yaml, sql = definition.spec, definition.yaml, definition.sql
    yaml_name, sql_name = (_shown(get_settings().datasets / name / file) for file in (YAML_NAME, SQL_NAME))
    flaws = list(obstacles(spec))
    mistakes = flaw_mistakes([*flaws, *unfit(spec)], Lines(yaml), yaml_name)
    if not flaws:  # the SQL needs an arrival and tables that can be
        mistakes += sql_mistakes(spec, yaml, sql, yaml_name, sql_name)
    if mistakes:
        raise SpecMistakes(mistakes)
    return definition


def pinned_spec(lake: Lake, commit: CommitId | str) -> Definition:
    """Read the definition that a commit of the lake has.

    Raises
    ------
    SpecError
        If the commit has none: says how to push one. Also if the one it has was written for another version of Lakeline.
    """
    try:
        yaml, sql = (lake.read(commit, path).decode() for path in (PINNED_YAML, PINNED_SQL))
    except LakeNotFound as error:
        raise SpecError(f"{lake.name}: commit {commit[:12]} has no spec. Push one: lakeline dataset push {lake.name}") from error
    return Definition(load_spec(yaml, f"{lake.name}@{commit[:12]}/{PINNED_YAML}"), yaml, sql)


def push(name: str) -> tuple[CommitId, bool]:
    """Commit a data set's definition to the `main` branch of its repository, which is created if there is none.

    A new data set's repository in lakeFS gets the webhook of the event source that LAKELINE_EVENTS_URL names as well.

    Returns
    -------
    tuple
        Head of `main`, and whether a commit was made: none is, if the lake has this definition already.

    Raises
    ------
    UsageError, SpecError
        As `check`; the lake is then as it was.
    """
    from lakeline.lake import open_lake
    from lakeline.lake.base import MAIN

    definition = check(name)
    lake = open_lake(name, create=True)
    head = lake.resolve(MAIN)
    first = not lake.exists(head, PINNED_YAML)
    files: dict[str, Path | bytes] = {PINNED_YAML: definition.yaml.encode(), PINNED_SQL: definition.sql.encode()}
    url = get_settings().hook_address
    if first and url and lake.store == "lakefs":
        from lakeline.events.hook import files as hook_files

        files |= hook_files(url)
    message = f"{'Define' if first else 'Redefine'} {name}: {definition.spec.title}"
    commit = lake.commit(MAIN, files, message, {"spec_digest": definition.digest}, expect=head)
    return commit, commit != head


@functools.cache
def json_schema() -> dict[str, Any]:
    """JSON Schema of dataset.yaml, for editors."""
    schema = DatasetSpec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def json_schema_text() -> str:
    """JSON Schema of dataset.yaml, as the file docs/dataset.schema.json has it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"{_shown(path)} is missing. A data set is a folder with {YAML_NAME} and {SQL_NAME}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SpecMistakes([Mistake(_shown(path), line, "", f"not UTF-8 text (byte {error.start})")]) from None
    except OSError as error:
        raise SpecError(f"{_shown(path)} can't be read: {error.strerror}.") from None


def _shown(path: Path) -> str:
    """Name a file as the reader would: from the folder they are in, where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
