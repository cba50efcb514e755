"""Check of one Parquet file against the table of a spec: which rows fail what.

Values are checked by pandera on chunks, so memory is that of a chunk. A check answers pandera with one yes or no;
only where the answer is no are the failing rows counted, for pandera makes a row of its own report out of each of them,
which at 400,000 takes it seconds. Columns and their types are read off the Parquet footer, and whether a column is
unique, which takes all its values at once, is for DuckDB, which does it out of core.
"""

from __future__ import annotations

import datetime as dt
import decimal
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.data import spec
from lakeline.data.names import alike, declared, numbered
from lakeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lakeline.data.rules import Rule
    from lakeline.data.spec import ColumnType

CHUNK = 131_072
SAMPLES = 20
_LONGEST_TEXT = 200

_BOUNDED = {"number", "timestamp"}
"""Types which not every value of the Arrow type has a place in."""

JsonValue = str | int | float | bool | None


@dataclass(frozen=True)
class Sample:
    """A failing value and where it is: `row` counts from 1 in the file."""

    row: int
    value: JsonValue


@dataclass(frozen=True)
class Check:
    """What was asked of a table, and which rows fail it.

    Parameters
    ----------
    text
        What was asked, such as `dep_delay is a number`.
    column
        Column it is about, if it is about one.
    failing
        Rows that fail: all of them if `problem`.
    samples
        The first failing rows, at most 20.
    problem
        A sentence, if the table as a whole fails: a column is missing, say.
    """

    text: str
    column: str | None = None
    failing: int = 0
    samples: tuple[Sample, ...] = ()
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing fails."""
        return self.failing == 0 and self.problem is None

    def severity(self) -> tuple[int, int]:
        """Key to sort failures by: what the table as a whole fails comes first, then the worst."""
        return (0, 0) if self.problem else (1, -self.failing)


@dataclass(frozen=True)
class TableReport:
    """All checks of a table of `rows` rows."""

    rows: int
    checks: tuple[Check, ...]

    @property
    def failures(self) -> list[Check]:
        """Checks that fail: those of the table as a whole first, then by rows, worst first."""
        return sorted((check for check in self.checks if not check.passed), key=Check.severity)


def check_table(path: Path, table: spec.Table, *, text_may_parse: bool = True) -> TableReport:
    """Check a Parquet file, streaming.

    Parameters
    ----------
    path
        The file.
    table
        What it must be.
    text_may_parse
        Whether text whose every value parses will do where the spec says number, integer, timestamp or boolean. That is so of raw
        rows; clean ones must fit the type that the declared one is stored as.

    Returns
    -------
    TableReport
        Every check, passed or failed, in the order of the spec.

    Raises
    ------
    DataError
        If the file is not readable as Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            return _check_file(path, file, table, text_may_parse=text_may_parse)
    except (pa.ArrowInvalid, EOFError) as error:
        raise DataError(f"{path.name} can't be read as Parquet: {error}") from error


def _check_file(path: Path, file: pq.ParquetFile, table: spec.Table, *, text_may_parse: bool) -> TableReport:
    from lakeline.data import rules

    names: list[str] = file.schema_arrow.names
    stored: Mapping[str, pa.DataType] = {part.name: part.type for part in file.schema_arrow}
    rows: int = file.metadata.num_rows
    columns = declared(table, names)
    checks = _check_shape(table, columns, names, rows)
    twins = {name for first, others in alike(names).items() for name in (first, *others)}
    asked: list[Rule] = []
    converted: dict[str, ColumnType] = {}
    for name, column in columns.items():
        if name in twins:
            continue
        problem = rules.stored_as(name, column, stored[name], text_may_parse=text_may_parse)
        if problem:
            checks.append(Check(f"{name} is {rules.KINDS.get(column.type, column.type)}", name, rows, problem=problem))
            continue
        asked += rules.rules(name, column, stored[name])
        if not text_may_parse:
            converted[name] = column.type
    checks += _check_values(file, asked)
    failed = {check.text for check in checks if check.failing}
    fitting: dict[str, ColumnType] = {name: kind for name, kind in converted.items() if f"{name} is {rules.KINDS.get(kind)}" not in failed}
    checks += _check_conversion(file, fitting)
    checks += [_check_unique(path, names, name) for name, column in columns.items() if column.unique and name not in twins]
    return TableReport(rows, tuple(checks))


