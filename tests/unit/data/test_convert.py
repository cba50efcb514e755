"""Raw files: proved whole, typed where every value allows it, and otherwise as they came."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeline.data.convert import RawFile, to_parquet
from lakeline.data.source import fetch
from lakeline.data.specfile import local_spec
from lakeline.errors import SourceError


@pytest.fixture
def convert(things: Any, tmp_path: Path):
    """Convert the local copy of arrival m01 (and others)."""

    def run(*arrivals: str) -> dict[str, RawFile]:
        spec = local_spec("things").spec
        asked = arrivals or ("m01",)
        return to_parquet(spec, fetch(spec, asked[0], tmp_path / "source"), asked, tmp_path)

    return run


def rows(file: RawFile) -> dict[str, list]:
    return pq.read_table(file.path).to_pydict()


def kinds(file: RawFile) -> dict[str, str]:
    return {field.name: str(field.type) for field in pq.read_schema(file.path)}


def test_csv_gets_the_declared_types_and_its_nulls(things: Any, convert: Any):
    things.copy()

    file = convert()["m01"]

    assert file.rows == 3
    assert kinds(file) == {"month": "int64", "time": "timestamp[us]", "kind": "string", "size": "double", "count": "int64"}
    assert rows(file)["size"] == [1.5, None, 3.0]
    assert rows(file)["count"] == [1, 2, None]
    assert rows(file)["kind"] == ["a", "b", "a, or b"]


def test_times_are_in_utc_whatever_their_offset(things: Any, convert: Any):
    things.copy()

    assert [time.hour for time in rows(convert()["m01"])["time"]] == [10, 10, 0]


@pytest.mark.parametrize(
    ("column", "value"),
    [("size", "n/a"), ("size", "inf"), ("size", "nan"), ("size", "1_0"), ("count", "1.5"), ("count", "1_000"), ("count", "0x10"),
     ("count", "9999999999999999999"), ("time", "yesterday"), ("time", "infinity"), ("month", "one")],
)  # fmt: skip
def test_column_with_one_value_of_another_type_stays_text_as_it_came(things: Any, convert: Any, column: str, value: str):
    header: list[str] = ["month", "time", "kind", "size", "count"]
    lines: list[list[str]] = [["1", "2024-01-01", "a", "1.5", "1"], ["1", "2024-01-02", "b", "2", "02"]]
    lines[0][header.index(column)] = value
    things.copy("\n".join(",".join(line) for line in [header, *lines]))

    file = convert()["m01"]

    assert kinds(file)[column] == "string"
    assert rows(file)[column] == [value, lines[1][header.index(column)]]
    assert sum(kind == "string" for kind in kinds(file).values()) == 2, "the others have their types"


@given(number=st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_are_read_exactly(number: int):
    import duckdb

    from lakeline.data.convert import CASTS

    query = f"SELECT {CASTS['integer'].format('x')} FROM (SELECT ? AS x)"  # noqa: S608

    assert duckdb.execute(query, [str(number)]).fetchall() == [(number,)]


def test_whole_numbers_written_with_a_point_are_whole_numbers(things: Any, convert: Any):
    things.copy("month,time,kind,size,count\n1.0,2024-01-01,a,1, 7 \n")

    assert rows(convert()["m01"])["count"] == [7]


def test_missing_and_extra_columns_are_kept_for_the_validation_to_tell(things: Any, convert: Any):
    things.copy("month,kind,colour,size\n1,a,red,2\n")

    assert kinds(convert()["m01"]) == {"month": "int64", "kind": "string", "colour": "string", "size": "double"}


def test_where_picks_the_rows_of_each_arrival_in_their_order(things: Any, convert: Any):
    things.define(("things/{month:02d}.csv", "things/01.csv"), ("  format: csv", "  format: csv\n  where: month = {month}"))
    things.copy("month,time,kind,size,count\n" + "".join(f"{1 + i % 3},2024-01-01,k{i},{i},{i}\n" for i in range(30_000)))

    files = convert("m01", "m03")

    assert set(files) == {"m01", "m03"}
    assert rows(files["m01"])["count"] == list(range(0, 30_000, 3))
    assert rows(files["m03"])["count"] == list(range(2, 30_000, 3))


def test_where_that_picks_no_row_is_refused(things: Any, convert: Any):
    things.define(("  format: csv", "  format: csv\n  where: month = {month} + 1"))
    things.copy()

    with pytest.raises(SourceError, match=r"things m01: local:things/01\.csv has no rows where month = 1 \+ 1\. Nothing was ingested"):
        convert()


def test_where_that_does_not_fit_the_file_is_refused(things: Any, convert: Any):
    things.define(("  format: csv", "  format: csv\n  where: month = {month}"))
    things.copy("mnth,kind\n1,a\n")

    with pytest.raises(SourceError, match=r"source\.where \(month = \{month\}\) does not fit the file: .*\"month\" not found"):
        convert()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"\n\n", "has no line of column names"),
        (b"month,kind\n", "has no rows"),
        (b"month,kind\n1,a\n1,b,c\n", "line 3 has 3 fields; the line of names has 2"),
        (b"month,kind\n1,a\n1\n", "line 3 has 1 fields; the line of names has 2"),
        (b'month,kind\n1,a\n1,"b\n1,c\n', "line 3 has a quote that does not end"),
        (b"month,kind\n1,caf\xe9\n", "line 2 is not UTF-8 text"),
        (b"month,k\xefnd\n1,a\n", "line 1: 'utf-8' codec can't encode"),
        (b"month,kind,Month\n1,a,1\n", "has two columns named 'Month' in line 1"),
        (b"month,,kind\n1,2,a\n", "has no name for column 2 in line 1"),
    ],
)
def test_csv_that_is_broken_is_refused_with_the_line(things: Any, convert: Any, content: bytes, said: str):
    things.copy(content)

    with pytest.raises(SourceError, match=said):
        convert()


def test_ragged_line_deep_in_the_file_is_found(things: Any, convert: Any):
    things.copy("month,kind\n" + "1,a\n" * 300_000 + "1,a,b\n" + "1,a\n" * 10)

    with pytest.raises(SourceError, match="line 300002 has 3 fields"):
        convert()


def test_bom_windows_line_ends_semicolons_and_quotes_are_read(things: Any, convert: Any):
    things.define(("  format: csv", "  format: csv\n  delimiter: ';'"))
    things.copy(b'\xef\xbb\xbfmonth;"the ""kind"""\r\n1;"a;b"\r\n')

    assert rows(convert()["m01"]) == {"month": [1], 'the "kind"': ["a;b"]}


