"""What passes the checks can be learned from: whatever Parquet can hold, under whatever names."""

import dataclasses
import datetime as dt
import decimal
import math
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeline.data.check import check_table
from lakeline.data.conversion import write_converted
from lakeline.data.spec import DatasetSpec
from lakeline.data.split import split_files
from lakeline.data.sql import run_sql
from lakeline.errors import LakelineError, ValidationFailed
from lakeline.training.evaluate import compare
from lakeline.training.features import feature_types
from lakeline.training.fit import fit_best
from lakeline.training.fold import fold
from lakeline.training.search import try_out
from lakeline.training.trainable import require_trainable

NAMES = [
    *("_target", "_validation", "__validation", "_mean", "_weight", "_within", "_slice_s", "file_row_number", "filename", "weight"),
    *("c0", "c1", "f0", "y", "t0", "n", "v", "read", "rows", "result", "raw", "arrival", "level_0", "index"),
    *("SELECT", "a b", 'a"b', "it's", "a.b", "a", "A", "ünï", "$path", "{x}", "%s", "c0::VARCHAR", "-- x", "été\n"),
]
INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
DECIMALS = [pa.decimal128(5, 2), pa.decimal128(38, 0), pa.decimal128(38, 10), pa.decimal256(60, 3)]
NUMBERS = [pa.float32(), pa.float64(), pa.float16(), *DECIMALS]
TIMES = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Europe/Paris", "+05:30")]
DATES = [pa.date32(), pa.date64()]
TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
OTHERS = [pa.binary(), pa.time64("us"), pa.time32("s"), pa.duration("ms"), pa.list_(pa.int32()), pa.struct({"a": pa.int8()}), pa.null()]
FITTING = {
    "integer": [*INTEGERS, *NUMBERS],
    "number": [*INTEGERS, *NUMBERS],
    "text": TEXTS,
    "timestamp": [*TIMES, *DATES],
    "boolean": [pa.bool_()],
    "any": [*INTEGERS, *NUMBERS, *TEXTS, *TIMES, *DATES, *OTHERS, pa.bool_()],
}
EVERY = [*FITTING["any"], pa.bool_()]
ODD: dict[str, list[Any]] = {
    "text": ["", " ", "ß", "日本", "'", '"', "NaN", "null", "\x00", "a\nb", "1", "x" * 300],
    "number": [0.0, -0.0, 1e-320, 1.5, -2.0, 3.0, 1e6, 3e38, 3.5e38, 1e200, 1.7976931348623157e308, math.nan, math.inf, -math.inf],
    "integer": [0, 1, -1, 7, 127, -128, 255, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1],
    "days": [0, 1, -1, 18_000, 20_000, 40_000, -719_162, 2_932_896, 2_932_897, 2**31 - 1, -(2**31)],
}