def _check_shape(table: spec.Table, columns: Mapping[str, spec.Column], names: Sequence[str], rows: int) -> list[Check]:
    unexpected = list(dict.fromkeys(name for name in names if name not in columns))
    checks = [Check("there are rows" if table.minimum_rows == 1 else f"there are at least {table.minimum_rows:,} rows")]
    if rows < table.minimum_rows:
        few = f"there are only {rows:,} rows" if rows else "there are no rows"
        checks = [Check(checks[0].text, failing=rows, problem=f"{few}; the spec says at least {table.minimum_rows:,}")]
    for name, column in table.columns.items():
        there = any(re.fullmatch(name, one) for one in names) if column.regex else name in names
        if not there and not column.optional:
            like = difflib.get_close_matches(name, unexpected, 1)
            hint = f" (there is {like[0]}, which the spec doesn't name)" if like else ""
            checks.append(Check(f"{name} is there", name, rows, problem=f"column {name} is missing{hint}"))
    for name, others in alike(names).items():
        if columns.keys().isdisjoint((name, *others)):
            continue
        shown = " and ".join(dict.fromkeys([name, *others]))
        problem = f"column {name} is there {1 + len(others)} times"
        if any(other != name for other in others):
            problem = f"columns {shown} differ in case only, and SQL does not tell them apart: rename one, or leave it out"
        checks.append(Check(f"{name} is there once", name, rows, problem=problem))
    for name in unexpected if table.strict else ():
        checks.append(Check("there are no other columns", name, rows, problem=f"column {name} is not in the spec"))
    return checks


@dataclass
class _Tally:
    failing: int = 0
    samples: list[Sample] = field(default_factory=list[Sample])


def _check_values(file: pq.ParquetFile, asked: Sequence[Rule]) -> list[Check]:
    if not asked:
        return []
    from pandera.errors import SchemaErrors

    schema = _schema(asked)
    tallies = {rule.text: _Tally() for rule in asked}
    start = 1
    for batch in file.iter_batches(CHUNK, columns=list(dict.fromkeys(rule.column for rule in asked))):
        frame = _to_pandas(batch, start)
        try:
            schema.validate(frame, lazy=True, inplace=True)
        except SchemaErrors as errors:
            failed = set(errors.failure_cases["check"])
            for rule in asked:
                if rule.text in failed:
                    _count(tallies[rule.text], rule, frame, batch, start)
        start += batch.num_rows
    return [Check(rule.text, rule.column, tallies[rule.text].failing, tuple(tallies[rule.text].samples)) for rule in asked]


def _schema(asked: Sequence[Rule]) -> pandera.DataFrameSchema:
    import pandera.pandas as pandera

    def check(rule: Rule) -> pandera.Check:
        return pandera.Check(lambda values: bool(rule.ok(values).all()), name=rule.text, ignore_na=not rule.nulls)

    by_column: dict[str, list[pandera.Check]] = {}
    for rule in asked:
        by_column.setdefault(rule.column, []).append(check(rule))
    return pandera.DataFrameSchema({name: pandera.Column(None, checks, nullable=True) for name, checks in by_column.items()})


def _count(tally: _Tally, rule: Rule, frame: pd.DataFrame, batch: pa.RecordBatch, start: int) -> None:
    values: Any = frame[rule.column]
    values = values if rule.nulls else values.dropna()
    failing: list[int] = values.index[~rule.ok(values).to_numpy(bool)].tolist()
    tally.failing += len(failing)
    column = batch.column(rule.column)
    tally.samples += [Sample(start + row, shown(column, row)) for row in failing[: SAMPLES - len(tally.samples)]]


def shown(column: pa.Array, row: int) -> JsonValue:
    """Value of a row, as `plain` shows it."""
    value: Any = column[row]
    try:
        return plain(value.as_py())
    except (ValueError, ArithmeticError, LookupError):  # a time that Python has none for, or in a zone that it doesn't know
        return f"{value.value} ({value.type})"


