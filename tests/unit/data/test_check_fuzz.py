"""Whatever is in the two files of a data set, `lakeline dataset check` ends with sentences that name the line, or with OK."""

import contextlib
import io
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lakeline.data.arrivals import arrival_id, arrival_parameters, examples
from lakeline.data.mistakes import SpecMistakes
from lakeline.data.specfile import Definition, check
from lakeline.data.sql import run_sql
from lakeline.data.sqlcheck import _example_name
from lakeline.errors import DataError, LakelineError
from lakeline.settings import get_settings

SHIPPED = Path(__file__).parents[3] / "datasets"
THINGS = (Path(__file__).parent / "conftest.py").read_text(encoding="utf-8").partition('YAML = """\\\n')[2].partition('"""')[0]
SQL = "SELECT kind, size FROM raw WHERE size IS NOT NULL"

# fmt: off
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, 1e300, float("inf"), float("nan"), "", " ", "x", "a.b", "\n", "é", "'", '"',
    "\\", "a\0b", "\x1b[31m", "x" * 300, "{", "}", "{}", "{0}", "{month}", "{month:zz}", "{month.__class__}", "{month[0]}", "{month!r}",
    "{nn:{w}}", "{month:999999999d}", "month = {month}; DROP TABLE raw", "1 = 1) OR (1 = 1", "'{month}'", "SELECT", "(", "[", "next",
    "../..", "/etc/passwd", "https://", "https://[", "http://a b", "2024-01-01", "1e400", "null", "*", "-", "Infinity", "lightgbm",
    "from", "arrival", [], {}, [[]], [{}], {"": 1}, {"a": {"b": []}}, [None], [0, "0", True], {"low": 1},
    {"low": 0, "high": 1, "log": True}, {"choices": []}, {"choices": [None, {}]}, {"low": 1, "high": 2**70, "integer": True},
    {"kind": "time"}, {"type": "text"}, {"type": "integer", "minimum": 5},
]
KEYS = [
    "", "x", "null", "from", "a\nb", 'a"b', "a'b", "a.b", "[", "{x}", "minimum", "choices", "type", "one_of", "<<", "random_state", "é",
    "x" * 300,
]
SNIPPETS = [
    "\t", "\0", "\ufeff", "\r", "&a ", "*a", "<<: *a", "!!python/object:os.system x", "!!binary x", "!!timestamp 2020-99-99",
    "2020-13-45", "---\n", "...\n", "? [a]\n: b\n", "{", "}", "[", "]", ":", "- ", "#", "|", ">", "'", '"', "%YAML 9.9\n", "&r [*r]",
    "[" * 300, "0x", "1_0", "~", "!", "`", "@", "title: again\n", "\n", "\x85", "\u2028", "é", "🚲", "!!set {a}", "!!omap [a: 1]",
    "9" * 5000, ".nan", ".inf", "=", "on", "y: &y {<<: *y}\n",
]
STATEMENTS = [
    "", ";", "-- nothing", "/*", "SELECT", "SELECT 1; SELECT 2", "SELECT * FROM raw", "SELECT *, * FROM raw", "FROM raw", "TABLE raw",
    "VALUES (1)", "SELECT 1 AS kind, 2 AS size", "PRAGMA version", "COPY raw TO '/tmp/x'", "DROP VIEW raw", "DESCRIBE raw",
    "SUMMARIZE raw", "SHOW TABLES", "SELECT * FROM read_csv('/etc/passwd')", "SELECT nothing(1)", "SELECT kind, size FROM rwa",
    "SELECT kind, size FROM raw;", "SELECT\0", "\ufeff" + SQL, "ATTACH '/tmp/x'", "INSTALL httpfs", "LOAD httpfs", "SET threads = 1",
    "EXPLAIN SELECT 1", "PIVOT raw ON kind", "CALL pragma_version()", "BEGIN", "SELECT COLUMNS('(') FROM raw",
    "SELECT getvariable('nothing') AS kind, size FROM raw", "SELECT ? AS kind, size FROM raw", "SELECT $1", "SELECT kind, 1/0 AS size",
    "SELECT error('x') AS kind, size FROM raw", "SELECT 'x'::INTEGER AS size, kind FROM raw",
    "SELECT kind, size::HUGEINT AS size FROM raw", "SELECT [1] AS kind, {} AS size", "SELECT kind, size FROM raw ORDER BY random()",
    "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT 1 FROM a) SELECT * FROM a LIMIT 1", "SELECT " + "(" * 200 + "1",
]
# fmt: on
ROWS_DECIDE = re.compile(r"error\(|::|/ ?0|COLUMNS|make_|strftime")
"""SQL that some rows are right for and others aren't."""