def test_column_named_by_an_expression_gets_its_type(things: Any, convert: Any):
    things.define(("    count:", "    '[km]ount': { type: integer, regex: true }\n    count:"))
    things.copy("month,kount\n1,5\n")

    assert kinds(convert()["m01"]) == {"month": "int64", "kount": "int64"}


@pytest.fixture
def parquet(things: Any, tmp_path: Path) -> Path:
    """Make a local copy in Parquet, of several row groups."""
    things.define(("format: csv", "format: parquet"), ('  "null": NA\n', ""))
    table = pa.table({"month": pa.array([1] * 5000, pa.int32()), "fee": pa.nulls(5000), "kind": pa.array(["ä"] * 5000, pa.large_string())})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1000)
    return things.copy((tmp_path / "x.parquet").read_bytes())


def test_parquet_keeps_its_bytes(parquet: Path, convert: Any):
    file = convert()["m01"]

    assert file.path.read_bytes() == parquet.read_bytes()
    assert file.rows == 5000


@pytest.mark.parametrize("cut", [10, 1000, 0.5, -100, -4, -1])
def test_parquet_that_is_cut_short_is_refused(parquet: Path, convert: Any, cut: float):
    content = parquet.read_bytes()
    parquet.write_bytes(content[: int(len(content) * cut) if isinstance(cut, float) else cut])

    with pytest.raises(
        SourceError, match=r"things m01: local:things/01\.csv \([\d,]+ bytes\) is no whole Parquet file: .*Get the file again"
    ):
        convert()


def test_parquet_with_damaged_pages_is_refused_though_its_footer_is_well(parquet: Path, convert: Any):
    content = bytearray(parquet.read_bytes())
    content[4:400] = bytes(396)
    parquet.write_bytes(content)
    assert pq.read_metadata(parquet).num_rows == 5000

    with pytest.raises(SourceError, match="is no whole Parquet file"):
        convert()


def test_parquet_without_rows_is_refused(things: Any, parquet: Path, convert: Any):
    pq.write_table(pq.read_table(parquet).slice(0, 0), parquet)

    with pytest.raises(SourceError, match=r"has no rows\. Nothing was ingested"):
        convert()


def test_where_picks_rows_of_parquet_too(things: Any, parquet: Path, convert: Any):
    things.define(("format: csv", "format: parquet\n  where: month = {month} AND rowid_ < 3"), ('  "null": NA\n', ""))
    table = pq.read_table(parquet)
    pq.write_table(table.append_column("rowid_", pa.array(range(5000))), parquet)

    assert convert()["m01"].rows == 3


def test_digest_of_the_schema_tells_types_apart_and_nothing_else(things: Any, convert: Any):
    things.copy()
    first = convert()["m01"].schema_digest
    things.copy("month,time,kind,size,count\n7,2025-01-01,z,9,9\n")
    same = to_digest(things, "7")
    assert first == same
    assert first != to_digest(things, "seven")


def to_digest(things: Any, month: str) -> str:
    import tempfile

    things.copy(f"month,time,kind,size,count\n{month},2025-01-01,z,9,9\n")
    spec = local_spec("things").spec
    with tempfile.TemporaryDirectory() as folder:
        return to_parquet(spec, fetch(spec, "m01", Path(folder)), ["m01"], Path(folder))["m01"].schema_digest
