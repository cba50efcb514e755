"""Running a spec's SQL on one file: out of core, in the order of the rows, and shut in with that file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    import duckdb

    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".sql-") as spill, _explained(origin), duckdb.connect() as connection:
        _shut_in(connection, raw, out, Path(spill), variables)
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise DataError(
                f"{origin}: transform.sql must be one SELECT statement over the table `raw`; it has {len(statements)} statements."
            )
        query = _without_end(statements[0].query)
        connection.execute("SET threads = 1")
        if _operators(connection, query) <= _IN_ORDER:
            connection.execute("RESET threads")
        connection.execute("SET lock_configuration = true")
        read = connection.execute("SELECT count(*) FROM raw").fetchone()
        # The closing parenthesis has a line of its own, for the query may end in a comment.
        copy = f"COPY ({query}\n) TO {_literal(out)} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
        written = _interruptible(connection, copy)
    return (int(read[0]) if read else 0), (int(written[0]) if written else 0)


def _shut_in(connection: duckdb.DuckDBPyConnection, raw: Path, out: Path, spill: Path, variables: Mapping[str, int | str]) -> None:
    """Leave the connection one file to read, one to write and a folder to spill to."""
    for statement in (
        f"SET memory_limit = '{MEMORY}'",
        f"SET temp_directory = {_literal(spill)}",
        "SET TimeZone = 'UTC'",
        f"CREATE VIEW raw AS SELECT * FROM read_parquet({_literal(raw)})",  # noqa: S608
        f"SET allowed_paths = [{_literal(raw)}, {_literal(out)}]",
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        "SET enable_external_access = false",
    ):
        connection.execute(statement)
    for name, value in variables.items():
        connection.execute(f"SET VARIABLE {name} = {value if isinstance(value, int) else _literal(value)}")


def _without_end(statement: str) -> str:
    """Cut a statement at its semicolon, which a string or a comment may hold as well."""
    import duckdb

    text = statement.encode()
    ends = [at for at, kind in duckdb.tokenize(statement) if kind == duckdb.token_type.operator and text[at : at + 1] == b";"]
    return text[: ends[0]].decode() if ends else statement


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


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


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
