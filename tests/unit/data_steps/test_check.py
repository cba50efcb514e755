"""What a Parquet file is checked for: types by family, values by rule, and which rows are named."""

import datetime as dt
import decimal
import math
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeline.data.check import SAMPLES, Check, TableReport, check_table
from lakeline.data.spec import Column, Table
from lakeline.data.specfile import local_spec
from lakeline.errors import DataError


def check(path: Path, values: pa.Array | list[Any], /, *, text_may_parse: bool = True, **column: Any) -> TableReport:
    """Check a file of one column, x."""
    file = path / "x.parquet"
    pq.write_table(pa.table({"x": values}), file)
    return check_table(file, Table(columns={"x": Column(**column)}), text_may_parse=text_may_parse)


def failure(report: TableReport) -> Check:
    """The only failure."""
    (found,) = report.failures
    return found


def rows(found: Check) -> list[int]:
    return [sample.row for sample in found.samples]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.decimal128(25, 2)])
@pytest.mark.parametrize("wanted", ["integer", "number"])
def test_numbers_of_any_width_will_do(tmp_path: Path, kind: pa.DataType, wanted: str):
    values = pa.array([1, None, 3]).cast(kind)

    assert check(tmp_path, values, type=wanted, nullable=True, minimum=1, maximum=3).failures == []


def test_integer_stored_as_double_must_be_whole(tmp_path: Path):
    found = failure(check(tmp_path, [1.0, 2.5, 3.0, math.inf], type="integer"))

    assert (found.text, found.failing) == ("x is a whole number", 2)
    assert [(sample.row, sample.value) for sample in found.samples] == [(2, 2.5), (4, "inf")]


def test_number_is_finite_and_nan_counts_as_null(tmp_path: Path):
    report = check(tmp_path, [1.0, math.nan, -math.inf], type="number")

    assert [(each.text, each.failing, rows(each)) for each in report.failures] == [("x is never null", 1, [2]), ("x is a number", 1, [3])]


def test_column_without_any_value_is_of_every_type(tmp_path: Path):
    nothing = pa.nulls(3)

    for wanted in ("integer", "number", "text", "timestamp", "boolean", "any"):
        assert check(tmp_path, nothing, type=wanted, nullable=True).failures == []
    assert failure(check(tmp_path, nothing, type="text")).failing == 3


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_text_may_be_stored_in_any_way(tmp_path: Path, kind: pa.DataType):
    values = pa.array(["EWR", None, "LGA"]).cast(kind)

    assert check(tmp_path, values, type="text", nullable=True, one_of=("EWR", "LGA"), pattern="[A-Z]{3}").failures == []
    assert failure(check(tmp_path, values, type="text", nullable=True, pattern="[A-F].*")).samples[0].value == "LGA"


def test_pattern_is_of_the_whole_text(tmp_path: Path):
    found = failure(check(tmp_path, ["AB", "ABC", "xAB"], type="text", pattern="[A-Z]{2}"))

    assert (found.text, rows(found)) == ("x matches [A-Z]{2}", [2, 3])


@pytest.mark.parametrize(
    ("wanted", "good", "bad", "text"),
    [
        ("number", ["1", "-2.5e3", " 7 "], ["n/a", "inf", "1_000", ""], "x is a number"),
        ("integer", ["1", "2.0"], ["1.5", "one"], "x is a whole number"),
        ("timestamp", ["2024-02-29", "2024-01-01T10:00:00Z"], ["2023-02-29", "noon"], "x is a timestamp"),
        ("boolean", ["true", "f"], ["maybe"], "x is true or false"),
    ],
)
def test_text_that_ingest_could_not_type_fails_row_by_row(tmp_path: Path, wanted: str, good: list[str], bad: list[str], text: str):
    report = check(tmp_path, [*good, None, *bad], type=wanted, nullable=True)

    found = failure(report)
    assert (found.text, found.failing, [sample.value for sample in found.samples]) == (text, len(bad), bad)
    assert rows(found)[0] == len(good) + 2
    assert check(tmp_path, good, type=wanted).failures == []


def test_text_that_is_a_number_is_held_to_the_range(tmp_path: Path):
    report = check(tmp_path, ["5", "n/a", "50"], type="number", minimum=0, maximum=10)

    assert [(each.text, rows(each)) for each in report.failures] == [("x is a number", [2]), ("x is between 0 and 10", [3])]


def test_clean_rows_have_their_types(tmp_path: Path):
    report = check(tmp_path, ["1", "2"], type="number", text_may_parse=False)

    assert failure(report).problem == "column x is stored as string; the spec says number"


