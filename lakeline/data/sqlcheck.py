"""Check a transform before it meets data: that it parses and fits the tables that the spec describes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lakeline.data.arrivals import example
from lakeline.data.mistakes import Lines, Mistake

if TYPE_CHECKING:
    import duckdb

    from lakeline.data.spec import Column, ColumnType, DatasetSpec

_SQL_TYPES: dict[ColumnType, str] = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "boolean": "BOOLEAN",
    "any": "VARCHAR",
}


def sql_mistakes(spec: DatasetSpec, yaml: str, sql: str, yaml_origin: str, sql_origin: str) -> list[Mistake]:
    """Run the transform on an empty table of the raw columns, and compare what comes out with the clean columns.

    Parameters
    ----------
    spec
        The spec, which is right by itself.
    yaml, sql
        Text of dataset.yaml and of transform.sql.
    yaml_origin, sql_origin
        Their names, for the reader.

    Returns
    -------
    list of Mistake
        Empty if nothing is wrong. Columns that the raw table has besides those in `raw.columns` can't be
        known here: a transform may use none of them.
    """
    import duckdb

    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        try:
            statements = connection.extract_statements(sql)
        except duckdb.Error as error:
            return [_explain(error, sql_origin)]
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return [Mistake(sql_origin, 1, "", f"write one SELECT statement over the table `raw`; here are {len(statements)} statements")]
        names = {_example_name(name) if column.regex else name: column for name, column in spec.raw.columns.items()}
        if None in names:
            return []
        columns = ", ".join(f'"{name}" {_SQL_TYPES[column.type]}' for name, column in names.items())
        connection.execute(f"CREATE TABLE raw ({columns})")
        mistakes = list(_where(connection, spec, yaml, yaml_origin))
        for name, value in example(spec).items():
            connection.execute(f"SET VARIABLE {name} = {value if isinstance(value, int) else chr(39) + value + chr(39)}")
        try:
            found = connection.execute(f"DESCRIBE {sql}").fetchall()  # unlike the statement itself, it says the line of a mistake
        except duckdb.Error as error:
            return [*mistakes, _explain(error, sql_origin)]
        typed = all(column.type != "any" for column in spec.raw.columns.values())
        produced = {name: kind for name, kind, *_ in found}
        return [*mistakes, *_compare(spec.clean.columns, produced, strict=spec.clean.strict, typed=typed, origin=sql_origin)]


def _example_name(pattern: str | None) -> str | None:
    """Some name that a simple pattern matches: the first of each alternative. None if the pattern isn't that simple."""
    text = re.sub(r"\[([^\]^])[^\]]*\]", r"\1", pattern or "")
    text = re.sub(r"\((?:\?:)?([^|()]*)(?:\|[^()]*)?\)", r"\1", text).strip("^$")
    return text if re.fullmatch(pattern or "", text) else None


def _where(connection: duckdb.DuckDBPyConnection, spec: DatasetSpec, yaml: str, origin: str) -> list[Mistake]:
    import duckdb

    if spec.source.where is None:
        return []
    condition = spec.source.where.format(**example(spec))
    try:
        connection.execute(f"SELECT * FROM raw WHERE ({condition})")  # noqa: S608 (the spec's own SQL, on an empty table)
    except duckdb.Error as error:
        line = Lines(yaml).find(("source", "where"))[0]
        return [Mistake(origin, line, "source.where", _sentence(error))]
    return []


def _explain(error: Exception, origin: str) -> Mistake:
    line = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
    return Mistake(origin, int(line[1]) if line else 1, "", _sentence(error))


def _sentence(error: Exception) -> str:
    """What DuckDB says, without the kind of error and the picture of the line."""
    text = re.split(r"\n+LINE \d+:", str(error))[0]
    return " ".join(re.sub(r"^\w+ Error: ", "", text).split())


def _compare(clean: dict[str, Column], produced: dict[str, str], *, strict: bool, typed: bool, origin: str) -> list[Mistake]:
    missing = [name for name, column in clean.items() if name not in produced and not column.optional]
    extra = [name for name in produced if name not in clean] if strict else []
    mistakes = [Mistake(origin, 1, "", f"the result has no column {name!r}, which clean.columns names") for name in missing]
    mistakes += [
        Mistake(origin, 1, "", f"the result has a column {name!r}, which clean.columns does not name: add it there or drop it here")
        for name in extra
    ]
    for name, kind in produced.items() if typed else ():
        if name in clean and not _fits(kind, clean[name].type):
            mistakes.append(Mistake(origin, 1, "", f"the result's column {name!r} is {kind}; clean.columns says {clean[name].type!r}"))
    return mistakes


def _fits(kind: str, wanted: ColumnType) -> bool:
    integer = re.fullmatch(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?", kind) is not None
    number = integer or kind in {"DOUBLE", "FLOAT"} or kind.startswith("DECIMAL")
    fits: dict[ColumnType, Any] = {
        "integer": integer,
        "number": number,
        "text": kind == "VARCHAR" or kind.startswith("ENUM"),
        "timestamp": kind.startswith("TIMESTAMP") or kind == "DATE",
        "boolean": kind == "BOOLEAN",
        "any": True,
    }
    return bool(fits[wanted])
