"""Raw files: proved whole, typed where every value allows it, and otherwise as they came."""

import csv
import gzip
import io
import re
import tempfile
import zipfile
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakeline.data.convert import NoRows, RawFile, to_parquet
from lakeline.data.source import Fetched, fetch
from lakeline.data.specfile import load_spec, local_spec
from lakeline.errors import SourceError
from tests.unit.data.conftest import YAML


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
@settings(deadline=None)
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
        (b"month,kind\n1,a,\n", r"line 2 has 3 fields; the line of names has 2\. Those too many are empty"),
        (b"month,kind\n1,a\n\n1,b,,\n", "line 4 has 4 fields; the line of names has 2"),
        (b"month,kind\n1,a,b,c\n", "The first one too many is 'b'"),
        (b'month,kind\n1,"a\nb"\n1,a,\n', "line 4 has 3 fields"),
        (b'month,kind\n1,a\n1,"b"c\n', r"line 3 has a quote that ends in the middle of a field\. One that is part of the text is doubled"),
        (b'month,kind\n1,"' + b"a" * (1 << 20) + b"a\n", "line 2 has a field of more than 1,048,576 characters. Does a quote begin"),
        (
            b"month,kind\n1,caf\xe9\n",
            r"line 2 is not UTF-8 text \(byte 0xE9, number 17 of the file\)\. If it is ISO-8859-1, that is 'é'\. .*iconv",
        ),
        (b"month,k\xefnd\n1,a\n", r"line 1 is not UTF-8 text \(byte 0xEF, number 8 of the file\)"),
        (b"month,kind\r1,a\r\n1,\xb0\n", r"line 3 is not UTF-8 text"),
        (b"month,kind\n1,\xc3", r"line 2 is not UTF-8 text \(byte 0xC3, number 14 of the file\)"),
        (b"month,kind\n1,a\n1,\0\n", r"line 3 has a NUL byte, number 18 of the file"),
        ("month,kind\n1,a\n".encode("utf-16"), r"is UTF-16 text, not UTF-8\. .*iconv -f UTF-16 -t UTF-8"),
        ("month,kind\n1,a\n".encode("utf-16-le"), "is UTF-16 text, not UTF-8. .*iconv -f UTF-16LE"),
        ("month,kind\n1,a\n".encode("utf-16-be"), "is UTF-16 text, not UTF-8. .*iconv -f UTF-16BE"),
        (b"BZh91AY&SY\xff", "is bzip2-compressed, not text. Decompress it"),
        (b"\x28\xb5\x2f\xfd\xff", "is Zstandard-compressed, not text"),
        (b"PAR1\x15\x04\xff", "is Parquet, not text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"is an Excel workbook \(\.xls\)"),
        (b"<!DOCTYPE html>\n<html><body>Moved</body></html>\n", "is an HTML page, not CSV"),
        (b'[{"month": 1, "kind": "a"}]\n', "is JSON, not CSV"),
        (b"month;time;kind\n1;2;3\n", r"has the semicolon between its names, not the comma \(source\.delimiter\)"),
        (
            b"1,2024-01-01, a,2.5,1\n1,2024-01-02, a,2.5,1\n",
            "seems to have no line of column names: its first line has the number 1 where .* such as: month,time,kind,size,count",
        ),
        (b"month,kind,Month\n1,a,1\n", "has two columns named 'Month' in line 1"),
        (b"month,,kind\n1,2,a\n", "has no name for column 2 in line 1"),
    ],
)
def test_csv_that_is_broken_is_refused_with_the_line(things: Any, convert: Any, content: bytes, said: str):
    things.copy(content)

    with pytest.raises(SourceError, match=said):
        convert()


def packed(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "month,kind\n1,a\n")
    return buffer.getvalue()


def test_zip_archive_is_refused_unless_the_spec_names_its_member(things: Any, convert: Any):
    things.copy(packed("all.csv"))
    with pytest.raises(SourceError, match=r"is a zip archive\. Name the file to read in it by source\.member"):
        convert()

    things.define(("  format: csv", "  format: csv\n  member: all.csv"))
    assert rows(convert()["m01"])["kind"] == ["a"]