@pytest.mark.parametrize(
    ("values", "wanted"), [([1, 2], "text"), ([1, 2], "timestamp"), ([True], "number"), ([1], "boolean"), ([[1]], "number")]
)
def test_another_type_is_said_of_the_whole_column(tmp_path: Path, values: list[Any], wanted: str):
    found = failure(check(tmp_path, values, type=wanted))

    assert (found.failing, found.samples) == (len(values), ())
    assert found.problem is not None
    assert found.problem.endswith(f"the spec says {wanted}")


def test_dates_and_times_are_timestamps(tmp_path: Path):
    for value in (dt.date(2024, 1, 1), dt.datetime(1600, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)):  # noqa: DTZ001
        assert check(tmp_path, [value, None], type="timestamp", nullable=True).failures == []


def test_anything_is_any(tmp_path: Path):
    assert check(tmp_path, [[1], [2, 3]], type="any", nullable=True).failures == []


@pytest.mark.parametrize(
    ("limits", "text", "failing"),
    [
        ({"minimum": 2}, "x is at least 2", [1]),
        ({"maximum": 2000000}, "x is at most 2000000", [4]),
        ({"one_of": (2, 3)}, "x is one of 2, 3", [1, 4]),
    ],
)
def test_values_out_of_bounds_are_named(tmp_path: Path, limits: dict[str, Any], text: str, failing: list[int]):
    found = failure(check(tmp_path, [1, 2, None, 5_000_000], type="integer", nullable=True, **limits))

    assert (found.text, rows(found)) == (text, failing)


def test_long_lists_of_values_are_cut(tmp_path: Path):
    found = failure(check(tmp_path, [99], type="integer", one_of=tuple(range(10))))

    assert found.text == "x is one of 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


def test_rows_are_counted_across_chunks_and_the_first_twenty_shown(tmp_path: Path):
    values = [0] * 200_000
    values[118:] = [9] * (200_000 - 118)

    found = failure(check(tmp_path, values, type="integer", maximum=5))

    assert found.failing == 200_000 - 118
    assert rows(found) == list(range(119, 119 + SAMPLES))


def test_unique_is_across_chunks_and_nulls_are_not_equal(tmp_path: Path):
    values: list[int | None] = [*range(150_000), None, None, 7, 149_999]

    found = failure(check(tmp_path, values, type="integer", nullable=True, unique=True))

    assert (found.text, found.failing) == ("x is unique", 2)
    assert [(sample.row, sample.value) for sample in found.samples] == [(150_003, 7), (150_004, 149_999)]


@given(
    st.lists(st.one_of(st.none(), st.integers(-5, 5), st.just(math.nan)), min_size=1, max_size=60), st.integers(-4, 0), st.integers(1, 4)
)
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_a_loop(values: list[float | None], low: int, high: int):
    with tempfile.TemporaryDirectory() as folder:
        column = pa.array([None if v is None else float(v) for v in values], pa.float64())
        report = check(Path(folder), column, type="integer", minimum=low, maximum=high)

    missing = [n for n, v in enumerate(values, 1) if v is None or math.isnan(v)]
    out = [n for n, v in enumerate(values, 1) if v is not None and n not in missing and not low <= v <= high]
    expected = {"x is never null": missing, f"x is between {low} and {high}": out}
    assert {each.text: (each.failing, rows(each)) for each in report.failures} == {
        text: (len(numbers), numbers[:SAMPLES]) for text, numbers in expected.items() if numbers
    }


def test_every_check_is_listed_whether_it_fails_or_not(tmp_path: Path):
    report = check(tmp_path, [1, 2], type="integer", minimum=0, unique=True)

    assert [each.text for each in report.checks] == ["there are rows", "x is never null", "x is at least 0", "x is unique"]
    assert all(each.passed for each in report.checks)


def test_columns_are_missing_unexpected_or_twice(tmp_path: Path):
    file = tmp_path / "f.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["depdelay", "x", "x"]), file)
    columns = {"dep_delay": Column(type="number"), "x": Column(type="number"), "y": Column(type="text", optional=True)}

    problems = [each.problem for each in check_table(file, Table(columns=columns)).failures]

    assert problems == [
        "column dep_delay is missing (there is depdelay, which the spec doesn't name)",
        "column x is there 2 times",
        "column depdelay is not in the spec",
    ]
    lenient = Table(columns={"depdelay": Column(type="number")}, strict=False)
    assert check_table(file, lenient).failures == []


def test_names_may_be_regular_expressions(tmp_path: Path):
    file = tmp_path / "f.parquet"
    pq.write_table(pa.table({"p_start": [1], "p_end": [-1], "q": [1]}), file)
    table = Table(columns={"p_.*": Column(type="number", regex=True, minimum=0), "q": Column(type="integer")})

    assert failure(check_table(file, table)).text == "p_end is at least 0"
    missing = Table(columns={"[rs]_.*": Column(type="number", regex=True)}, strict=False)
    assert failure(check_table(file, missing)).problem == "column [rs]_.* is missing"