def places(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@st.composite
def changed(draw: st.DrawFn, texts: list[str]) -> str:
    """The text of a spec with one to three of its parts changed."""
    yaml = YAML(typ="safe", pure=True)
    content = yaml.load(draw(st.sampled_from(texts)))
    for _ in range(draw(st.integers(1, 3))):
        *to, last = draw(st.sampled_from(places(content)[1:]))
        part = content
        for step in to:
            part = part[step]
        how = draw(st.sampled_from(["replace", "replace", "drop", "add", "swap"]))
        if how == "drop":
            del part[last]
        elif how == "add" and isinstance(part, dict):
            part[draw(st.sampled_from(KEYS))] = deepcopy(draw(st.sampled_from(ODD)))
        elif how == "swap" and isinstance(part, dict):
            part[draw(st.sampled_from(KEYS))] = part.pop(last)
        else:
            part[last] = deepcopy(draw(st.sampled_from(ODD)))
        if not isinstance(content, dict) or len(places(content)) == 1:
            break
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()


@st.composite
def garbled(draw: st.DrawFn, texts: list[str]) -> str:
    """The text of a file with something in it that doesn't belong there."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(SNIPPETS)) + text[at + draw(st.sampled_from([0, 0, 1, 5, 40])) :]
    return text


def runs(definition: Definition, folder: Path) -> None:
    """Run what was found to be right on rows of each possible arrival, as the steps of a run do."""
    spec = definition.spec
    values = {"integer": [1, 2], "number": [0.5, 2.0], "text": ["a", "b"], "boolean": [True, False], "any": ["a", "1"]}
    times = pa.array([0, 10**12], pa.timestamp("ms"))
    columns = {
        _example_name(name) if column.regex else name: times if column.type == "timestamp" else values[column.type]
        for name, column in spec.raw.columns.items()
    }
    raw, out = folder / "raw.parquet", folder / "clean.parquet"
    pq.write_table(pa.table(columns), raw)
    for parameters in examples(spec):
        arrival = arrival_id(spec, parameters)
        assert arrival_parameters(spec, arrival) == parameters
        out.unlink(missing_ok=True)
        with contextlib.suppress(DataError) if ROWS_DECIDE.search(definition.sql) else contextlib.nullcontext():
            run_sql(definition.sql, raw, out, {"arrival": arrival, **parameters}, origin=arrival)
            assert set(pq.read_schema(out).names) >= {name for name, column in spec.clean.columns.items() if not column.optional}


def ends_well(folder: Path, yaml: str, sql: str) -> None:
    """Check the two files: what is wrong is said, each mistake in a line with the line that it is in."""
    name = next(iter(re.findall(r"^name: ([a-z0-9-]{3,63})$", yaml, re.MULTILINE)), "things")
    here = folder / name
    here.mkdir(exist_ok=True)
    (here / "dataset.yaml").write_bytes(yaml.encode("utf-8", "surrogatepass"))
    (here / "transform.sql").write_bytes(sql.encode("utf-8", "surrogatepass"))
    try:
        definition = check(name)
    except SpecMistakes as error:
        mistakes = error.mistakes
    except LakelineError:
        return
    else:
        runs(definition, folder)
        return
    assert mistakes
    for mistake in mistakes:
        lines = (yaml if mistake.file.endswith("yaml") else sql).count("\n") + 2
        assert 1 <= mistake.line <= lines, mistake
        assert mistake.text.strip(), mistake
        assert "\n" not in str(mistake), mistake
        assert not re.search(r"pydantic|ruamel|duckdb|sklearn|Traceback|Internal|INTERNAL|after validation", mistake.text), mistake


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKELINE_DATASETS", str(made))
        get_settings.cache_clear()
        yield made
    get_settings.cache_clear()


QUICK = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(QUICK, max_examples=1500, derandomize=False, phases=[Phase.explicit, Phase.generate])  # to shrink takes longer than to read
TEXTS = [THINGS, *(path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob("*/dataset.yaml")))]


@QUICK
@given(changed([THINGS]), st.sampled_from([SQL, *STATEMENTS]))
def test_changed_spec_is_checked_without_a_traceback(folder: Path, yaml: str, sql: str):
    ends_well(folder, yaml, sql)


@QUICK
@given(garbled([THINGS]), garbled([SQL]))
@example("", "")
@example("- a\n- b\n", SQL)
@example("a: &a [*a]\n", SQL)
@example("".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else 1}]\n" for n in range(9)), SQL)
def test_garbled_files_are_checked_without_a_traceback(folder: Path, yaml: str, sql: str):
    ends_well(folder, yaml, sql)


@pytest.mark.parametrize("sql", STATEMENTS)
def test_odd_sql_is_checked_without_a_traceback(folder: Path, sql: str):
    ends_well(folder, THINGS, sql)


@pytest.mark.nightly
@LONG
@given(changed(TEXTS), st.sampled_from([SQL, *STATEMENTS]))
def test_changed_specs_are_checked_without_a_traceback_however_many(folder: Path, yaml: str, sql: str):
    ends_well(folder, yaml, sql)


@pytest.mark.nightly
@LONG
@given(garbled(TEXTS), garbled([SQL, *(path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob("*/transform.sql")))]))
def test_garbled_files_are_checked_without_a_traceback_however_many(folder: Path, yaml: str, sql: str):
    ends_well(folder, yaml, sql)