def test_workbook_is_told_from_an_archive(things: Any, convert: Any):
    things.copy(packed("xl/workbook.xml"))

    with pytest.raises(SourceError, match=r"is an Excel workbook \(\.xlsx\), not text\. Save it as CSV"):
        convert()


def test_gzip_is_read(things: Any, convert: Any):
    things.copy(gzip.compress(b"month,kind\n1,a\n"))

    assert rows(convert()["m01"]) == {"month": [1], "kind": ["a"]}


def test_lines_may_end_each_in_its_own_way_and_empty_ones_are_none(things: Any, convert: Any):
    things.copy(b'\n\r\nmonth,kind\r\n1,a\n\n1,"b\r\nb"\r1,5" pipe\r\n\r\n')

    assert rows(convert()["m01"]) == {"month": [1, 1, 1], "kind": ["a", "b\r\nb", '5" pipe']}


def test_names_that_convert_uses_itself_may_be_the_files(things: Any, convert: Any):
    things.copy("month,kind,_lakeline_0,_LAKELINE__chosen_0,batches,source\n1,a,b,c,d,e\n")

    assert rows(convert()["m01"])["_lakeline_0"] == ["b"]


def test_ragged_line_deep_in_the_file_is_found(things: Any, convert: Any):
    things.copy("month,kind\n" + "1,a\n" * 300_000 + "1,a,b\n" + "1,a\n" * 10)

    with pytest.raises(SourceError, match="line 300002 has 3 fields"):
        convert()


def test_bom_windows_line_ends_semicolons_and_quotes_are_read(things: Any, convert: Any):
    things.define(("  format: csv", "  format: csv\n  delimiter: ';'"))
    things.copy(b'\xef\xbb\xbfmonth;"the ""kind"""\r\n1;"a;b"\r\n')

    assert rows(convert()["m01"]) == {"month": [1], 'the "kind"': ["a;b"]}


FRAGMENTS = ["a", "b", ",", '"', '""', "\n", "\r", "\r\n", " ", "1", "NA", ";", "é", "\ufeff", "\0"]


@example(b"a,b\r\n1,2\n3,4")
@example(b"a,b\n1,2,\n")
@example(b'a,b\n1,"x"y\n')
@example(b'a\n""\n\n1\n')
@given(
    st.one_of(
        st.builds(lambda head, parts: (head + "".join(parts)).encode(), st.sampled_from(["", "a,b\n", "a\r\n", "\ufeffa,b\r"]),
                  st.lists(st.sampled_from(FRAGMENTS), max_size=20)),
        st.binary(max_size=12).map(b"a,b\n1,2\n".__add__),
    )
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_csv_is_read_as_the_csv_module_reads_it_or_refused(content: bytes):
    spec = load_spec(re.sub(r"raw:.*?clean:", "raw:\n  columns:\n    a: { type: text }\nclean:", YAML, flags=re.DOTALL), "dataset.yaml")
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True) if line]
    except (csv.Error, UnicodeDecodeError):
        lines = []
    header, wanted = lines[0] if lines else [], [[text if text not in ("", "NA") else None for text in line] for line in lines[1:]]
    right = wanted and all(len(line) == len(header) for line in wanted) and len({name.lower() for name in header}) == len(header)

    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "x.csv")
        path.write_bytes(content)
        try:
            table = pq.read_table(to_parquet(spec, Fetched(path, "url", "", len(content)), ["m01"], Path(name))["m01"].path)
        except SourceError as refused:
            table, message = None, str(refused)
        else:
            message = ""
    if table is None:
        assert not right or re.search("NUL byte|no name for column|between its names|where a name belongs|UTF-16", message)
    else:
        assert right
        assert table.column_names == header
        assert [list(row.values()) for row in table.to_pylist()] == wanted


DATES = """\
date,n
2024-01-03,1
2024-02-30,2
2024-02-05,3
,4
2023-01-01,5
"""
BY_DATE = (
    ("things/{month:02d}.csv", "things/01.csv"),
    ("  format: csv", "  format: csv\n  where: year(date) = 2024 AND month(date) = {month}"),
    ("    month: { type: integer }\n", "    date: { type: timestamp }\n"),
)
DROP = ("  format: csv", "  format: csv\n  where_null: drop")


