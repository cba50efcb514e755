"""What really happened: clean rows that came after a test began, and files that a person brings."""

from __future__ import annotations

import contextlib
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lakeline.data.csvfile import TOO_LONG, open_batches, prove_csv
from lakeline.data.quoting import literal, quote
from lakeline.errors import DataError, UsageError
from lakeline.files import Unreadable, not_parquet
from lakeline.lake.base import MAIN

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from lakeline.data.spec import DatasetSpec
    from lakeline.lake import Change, Commit, CommitId, Lake

FOLDER = "truth/"
"""Where the lake keeps the files that people bring."""

MEMORY = "384MB"
"""Of DuckDB, in a step that has 1 GiB; what is more goes to the disk."""

_READERS = {".csv": "batches", ".parquet": "read_parquet(?)"}


def bring(lake: Lake, spec: DatasetSpec, path: Path) -> tuple[CommitId, int]:
    """Commit a file of truth to main, where the next look at a test finds it. Nothing is trained from it.

    Parameters
    ----------
    lake, spec
        Of the data set.
    path
        CSV or Parquet, with the target and `request_id`, `request_id` and `row` (from 0, of requests with several rows), or `key`.

    Returns
    -------
    tuple
        The commit, and how many rows the file has.

    Raises
    ------
    UsageError
        If it is neither CSV nor Parquet, or its columns are others.
    DataError
        If it can't be read, or rows have no id, no number to compare with, or say different things of one prediction.
    """
    import duckdb

    kind = path.suffix.lower()
    reader = _READERS.get(kind)
    if reader is None:
        raise UsageError(f"{path}: give a .csv or .parquet file.")
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file.")
    with duckdb.connect(":memory:") as database, tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        try:
            if kind == ".csv":
                database.register("batches", open_batches(prove_csv(path, known=()), [""]))
            database.execute(f"CREATE TABLE given AS FROM {reader}", [str(path)] if kind == ".parquet" else [])
        except Unreadable as error:
            raise DataError(f"{path} {error} Nothing was committed.") from None
        except duckdb.Error as error:
            raise DataError(f"{path} {TOO_LONG if kind == '.csv' else not_parquet(path)} Nothing was committed.") from error
        columns = [str(row[0]) for row in database.execute("DESCRIBE given").fetchall()]
        ids = _ids(columns, spec.target.column, path)
        taken = ", ".join(_typed(name) for name in ids)
        target = quote(spec.target.column)
        try:
            database.execute(f"CREATE TABLE truth AS SELECT {taken}, TRY_CAST({target} AS DOUBLE) AS {target} FROM given")  # noqa: S608
        except duckdb.Error as error:
            raise DataError(f"{path} has lists or the like for {', '.join(ids)} or {spec.target.column}. Nothing was committed.") from error
        rows = _checked(database, ids, spec.target.column, path)
        out = Path(folder) / "truth.parquet"
        database.execute("COPY truth TO ? (FORMAT parquet, COMPRESSION zstd)", [str(out)])
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem)
        said = f"Truth of {rows:,} predictions: {name}"
        return lake.commit(MAIN, {f"{FOLDER}{name}.parquet": out}, said, {"truth": name, "rows": str(rows)}), rows


def _ids(columns: list[str], target: str, path: Path) -> list[str]:
    others = [name for name in columns if name != target]
    if target in columns and "key" in others and "request_id" not in others:
        return ["key"]
    if target in columns and "request_id" in others and "key" not in others:
        return ["request_id", "row"] if "row" in others else ["request_id"]
    raise UsageError(f"{path}: has the columns {', '.join(columns)}; needed are {target}, and key or request_id (with row) but not both.")


def _typed(name: str) -> str:
    return 'TRY_CAST("row" AS INTEGER) AS "row"' if name == "row" else f"CAST({quote(name)} AS VARCHAR) AS {quote(name)}"


def _checked(database: duckdb.DuckDBPyConnection, ids: list[str], target: str, path: Path) -> int:
    """Number of rows, all of which can be used."""
    names = ", ".join(quote(name) for name in ids)
    blank = " OR ".join(f"{quote(name)} IS NULL" for name in ids)
    bad = f"{blank} OR {quote(target)} IS NULL OR NOT isfinite({quote(target)})"
    query = f"SELECT count(*), count(*) FILTER ({bad}), min(rowid) FILTER ({bad}) FROM truth"  # noqa: S608 (names that were checked)
    total, wrong, first = database.execute(query).fetchall()[0]
    if wrong:
        wanted = f"{' and '.join(ids)}, and {target} as a number"
        raise DataError(f"{path}: {wrong:,} of {total:,} rows lack {wanted} (first: row {first + 1:,}). Nothing was committed.")
    twice = f"SELECT {names}, count(*) FROM truth GROUP BY {names} HAVING count(DISTINCT {quote(target)}) > 1 ORDER BY {names}"  # noqa: S608
    found = database.execute(twice).fetchall()
    if found:
        one = ", ".join(f"{name} {value}" for name, value in zip(ids, found[0], strict=False))
        raise DataError(f"{path}: says different things of {len(found):,} predictions (first: {one}). Nothing was committed.")
    return int(total)


