"""The spec's SQL: what it sees, what it may not touch, and that it always yields the same."""

import os
import signal
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakeline.data.sql import run_sql
from lakeline.errors import DataError


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "it's raw.parquet"
    numbers = range(300_000)
    pq.write_table(pa.table({"n": numbers, "text": [str(n % 7) for n in numbers], "mixed": ["1"] * 299_999 + ["n/a"]}), path)
    return path


def run(sql: str, raw: Path, **variables: int | str) -> pa.Table:
    out = raw.parent / "out.parquet"
    out.unlink(missing_ok=True)
    counts = run_sql(sql, raw, out, variables, origin="toy 01")
    table = pq.read_table(out)
    assert counts == (300_000, table.num_rows)
    return table


def test_rows_keep_their_order(raw: Path):
    table = run("SELECT n FROM raw WHERE n % 3 = 0", raw)

    assert table.column("n").to_pylist() == list(range(0, 300_000, 3))


@pytest.mark.parametrize("sql", ["SELECT * FROM raw WHERE n > 5", "SELECT text, sum(n / 3) AS s FROM raw GROUP BY text"])
def test_same_sql_on_same_rows_yields_same_bytes(raw: Path, sql: str):
    outs = [raw.parent / f"{number}.parquet" for number in range(3)]
    for out in outs:
        run_sql(sql, raw, out, {}, origin="toy 01")

    assert len({out.read_bytes() for out in outs}) == 1
    assert [path.name for path in raw.parent.glob(".*")] == []


@pytest.mark.parametrize("end", ["", ";", " -- the end", ";\n-- the end;\n", "; /* the; end */ ;"])
def test_statement_may_end_as_people_end_them(raw: Path, end: str):
    sql = "SELECT n, ';--' AS semicolon FROM raw LIMIT 3"

    assert run(sql + end, raw).column("semicolon").to_pylist() == [";--"] * 3


def test_sql_knows_the_arrival(raw: Path):
    sql = "SELECT getvariable('arrival') AS a, getvariable('part') + 1 AS b FROM raw LIMIT 1"

    assert run(sql, raw, arrival="it's 07", part=7).to_pylist() == [{"a": "it's 07", "b": 8}]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT\n  m\nFROM raw", r'^toy 01: transform\.sql, line 2: Referenced column "m" not found'),
        ("SELECT n\nFORM raw x", r"^toy 01: transform\.sql, line 2: syntax error"),
        ("SELECT n,\n mixed::INTEGER AS m FROM raw", r"^toy 01: transform\.sql.*: Could not convert string 'n/a'"),
        ("", "must be one SELECT statement over the table `raw`, and nothing else"),
        ("SELECT 1; SELECT 2", "must be one SELECT"),
        ("DROP VIEW raw", "must be one SELECT"),
        ("SELECT 1 FROM raw) TO '/tmp/stolen.csv' (FORMAT csv); --", "syntax error"),
    ],
)
def test_mistake_is_said_with_its_line(raw: Path, sql: str, said: str):
    with pytest.raises(DataError, match=said):
        run(sql, raw)


@pytest.mark.parametrize(
    "source",
    [
        "read_text('/etc/hostname')",
        "read_csv('{folder}/secret.csv')",
        "glob('/*')",
        "'{folder}/secret.csv'",
        "read_parquet('https://example.invalid/x.parquet')",
    ],
)
def test_sql_sees_nothing_but_its_file(raw: Path, source: str):
    (raw.parent / "secret.csv").write_text("a\n1\n")

    with pytest.raises(DataError, match=r"disabled by configuration|not found|[Cc]annot"):
        run(f"SELECT * FROM {source.format(folder=raw.parent)}", raw)  # noqa: S608


def test_what_does_not_fit_in_memory_is_spilled_beside_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A sort of some 60 MB under a bound of 40 MB."""
    monkeypatch.setattr("lakeline.data.sql.MEMORY", "40MB")
    raw = tmp_path / "raw.parquet"
    duckdb.sql(f"COPY (SELECT i, md5(i::VARCHAR) AS t FROM range(1000000) r(i)) TO '{raw}'")  # noqa: S608

    rows = run_sql("SELECT t, i FROM raw ORDER BY t", raw, tmp_path / "out.parquet", {}, origin="toy 01")

    assert rows == (1_000_000, 1_000_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_an_error_of_the_system(raw: Path):
    out = raw.parent / "full.parquet"
    out.symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space left on device"):
        run_sql("SELECT * FROM raw", raw, out, {}, origin="toy 01")


def test_interrupt_ends_a_query_that_would_take_hours(raw: Path):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_sql("SELECT a.n FROM raw a, raw b WHERE hash(a.n + b.n) = 1", raw, raw.parent / "out.parquet", {}, origin="toy 01")
    finally:
        timer.join()
        signal.signal(signal.SIGINT, previous)
    assert [path.name for path in raw.parent.iterdir() if path != raw] == []