def as_parquet(text: str) -> bytes:
    """The same rows as Parquet, where a date that is none is null."""
    dates, numbers = zip(*(line.split(",") for line in text.splitlines()[1:]), strict=True)
    buffer = io.BytesIO()
    days = [date.fromisoformat(day) if day and day != "2024-02-30" else None for day in dates]
    pq.write_table(pa.table({"date": pa.array(days, pa.date32()), "n": list(numbers)}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "arrivals"), product(["csv", "parquet"], [["m01"], ["m02"], ["m01", "m02"]]))
def test_rows_that_where_is_null_for_are_refused_for_each_arrival(things: Any, convert: Any, kind: str, arrivals: list[str]):
    things.define(*BY_DATE, *([("format: csv", "format: parquet"), ('  "null": NA\n', "")] if kind == "parquet" else []))
    things.copy(DATES if kind == "csv" else as_parquet(DATES))
    first = "'2024-02-30'" if kind == "csv" else "null"

    with pytest.raises(
        SourceError, match=rf"is null for 2 rows, .* of no arrival \(first: date {first}\)\. .*`where_null: drop` under source"
    ):
        convert(*arrivals)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_that_where_is_null_for_are_left_out_and_counted_where_the_spec_says_so(things: Any, convert: Any, kind: str):
    things.define(*BY_DATE, DROP, *([("format: csv", "format: parquet"), ('  "null": NA\n', "")] if kind == "parquet" else []))
    things.copy(DATES if kind == "csv" else as_parquet(DATES))

    files = convert("m01", "m02")

    assert {arrival: (rows(file)["n"], file.left_out) for arrival, file in files.items()} == {"m01": (["1"], 2), "m02": (["3"], 2)}


def test_rows_of_arrivals_that_are_not_asked_for_are_no_fault(things: Any, convert: Any):
    things.define(*BY_DATE)
    things.copy("date,n\n2024-01-03,1\n2024-03-03,2\n2023-01-01,3\n")

    assert convert()["m01"].left_out == 0


def test_row_that_one_arrival_takes_is_not_left_out_though_another_cannot_tell(things: Any, convert: Any):
    things.define(
        *(
            change if "where" not in change[1] else ("  format: csv", "  format: csv\n  where: month(date) = {month} OR n = {month}")
            for change in BY_DATE
        )
    )
    things.copy("date,n\n2024-01-03,9\n,1\n2024-02-02,9\n")

    assert {arrival: file.rows for arrival, file in convert("m01", "m02").items()} == {"m01": 2, "m02": 1}
    with pytest.raises(SourceError, match=r"is null for 1 row, which is therefore of no arrival \(first: date null, n '1'\)"):
        convert("m02")


def test_arrival_without_rows_says_how_many_it_may_have(things: Any, convert: Any):
    things.define(*BY_DATE)
    things.copy(DATES)

    with pytest.raises(NoRows, match=r"has no rows where year\(date\) = 2024 AND month\(date\) = 7, and 2 for which that is null"):
        convert("m07")


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
        SourceError,
        match=r"things m01: local:things/01\.csv \([\d,]+ bytes\) is Parquet that was cut short: .*Get the file again",
    ):
        convert()


def test_parquet_with_damaged_pages_is_refused_though_its_footer_is_well(parquet: Path, convert: Any):
    content = bytearray(parquet.read_bytes())
    content[4:400] = bytes(396)
    parquet.write_bytes(content)
    assert pq.read_metadata(parquet).num_rows == 5000

    with pytest.raises(SourceError, match="is damaged Parquet: a part of it can't be decoded"):
        convert()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"month,kind\n1,a\n", "for it doesn't begin as one"),
        (b"<html>", "but an HTML page"),
        (b"BZh9", "but bzip2-compressed"),
        (b"a", "for it"),
    ],
)
def test_other_file_than_parquet_is_refused_with_what_it_looks_like(parquet: Path, convert: Any, content: bytes, said: str):
    parquet.write_bytes(content)

    with pytest.raises(SourceError, match=rf"is no Parquet file, {said}.* or correct source\.format in the spec"):
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
    things.copy(f"month,time,kind,size,count\n{month},2025-01-01,z,9,9\n")
    spec = local_spec("things").spec
    with tempfile.TemporaryDirectory() as folder:
        return to_parquet(spec, fetch(spec, "m01", Path(folder)), ["m01"], Path(folder))["m01"].schema_digest
