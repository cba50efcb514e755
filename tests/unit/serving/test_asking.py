"""Rows of files as a server is asked with them; what is wrong with a file is said in its words."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakeline.errors import DataError, ServingError, UsageError
from lakeline.serving import asking
from lakeline.serving.asking import predict
from lakeline.serving.reading import next_rows, open_rows
from tests.ports import free_port
from tests.unit.serving.models import FEATURES, NAME, ROW

NOBODY = f"http://127.0.0.1:{free_port()}"


def sent(file: Path, columns: list[str] | None = None) -> tuple[bytes, str]:
    """Body and kind of the one request that a file makes."""
    source = open_rows(file, columns)
    return source.body(next_rows(file, source, 100))


def answers(client: httpx.Client, file: Path, most: int = 100) -> list[float]:
    """What a server predicts for a file."""
    source = open_rows(file, asking._takes(client).columns)
    predictions: list[float] = []
    while rows := next_rows(file, source, most):
        for answered in asking._ask(client, source, rows, file, len(predictions)):
            predictions += answered.predictions
    return predictions


def test_text_of_a_csv_file_is_sent_as_it_is(tmp_path: Path):
    file = tmp_path / "rows.csv"
    file.write_text('\ufeffroute,when,"the, load"\n007,2024-01-01,1.50\n"a ""b""\nc",,\n', encoding="utf-8")

    assert sent(file, ["the, load", "route"]) == (b'route,"the, load"\r\n007,1.50\r\n"a ""b""\nc",\r\n', "text/csv")


def test_values_of_a_parquet_file_are_what_json_can_hold(tmp_path: Path):
    import pandas as pd

    frame = pd.DataFrame({"a": [1.5, float("nan")], "b": ["x", None], "c": pd.to_datetime(["2024-01-02", None]), "d": [True, False]})
    frame.to_parquet(tmp_path / "rows.parquet")

    body, _ = sent(tmp_path / "rows.parquet")

    data = b'[[1.5, "x", "2024-01-02T00:00:00", true], [null, null, null, false]]'
    assert body == b'{"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": ' + data + b"}}"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rows.csv", "a,b\n1\n", "line 2 has 1 fields; the line of names has 2"),
        ("rows.csv", 'a\n"1\n', "line 2 has a quote that does not end"),
        ("rows.csv", b"a\n\xff\n", r"line 2 is not UTF-8 text \(byte 0xFF, number 3 of the file\)"),
        ("rows.csv", gzip.compress(b"a\n1\n", mtime=0), "is gzip-compressed, not text. Decompress it"),
        ("rows.csv", "", "has no line of column names"),
        ("rows.json", "[1]".encode("utf-16"), "is UTF-16 text, not UTF-8"),
        ("rows.json", "{", r"is no valid JSON: .* \(line 1, column 2\)"),
        ("rows.json", '{"rows": 3}', "holds no list of rows"),
        ("rows.json", "[1]", r"row 0 \(counted from 0\) is no object"),
        ("rows.json", '{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "row 0 .* is no list of 1 values"),
        ("rows.json", '{"dataframe_split": {"data": [[1, 2]]}}', "must have a list of names"),
        ("rows.json", '{"dataframe_split": 1}', "must have a list of names"),
        ("rows.json", '{"inputs": {"a": [1], "b": 2}}', "all of one length"),
        ("rows.json", '{"inputs": {"a": [1], "b": [1, 2]}}', "all of one length"),
        ("rows.json", "[" * 100_000, "nested too deeply"),
        ("rows.json", "[" + "9" * 5000 + "]", "too many digits"),
        ("rows.jsonl", '{"a": 1}\n{"a"\n', r"is no valid JSON: .* \(line 2, column"),
        ("rows.parquet", "PAR", "is no Parquet file, for it doesn't begin as one"),
        ("rows.parquet", "PAR1xxxxxxxx", "is Parquet that was cut short"),
        ("rows.parquet", "PAR1xxxxxPAR1", "is damaged Parquet"),
        ("rows.parquet", "a,b\n", "is no Parquet file"),
        ("rows.parquet", '{"a": 1}', "is no Parquet file, but JSON"),
    ],
)
def test_file_that_can_not_be_read_is_named(tmp_path: Path, name: str, text: str | bytes, said: str):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(DataError, match=f"{name}.*{said}"):
        sent(file)


def test_bytes_in_a_column_that_the_model_takes_are_refused(tmp_path: Path):
    pq.write_table(pa.table({"a": pa.array([b"\xff"])}), tmp_path / "rows.parquet")

    with pytest.raises(DataError, match=r"rows\.parquet can't be read: column 'a' has values of the type binary"):
        sent(tmp_path / "rows.parquet")


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.csv"])
def test_byte_order_mark_is_read_over_in_every_form(tmp_path: Path, name: str):
    text = {"rows.json": '[{"a": 1}]', "rows.jsonl": '{"a": 1}\r\n', "rows.csv": "a\r\n1\r\n"}[name]
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert sent(tmp_path / name)[0] == (b"a\r\n1\r\n" if name == "rows.csv" else b'{"dataframe_records": [{"a": 1}]}')


def test_what_can_not_be_asked_for_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no file"):
        next(predict(NAME, NOBODY, {}, tmp_path / "rows.csv"))
    (tmp_path / "rows.xlsx").touch()
    with pytest.raises(UsageError, match=r"whose name ends with \.csv, \.parquet"):
        sent(tmp_path / "rows.xlsx")
    with pytest.raises(ServingError, match=r"doesn't answer \(ConnectError"):
        next(predict(NAME, NOBODY, {}, tmp_path / "rows.xlsx"))
    with pytest.raises(UsageError, match="is no address of a server"):
        next(predict(NAME, "http://127.0.0.1:port", {}, tmp_path / "rows.xlsx"))
    with pytest.raises(UsageError, match=r"http:// is missing. Do: --url http://127.0.0.1:8080"):
        next(predict(NAME, "127.0.0.1:8080", {}, tmp_path / "rows.xlsx"))


def test_file_without_a_column_of_the_models_is_told_from_one_without_rows(tmp_path: Path):
    file = tmp_path / "rows.csv"
    file.write_text("route;load\na;3\n")
    with pytest.raises(DataError, match=r"has no column that the model takes. It has 'route;load'; the model takes 'route', 'load'.*comma"):
        open_rows(file, ["route", "load"])

    for name, text in {"header.csv": "route,load\n", "none.json": "[]", "none.jsonl": ""}.items():
        (tmp_path / name).write_text(text)
        assert next_rows(tmp_path / name, open_rows(tmp_path / name, ["route", "load"]), 10) == []


def test_row_that_is_refused_is_named_by_its_place_in_the_file(tmp_path: Path, caller: Callable[..., httpx.Client]):
    client = caller(max_bytes=1000)
    good, bad = ",".join(map(str, ROW.values())), "a,rain,much,3.5"
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([",".join(FEATURES), *[good] * 153, bad, *[good] * 40]))

    with pytest.raises(DataError, match=r"rows.csv: column 'load', row 153 \(counted from 0\)"):
        answers(client, file, most=100)  # in requests of 100 rows, which are too large, and halved

    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(json.dumps(ROW) for _ in range(30)) + '\n{"route": "a"}')
    with pytest.raises(DataError, match=r"rows.jsonl.*row 30 \(counted from 0\)"):
        answers(client, lines, most=10)


def test_server_of_another_model_is_not_asked(caller: Callable[..., httpx.Client]):
    asking._check_model(caller(), NAME, NOBODY)
    with pytest.raises(UsageError, match=f"serves {NAME}, not flights"):
        asking._check_model(caller(), "flights", NOBODY)
