"""Running a spec's SQL on one file: out of core, in the order of the rows, and shut in with that file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.data.quoting import literal, quote
from lakeline.errors import DataError

if TYPE_CHECKING:
    import duckdb

MEMORY = "1GB"
"""What DuckDB may keep in memory; beyond it, it spills to disk."""

_IN_ORDER = {"PROJECTION", "FILTER", "READ_PARQUET", "PARQUET_SCAN"}
"""Operators that yield the same rows in the same order, however many threads run them."""


def run_sql(sql: str, raw: Path, out: Path, variables: Mapping[str, int | str], *, origin: str) -> tuple[int, int]:
    """Run a SELECT over the view `raw`, and write what it yields as Parquet.

    The SQL came out of the lake: it sees the one file and nothing else of the machine or the network. The same SQL on the
    same file yields the same bytes, whatever the number of processors.

    Parameters
    ----------
    sql
        One SELECT statement.
    raw
        Parquet file to read.
    out
        Parquet file to write; it must not exist.
    variables
        What `getvariable('name')` yields in the SQL.
    origin
        What the file is, for the reader of an error.

    Returns
    -------
    tuple of int
        Rows of `raw`, rows of `out`.

    Raises
    ------
    DataError
        If the SQL is no single SELECT, or fails: says why, and in which line.
    OSError
        If the disk is full.
    """
    with _explained(origin), _shut_in(raw, out, variables) as connection:
        query = _query(connection, sql)
        if query is None:
            raise DataError(f"{origin}: transform.sql must be one SELECT statement over the table `raw`, and nothing else.")
        query = _exactly(connection, query)
        connection.execute("SET threads = 1")
        if _operators(connection, query) <= _IN_ORDER:
            connection.execute("RESET threads")
        connection.execute("SET lock_configuration = true")
        read = connection.execute("SELECT count(*) FROM raw").fetchone()
        written = _interruptible(connection, _copy(query, out))
    return (int(read[0]) if read else 0), (int(written[0]) if written else 0)


def describe_sql(sql: str, raw: Path, out: Path, variables: Mapping[str, int | str]) -> list[tuple[str, str]] | None:
    """Names and types of the columns that `run_sql` would write, after it was run: of an empty file that takes no time.

    Parameters
    ----------
    sql, raw, out, variables
        As for `run_sql`.

    Returns
    -------
    list of tuple, or None
        None if the SQL is no single SELECT.

    Raises
    ------
    duckdb.Error
        If the SQL fails: its message has the line.
    """
    import pyarrow.parquet as pq

    with _shut_in(raw, out, variables) as connection:
        query = _query(connection, sql)
        if query is None:
            return None
        described = connection.execute(f"DESCRIBE {query}").fetchall()  # unlike the statement itself, it says the line of a mistake
        connection.execute(_copy(query, out))
    return [(name, str(kind)) for name, (_, kind, *_) in zip(pq.read_schema(out).names, described, strict=True)]


@contextlib.contextmanager
def _shut_in(raw: Path, out: Path, variables: Mapping[str, int | str]) -> Generator[duckdb.DuckDBPyConnection]:
    """Open a connection that has one file to read, one to write and a folder to spill to."""
    import duckdb

    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".sql-") as spill, duckdb.connect() as connection:
        for statement in (
            f"SET memory_limit = '{MEMORY}'",
            f"SET temp_directory = {literal(spill)}",
            "SET TimeZone = 'UTC'",
            f"CREATE VIEW raw AS SELECT * FROM read_parquet({literal(raw)})",  # noqa: S608
            f"SET allowed_paths = [{literal(raw)}, {literal(out)}]",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET enable_external_access = false",
        ):
            connection.execute(statement)
        for name, value in variables.items():
            connection.execute(f"SET VARIABLE {quote(name)} = {value if isinstance(value, int) else literal(value)}")
        yield connection


def _query(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """The one SELECT that the SQL is, without what ends it; None if it is something else."""
    import duckdb

    statements = connection.extract_statements(sql)
    alone = len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT
    return _without_end(statements[0].query) if alone else None


def _copy(query: str, out: Path) -> str:
    # The closing parenthesis has a line of its own, for the query may end in a comment.
    return f"COPY ({query}\n) TO {literal(out)} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"


def _without_end(statement: str) -> str:
    """Cut a statement at its semicolon, which a string or a comment may hold as well."""
    import duckdb

    text = statement.encode()
    ends = [at for at, kind in duckdb.tokenize(statement) if kind == duckdb.token_type.operator and text[at : at + 1] == b";"]
    return text[: ends[0]].decode() if ends else statement


def _exactly(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """Keep whole numbers of 128 bits, such as sums, whole: Parquet has no type for them, and DuckDB would write 64-bit floats."""
    described = [(str(name), str(kind)) for name, kind, *_ in connection.execute(f"DESCRIBE {query}").fetchall()]
    wide = [kind in {"HUGEINT", "UHUGEINT"} for _, kind in described]
    if not any(wide):
        return query
    columns = (f"c{number}{'::DECIMAL(38, 0)' if wide[number] else ''} AS {quote(name)}" for number, (name, _) in enumerate(described))
    return f"SELECT {', '.join(columns)} FROM ({query}\n) AS result({', '.join(f'c{number}' for number in range(len(wide)))})"  # noqa: S608


def _operators(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    """Names of the operators that a query takes."""
    plan = connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()

    def names(node: Mapping[str, Any]) -> set[str]:
        return {str(node["name"]).strip()}.union(*(names(child) for child in node["children"]))

    return set[str]().union(*(names(node) for node in json.loads(plan[0][1])))


def _interruptible(connection: duckdb.DuckDBPyConnection, statement: str) -> Any:
    """First row of a statement that may take long: run in a thread, for DuckDB itself hears no Ctrl-C before it is done."""
    with ThreadPoolExecutor(1) as pool:
        row = pool.submit(lambda: connection.execute(statement).fetchone())
        try:
            return row.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


@contextlib.contextmanager
def _explained(origin: str) -> Any:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if "No space left on device" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        line = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
        said = re.sub(r"^[\w ]+ Error: ", "", re.split(r"\n+LINE \d+:", str(error))[0])
        raise DataError(f"{origin}: transform.sql{f', line {line[1]}' if line else ''}: {' '.join(said.split())}") from error
