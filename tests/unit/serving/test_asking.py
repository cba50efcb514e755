"""Rows of files as a server is asked with them; what is wrong with a file is said in its words."""

from pathlib import Path

import pytest

from lakeline.errors import DataError, ServingError, UsageError
from lakeline.serving import asking
from lakeline.serving.asking import predict
from tests.ferries import free_port

NOBODY = f"http://127.0.0.1:{free_port()}"


def sent(file: Path, columns: list[str] | None = None) -> tuple[bytes, str]:
    """Body and kind of the one request that a file makes."""
    with asking._reading(file):
        source = asking._open(file, columns)
    return source.body(asking._next(file, source, 100))


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
        ("rows.csv", "a,b\n1\n", "line 2 has 1 fields, and the first one 2"),
        ("rows.csv", 'a\n"1\n', "is no valid CSV: unexpected end of data"),
        ("rows.csv", b"a\n\xff\n", r"is not UTF-8 \(byte 2\)"),
        ("rows.json", "{", r"is no valid JSON: .* \(line 1, column 2\)"),
        ("rows.json", '{"rows": 3}', "holds no list of rows"),
        ("rows.json", "[1]", "row 0 is no object"),
        ("rows.json", '{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "can't be read"),
        ("rows.jsonl", '{"a": 1}\n{"a"\n', "is no valid JSON"),
        ("rows.parquet", "PAR", "can't be read"),
    ],
)
def test_file_that_can_not_be_read_is_named(tmp_path: Path, name: str, text: str | bytes, said: str):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(DataError, match=f"{name}.*{said}"):
        sent(file)


def test_what_can_not_be_asked_for_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no file"):
        next(predict(NOBODY, {}, tmp_path / "rows.csv"))
    (tmp_path / "rows.xlsx").touch()
    with pytest.raises(UsageError, match=r"whose name ends with \.csv, \.parquet"):
        sent(tmp_path / "rows.xlsx")
    with pytest.raises(ServingError, match=r"doesn't answer \(ConnectError"):
        next(predict(NOBODY, {}, tmp_path / "rows.xlsx"))
    with pytest.raises(UsageError, match="is no address of a server"):
        next(predict("http://127.0.0.1:port", {}, tmp_path / "rows.xlsx"))