def test_too_few_rows(tmp_path: Path):
    file = tmp_path / "f.parquet"
    table = Table(columns={"x": Column(type="integer", unique=True)}, minimum_rows=1000)
    pq.write_table(pa.table({"x": [1, 2]}), file)
    assert failure(check_table(file, table)).problem == "there are only 2 rows; the spec says at least 1,000"

    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), file)
    report = check_table(file, table)
    assert failure(report).problem == "there are no rows; the spec says at least 1,000"
    assert report.rows == 0


def test_values_are_shown_as_json_has_them(tmp_path: Path):
    at = dt.datetime(2024, 1, 2, 3, 4, 5)  # noqa: DTZ001
    assert failure(check(tmp_path, ["y" * 500], type="text", one_of=("n",))).samples[0].value == "y" * 200 + "…"
    assert failure(check(tmp_path, [at, at], type="timestamp", unique=True)).samples[0].value == "2024-01-02 03:04:05"
    assert failure(check(tmp_path, [decimal.Decimal("2.5")], type="number", maximum=1)).samples[0].value == 2.5


def test_cut_file_is_said_to_be_unreadable(tmp_path: Path):
    file = tmp_path / "f.parquet"
    pq.write_table(pa.table({"x": [1, 2]}), file)
    file.write_bytes(file.read_bytes()[:-20])

    with pytest.raises(DataError, match=r"f\.parquet can't be read as Parquet"):
        check_table(file, Table(columns={"x": Column(type="integer")}))


def test_months_with_drifted_schemas_pass_one_spec(data: Path):
    spec = local_spec("nyc-taxi").spec
    for month, count in (("2022-06", 73_718), ("2023-01", 68_211), ("2023-02", 64_809)):
        report = check_table(data / f"nyc-taxi/green_tripdata_{month}.parquet", spec.raw)
        assert (report.rows, report.failures) == (count, [])


def test_names_that_differ_in_case_only_are_refused_where_the_spec_names_one(tmp_path: Path):
    """SQL that reads x is given X: another column than was checked."""
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"X": [7777.0], "x": [1.0], "U": [1], "u": [1]}), file)
    table = Table(columns={"x": Column(type="number", maximum=100)}, strict=False)

    said = "columns X and x differ in case only, and SQL does not tell them apart: rename one, or leave it out"
    assert failure(check_table(file, table)).problem == said


@pytest.mark.parametrize(
    ("column", "values", "text", "value"),
    [
        ({"type": "integer"}, pa.array([1, 2**63], pa.uint64()), "x is a whole number of 64 bits", 2**63),
        ({"type": "integer"}, pa.array([1, decimal.Decimal(10**20)], pa.decimal128(38, 0)), "x is a whole number of 64 bits", 1e20),
        ({"type": "number"}, [1.0, 1e39], "x is a number within ±3.4e38", 1e39),
        (
            {"type": "timestamp"},
            pa.array([0, 2**62], pa.int64()).cast(pa.timestamp("us")),
            "x is a time between the years 1 and 9999",
            f"{2**62} (timestamp[us])",
        ),
    ],
)
def test_clean_value_that_its_type_has_no_place_for_is_named(tmp_path: Path, column: Any, values: Any, text: str, value: Any):
    assert check(tmp_path, values, **column).failures == []
    found = failure(check(tmp_path, values, text_may_parse=False, **column))

    assert (found.text, found.failing, [(each.row, each.value) for each in found.samples]) == (text, 1, [(2, value)])


def test_text_that_is_not_utf8_is_refused_by_row(tmp_path: Path):
    values = pa.Array.from_buffers(pa.string(), 3, pa.array([b"a", b"\xff", b"b"]).buffers())

    with pytest.raises(DataError, match=r"^column x has text that is not UTF-8 \(first: row 2\)"):
        check(tmp_path, values, type="text")


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1], None]),
        pa.array([{"a": 1}, None]),
        pa.array([b"\xff", None]),
        pa.array([dt.time(1), None]),
        pa.array([dt.timedelta(1), None]),
        pa.array([1, None], pa.int64()).cast(pa.timestamp("us", "Nowhere/Land")),
        pa.array([2**31 - 1, None], pa.int32()).cast(pa.date32()),
        pa.array([decimal.Decimal(10**60), None], pa.decimal256(70, 0)),
    ],
    ids=lambda values: str(values.type),
)
def test_column_of_any_type_is_checked_for_nulls(tmp_path: Path, values: pa.Array):
    found = failure(check(tmp_path, values, type="any"))

    assert (found.text, found.failing, rows(found)) == ("x is never null", 1, [2])


def test_row_is_found_in_a_file_whose_column_is_called_as_duckdb_calls_row_numbers(tmp_path: Path):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"file_row_number": [7, 8, 7]}), file)
    table = Table(columns={"file_row_number": Column(type="integer", unique=True)})

    assert rows(failure(check_table(file, table))) == [3]
