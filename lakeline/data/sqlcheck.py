"""Check a transform before it meets data: that it parses and fits the tables that the spec describes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.data.arrivals import arrival_id, example, examples
from lakeline.data.mistakes import Lines, Mistake
from lakeline.data.names import spelled
from lakeline.data.quoting import literal, quote
from lakeline.data.sql import describe_sql

if TYPE_CHECKING:
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

    names = {_example_name(name) if column.regex else name: column for name, column in spec.raw.columns.items()}
    columns = {name: column for name, column in names.items() if name is not None}
    all_named = len(columns) == len(spec.raw.columns)
    with tempfile.TemporaryDirectory(prefix="lakeline-check-") as folder:
        raw, out = Path(folder, "raw.parquet"), Path(folder, "clean.parquet")
        try:
            _write_empty(columns, raw)
        except duckdb.Error as error:
            return [Mistake(yaml_origin, Lines(yaml).find(("raw", "columns"))[0], "raw.columns", _sentence(error))]
        mistakes = list(_where(spec, columns, yaml, yaml_origin)) if all_named else []
        parameters = example(spec)
        try:
            produced = describe_sql(sql, raw, out, {"arrival": arrival_id(spec, parameters), **parameters})
        except duckdb.Error as error:
            unknowable = not all_named and isinstance(error, duckdb.BinderException)
            return mistakes if unknowable else [*mistakes, _explain(error, sql_origin)]
    if produced is None:
        return [*mistakes, Mistake(sql_origin, 1, "", "write one SELECT statement over the table `raw`, and nothing else")]
    if not all_named:
        return mistakes
    typed = all(column.type != "any" for column in spec.raw.columns.values())
    return [*mistakes, *_compare(spec.clean.columns, dict(produced), strict=spec.clean.strict, typed=typed, origin=sql_origin)]


def _write_empty(columns: Mapping[str, Column], path: Path) -> None:
    """Write a Parquet file with these columns and no rows."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(_table(columns))
        connection.execute(f"COPY raw TO {literal(path)} (FORMAT parquet)")


def _table(columns: Mapping[str, Column]) -> str:
    return f"CREATE TABLE raw ({', '.join(f'{quote(name)} {_SQL_TYPES[column.type]}' for name, column in columns.items())})"


def _example_name(pattern: str | None) -> str | None:
    """Some name that a simple pattern matches: the first of each alternative. None if the pattern isn't that simple."""
    text = re.sub(r"\[([^\]^])[^\]]*\]", r"\1", pattern or "")
    text = re.sub(r"\((?:\?:)?([^|()]*)(?:\|[^()]*)?\)", r"\1", text).strip("^$")
    return text if re.fullmatch(pattern or "", text) else None


def _where(spec: DatasetSpec, columns: Mapping[str, Column], yaml: str, origin: str) -> Iterator[Mistake]:
    """Try the condition on an empty table, in each way that `convert` puts it to a file."""
    import duckdb

    if spec.source.where is None:
        return
    line = Lines(yaml).find(("source", "where"))[0]
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.execute(_table(columns))
        for parameters in examples(spec):
            condition = f"({spec.source.where.format(**parameters)})"
            query = f"SELECT coalesce({condition}, false) FROM raw WHERE {condition}"  # noqa: S608 (the spec's own, on an empty table)
            try:
                connection.execute(query)
            except duckdb.Error as error:
                yield Mistake(origin, line, "source.where", _sentence(error))
                return


def _explain(error: Exception, origin: str) -> Mistake:
    line = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
    return Mistake(origin, int(line[1]) if line else 1, "", _sentence(error))


def _sentence(error: Exception) -> str:
    """What DuckDB says, without the kind of error and the picture of the line."""
    text = re.split(r"\n+LINE \d+:", str(error))[0]
    return " ".join(re.sub(r"^\w+ Error: ", "", text).split())


def _compare(clean: dict[str, Column], produced: dict[str, str], *, strict: bool, typed: bool, origin: str) -> list[Mistake]:
    produced = dict(zip(spelled(list(produced), clean), produced.values(), strict=True))

    def of(name: str) -> list[str]:
        """Columns of the result that a name of clean.columns stands for."""
        return [one for one in produced if one == name or (clean[name].regex and re.fullmatch(name, one))]

    missing = [name for name, column in clean.items() if not column.optional and not of(name)]
    known = {one for name in clean for one in of(name)}
    extra = [name for name in produced if name not in known] if strict else []
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