def value(kind: pa.DataType, chance: random.Random, *, odd: bool) -> Any:  # noqa: C901, PLR0911 (a case a type)
    """Some value of a type, which may be one that is seldom thought of."""
    if pa.types.is_dictionary(kind):
        return value(kind.value_type, chance, odd=odd)
    if pa.types.is_integer(kind):
        low, high = (
            (0, 2**kind.bit_width - 1) if str(kind).startswith("u") else (-(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1)
        )
        return max(low, min(high, chance.choice(ODD["integer"]) if odd else chance.randrange(100)))
    if pa.types.is_floating(kind):
        if odd and not pa.types.is_float16(kind):
            return chance.choice(ODD["number"])
        return chance.choice([0.5, 1.0, 2.0, 7.25, 60.0])
    if pa.types.is_decimal(kind):
        if odd and kind.scale == 0:
            return decimal.Decimal(chance.choice([0, 1, 2**63, -(2**63), 10**37]))
        return decimal.Decimal(chance.choice(["0", "1", "-3", "99", "1.5" if kind.scale else "2"]))
    if pa.types.is_timestamp(kind):
        most = 2**63 - 1
        second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        at = chance.choice(ODD["days"]) * 86_400 * second + chance.choice([0, 1, 999, -1]) if odd else chance.randrange(2**30) * second
        return max(-most, min(most, at))
    if pa.types.is_date(kind):
        day = chance.choice(ODD["days"]) if odd else chance.randrange(20_000)
        return day if pa.types.is_date32(kind) else day * 86_400_000
    if pa.types.is_boolean(kind):
        return chance.random() < 0.5
    plain: dict[str, Any] = {
        "binary": b"\xff\x00",
        "list<": [1, None],
        "struct": {"a": 1},
        "time": dt.time(1, 2),
        "duration": dt.timedelta(1),
    }
    for start, one in plain.items():
        if str(kind).startswith(start):
            return one
    return chance.choice(ODD["text"] if odd else ["a", "b", "c"])


def column(kind: pa.DataType, rows: int, chance: random.Random, *, odd: bool, nulls: bool) -> pa.Array:
    values = [None if nulls and chance.random() < 0.2 else value(kind, chance, odd=odd) for _ in range(rows)]
    if pa.types.is_null(kind):
        return pa.nulls(rows)
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(pa.timestamp(kind.unit)).cast(kind)
    if pa.types.is_date(kind):
        return pa.array(values, pa.int32() if pa.types.is_date32(kind) else pa.int64()).cast(kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, kind)


@dataclasses.dataclass(frozen=True)
class Case:
    """A spec, and arrivals that it may or may not fit."""

    spec: dict[str, Any]
    sql: str
    arrivals: list[pa.Table]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    chance = random.Random(draw(st.integers(0, 2**32)))
    names = chance.sample(NAMES, 5)
    kinds = {
        names[0]: draw(st.sampled_from(["text", "any", "boolean", "integer"])),
        names[1]: draw(st.sampled_from(["number", "integer", "boolean"])),
        names[2]: draw(st.sampled_from(["number", "integer"])),
        names[3]: draw(st.sampled_from(["timestamp", "integer", "number"])),
        names[4]: draw(st.sampled_from(["any", "text", "timestamp", "number"])),
    }
    strict = draw(st.booleans())
    any_raw = draw(st.booleans())
    split = draw(st.sampled_from([{"kind": "random"}, {"kind": "time", "column": names[3]}]))
    sql = draw(st.sampled_from(["SELECT * FROM raw", "SELECT {} FROM raw", "SELECT {} FROM raw ORDER BY 3 DESC NULLS LAST"]))
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in chance.sample(names, 5))
    raw = {name: {"type": "any" if any_raw else kind, "nullable": any_raw} for name, kind in kinds.items()}
    spec = {
        "name": "odd-names",
        "title": "Odd names",
        "source": {"kind": "url", "format": "parquet", "url": "https://example.org/{year}", "local": "{year}.parquet"},
        "arrival": {"id": "{year}", "parameters": {"year": {}}},
        "raw": {"strict": strict, "columns": raw},
        "clean": {"columns": {name: {"type": kind} for name, kind in kinds.items()}},
        "target": {"column": names[2]},
        "features": {"categorical": [names[0]], "numeric": [names[1]]},
        "slices": [names[4]],
        "split": split,
        "search": {"trials": 1, "estimators": [{"name": "decision_tree", "parameters": {"max_depth": 2}}]},
    }
    arrivals: list[pa.Table] = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.sampled_from([1, 12, 40]))
        columns: dict[str, pa.Array] = {}
        for name, kind in chance.sample(list(kinds.items()), 5):
            stored = draw(st.sampled_from(EVERY if chance.random() < 0.04 else FITTING[kind]))
            columns[name] = column(stored, rows, chance, odd=chance.random() < 0.15, nulls=chance.random() < 0.03)
        arrivals.append(pa.table(columns))
    return Case(spec, sql.format(quoted), arrivals)


def arrive(spec: DatasetSpec, sql: str, raw: Path, main: dict[str, Path]) -> Path:
    """Do what validate, transform, validate and publish do with an arrival's file."""
    failures = check_table(raw, spec.raw).failures
    if failures:
        raise ValidationFailed(str(failures))
    result, clean = raw.with_suffix(".result"), raw.with_suffix(".clean")
    run_sql(sql, raw, result, {}, origin=raw.stem)
    write_converted(result, clean, spec.clean)
    failures = check_table(clean, spec.clean, text_may_parse=False).failures
    if failures:
        raise ValidationFailed(str(failures))
    others = {arrival: pq.read_metadata(path).num_rows for arrival, path in main.items()}
    require_trainable(spec, {raw.stem: clean}, others, main.__getitem__)
    return clean


def learn(spec: DatasetSpec, main: dict[str, Path], folder: Path) -> None:
    """Do what split, search, fit and evaluate do with the files of main."""
    train, holdout = folder / "train.parquet", folder / "holdout.parquet"
    split_files(spec, list(main), lambda arrival: Path(shutil.copy(main[arrival], folder / f"{arrival}.copy")), train, holdout)
    trial = try_out(spec, train, 0)
    assert trial.error is None
    assert fold(train, feature_types(spec), spec.target.column).rows > 0
    fit_best(spec, "commit", train, [trial], folder / "model")
    scored = compare(spec, folder / "model", holdout, None)
    assert all(map(math.isfinite, scored.candidate.values()))
    assert sum(each["rows"] for each in scored.slices) == scored.rows


def refuse_or_learn(case: Case) -> bool:
    """Whether any arrival passed; what did is learned from, together."""
    with tempfile.TemporaryDirectory() as name:
        folder, main = Path(name), dict[str, Path]()
        try:
            spec = DatasetSpec.model_validate(case.spec)
        except ValueError:
            return False  # names that differ in case only
        for number, table in enumerate(case.arrivals):
            raw = folder / f"{number}.parquet"
            pq.write_table(table, raw)
            try:
                main[raw.stem] = arrive(spec, case.sql, raw, main)
            except LakelineError:
                continue
            schemas = {pq.read_schema(path).to_string() for path in main.values()}
            assert len(schemas) == 1
            learn(spec, main, folder)
        return bool(main)


ANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], database=None, derandomize=True)


@given(cases())
@settings(ANY, max_examples=25)
def test_any_frame_is_refused_before_the_merge_or_learned_from(case: Case):
    refuse_or_learn(case)


@pytest.mark.nightly
@given(cases())
@settings(ANY, max_examples=1500, derandomize=False)
def test_any_of_many_frames_is_refused_before_the_merge_or_learned_from(case: Case):
    refuse_or_learn(case)