def truth_since(lake: Lake, spec: DatasetSpec, since: float) -> pa.Table:
    """All truth that came after a moment, and what people had brought before it.

    Parameters
    ----------
    lake, spec
        Of the data set; the spec says which column of the clean rows is the key, if one is.
    since
        Seconds since 1970.

    Returns
    -------
    Table
        A row for each thing that was said: `batch` (number of the commit that said it, in order; -1 before the moment), `known` (when),
        `kind` ("key", "row" or "request": what it is said of), `id`, `row` and `target`. What a commit says is read as it was then,
        whatever later ones say; what its file had said of the same thing before is said no second time.

    Raises
    ------
    DataError
        If a file lacks a column: names it.
    """
    import duckdb

    line, before = _line(lake, since)
    with (
        tempfile.TemporaryDirectory(prefix="lakeline-") as folder,
        duckdb.connect(f"{folder}/truth.db", config={"memory_limit": MEMORY}) as database,
    ):
        database.execute('CREATE TABLE truth (batch INTEGER, known TIMESTAMPTZ, kind VARCHAR, id VARCHAR, "row" INTEGER, target DOUBLE)')

        def said(commit: CommitId, path: str, name: str = "now") -> str:
            file = lake.download(commit, path, Path(folder) / f"{name}.parquet")
            return _said(database, spec, f"{lake.name} {path} at {commit[:12]}", file, path.startswith(FOLDER))

        if before is not None:
            for entry in lake.ls(before, FOLDER):
                with contextlib.suppress(DataError):  # It has columns of another spec than this test's.
                    _add(database, (-1, 0), said(before, entry.path))
        for batch, commit in enumerate(line):
            # A commit's time is in whole seconds: what was predicted within its second was predicted before.
            known = int((commit.time.astimezone(UTC) + timedelta(seconds=1)).timestamp() * 1e6)
            for change in _changes(lake, spec, commit):
                earlier = None
                if change.kind == "changed":
                    with contextlib.suppress(DataError):
                        earlier = said(commit.parents[0], change.path, "earlier")
                _add(database, (batch, known), said(commit.id, change.path), earlier)
        return database.table("truth").to_arrow_table()


def _line(lake: Lake, since: float) -> tuple[list[Commit], CommitId | None]:
    """Commits of main's own line since a moment, oldest first, and the one before them."""
    commits = {commit.id: commit for commit in lake.log(MAIN)}
    line: list[Commit] = []
    at = commits.get(lake.resolve(MAIN))
    while at is not None and at.time >= datetime.fromtimestamp(int(since), UTC):
        line.append(at)
        at = commits.get(at.parents[0]) if at.parents else None
    return line[::-1], None if at is None else at.id


def _changes(lake: Lake, spec: DatasetSpec, commit: Commit) -> list[Change]:
    """Files of truth that a commit brought."""
    folders = FOLDER if spec.experiment.key is None else (FOLDER, "clean/")
    changes = lake.diff(commit.parents[0], commit.id) if commit.parents else []
    return [each for each in changes if each.kind != "removed" and each.path.endswith(".parquet") and each.path.startswith(folders)]


def _said(database: duckdb.DuckDBPyConnection, spec: DatasetSpec, origin: str, file: Path, brought: bool) -> str:
    """SQL of what a file says."""
    columns = {str(row[0]) for row in database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)]).fetchall()}
    ids = columns - {spec.target.column}
    if brought and "request_id" in ids:
        kind, key, row = ("row", "request_id", '"row"') if "row" in ids else ("request", "request_id", "0")
    else:
        kind, key, row = "key", "key" if brought else str(spec.experiment.key), "0"
    missing = [name for name in (key, spec.target.column) if name not in columns]
    if missing:
        raise DataError(f"{origin}: has no column {missing[0]!r}, by which a test is to be judged.")
    target, path = quote(spec.target.column), literal(file)
    return f"""
        SELECT '{kind}' AS kind, CAST({quote(key)} AS VARCHAR) AS id, CAST({row} AS INTEGER) AS "row",
            TRY_CAST({target} AS DOUBLE) AS target
        FROM read_parquet({path}) WHERE {quote(key)} IS NOT NULL
    """  # noqa: S608 (names that are columns of the file)


def _add(database: duckdb.DuckDBPyConnection, said_at: tuple[int, int], said: str, earlier: str | None = None) -> None:
    """Add what a file says, but for what it had said of already."""
    known = f'ANTI JOIN (FROM ({earlier}) WHERE isfinite(target)) AS earlier USING (kind, id, "row")' if earlier else ""
    database.execute(f"INSERT INTO truth SELECT ?, make_timestamptz(?), * FROM ({said}) AS said {known}", list(said_at))  # noqa: S608