def _to_pandas(batch: pa.RecordBatch, start: int) -> pd.DataFrame:
    """Turn a chunk into pandas: decimals as doubles, dictionaries as their values, times as those of UTC, dates as times.

    Of a type that has no place in pandas, such as a list, no more is asked than where it is null.
    """
    import pyarrow as pa
    import pyarrow.compute

    from lakeline.data.rules import family, plainly

    pc: Any = pyarrow.compute  # its functions are made when it is imported

    def plainer(name: str, column: Any) -> pa.Array:
        column = plainly(column)
        if family(column.type) == "text":
            _require_utf8(name, column, start)
        if family(column.type) == "other":
            return pc.if_else(column.is_valid(), True, pa.scalar(None, pa.bool_()))
        if pa.types.is_decimal(column.type):
            return column.cast(pa.float64(), safe=False)
        if pa.types.is_timestamp(column.type):
            return column.cast(pa.timestamp(column.type.unit))
        return column.cast(pa.timestamp("s")) if pa.types.is_date(column.type) else column

    columns = [plainer(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pandas()


def _require_utf8(name: str, column: Any, start: int) -> None:
    import pyarrow as pa

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        for row, value in enumerate(column.cast(pa.large_binary()).to_pylist()):
            if value is not None and value.decode(errors="replace").encode() != value:
                raise DataError(
                    f"column {name} has text that is not UTF-8 (first: row {start + row:,}). Nothing was merged. "
                    "Write the file with UTF-8 text, and run the arrival again."
                ) from None
        raise


def _check_conversion(file: pq.ParquetFile, kinds: Mapping[str, ColumnType]) -> list[Check]:
    """Find the values that have no place in the type that a column is to be stored as."""
    from lakeline.data.conversion import ARROW, FITS, converted, lost

    schema = file.schema_arrow
    doubtful: dict[str, ColumnType] = {
        name: kind for name, kind in kinds.items() if schema.field(name).type != ARROW[kind] or kind in _BOUNDED
    }
    if not doubtful:
        return []
    tallies = {name: _Tally() for name in doubtful}
    start = 1
    for batch in file.iter_batches(CHUNK, columns=list(doubtful)):
        for name, kind in doubtful.items():
            column: Any = batch.column(name)
            failing = lost(column, converted(column, kind)).to_numpy(zero_copy_only=False).nonzero()[0].tolist()
            tally = tallies[name]
            tally.failing += len(failing)
            tally.samples += [Sample(start + row, shown(column, row)) for row in failing[: SAMPLES - len(tally.samples)]]
        start += batch.num_rows
    return [Check(f"{name} is {FITS[kind]}", name, tallies[name].failing, tuple(tallies[name].samples)) for name, kind in doubtful.items()]


def _check_unique(path: Path, names: Sequence[str], name: str) -> Check:
    """Find the rows whose value an earlier row has; nulls equal nothing."""
    import duckdb

    with duckdb.connect() as connection:
        source = f"SELECT c{names.index(name)} AS v, file_row_number AS n FROM {numbered('$path', len(names))} WHERE v IS NOT NULL"  # noqa: S608
        found = connection.execute(f"SELECT count(*) - count(DISTINCT v) FROM ({source})", {"path": str(path)}).fetchone()  # noqa: S608
        failing = int(found[0]) if found else 0
        if not failing:
            return Check(f"{name} is unique", name)
        again = f"SELECT v, n FROM ({source}) QUALIFY row_number() OVER (PARTITION BY v ORDER BY n) > 1 ORDER BY n LIMIT {SAMPLES}"  # noqa: S608
        samples = tuple(Sample(n + 1, plain(v)) for v, n in connection.execute(again, {"path": str(path)}).fetchall())
    return Check(f"{name} is unique", name, failing, samples)


def plain(value: Any) -> JsonValue:
    """Turn a value into one that JSON has, to be shown: times in ISO form, NaN and infinities by name, long text cut."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else str(value)
    text = value.isoformat(" ") if isinstance(value, dt.datetime) else str(value)
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
