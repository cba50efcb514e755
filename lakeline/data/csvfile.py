"""CSV files: proved by Python's csv module in its strict mode, then read by Arrow.

Arrow is fast and takes more than is right, such as text after a closing quote; of what was proved, both read the same.
"""

from __future__ import annotations

import csv
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeline.files import Unreadable, looks_like_markup, prove_text

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import pyarrow as pa

_LONGEST_FIELD = 1 << 20  # characters
_BLOCK = 1 << 22  # bytes; no line is longer
_SHOWN = 40  # characters
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}


@dataclass(frozen=True)
class CsvFile:
    """A file that is CSV from its first line, which names the columns, to its last; `rows` counts those below the names."""

    path: Path
    delimiter: str
    names: list[str]
    rows: int


def prove_csv(path: Path, delimiter: str = ",", known: Sequence[str] | None = None) -> CsvFile:
    """Read a file to its end as CSV: UTF-8, a line of names, as many fields in each line, quotes as RFC 4180 has them.

    Lines may end in LF, CRLF or CR, each in its own way. Lines without anything are none.

    Parameters
    ----------
    path
        The file.
    delimiter
        Character between the fields.
    known
        Columns that a data set asks for: if the file has none of them, they help to say why. None if any names will do,
        also none and the same twice.

    Raises
    ------
    Unreadable
        If it isn't so: says in which line, and what to do.
    """
    prove_text(path)
    with _longer_fields(), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        end, rows = 0, 0
        try:
            names = next(filter(None, reader), [])
            if not names:
                raise Unreadable("has no line of column names. Get the file again.")
            if known is not None:
                _check_names(path, names, delimiter, known, reader.line_num)
            end, width = reader.line_num, len(names)
            for fields in reader:
                if len(fields) != width and fields:
                    raise Unreadable(_other_width(fields, end + 1, width))
                rows += bool(fields)
                end = reader.line_num
        except csv.Error as error:
            raise Unreadable(broken_quote(str(error), end + 1)) from None
    return CsvFile(path, delimiter, names, rows)


def open_batches(file: CsvFile, nulls: Sequence[str] = ()) -> pa.RecordBatchReader:
    """Read the rows as text, a few MB at a time; a field, quoted or not, that is one of `nulls` is null.

    Raises
    ------
    Unreadable
        If the first line is longer than 4 MiB. Of a later one that is, `TOO_LONG` is what an ArrowInvalid means to whoever reads on.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    if not file.rows:  # of which Arrow can tell neither types nor, without an end of line, names
        return pa.RecordBatchReader.from_batches(pa.schema([(name, pa.string()) for name in file.names]), [])
    try:
        return pa_csv.open_csv(
            file.path,
            read_options=pa_csv.ReadOptions(block_size=_BLOCK),
            parse_options=pa_csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(file.names, pa.string()), strings_can_be_null=bool(nulls), null_values=list(nulls)
            ),
        )
    except pa.ArrowInvalid:
        raise Unreadable(TOO_LONG) from None


TOO_LONG = f"has a line of more than {_BLOCK >> 20} MiB, more than can be read. Does a quote begin somewhere that does not end?"


@contextmanager
def _longer_fields() -> Generator[None]:
    """Let a field be longer than the csv module's 128 KiB."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _check_names(path: Path, names: Sequence[str], delimiter: str, known: Sequence[str], line: int) -> None:
    if known and not set(names) & set(known):
        _explain_strange_names(path, names, delimiter, known)
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise Unreadable(f"has no name for column {number} in line {line}. Name it, or write the file without it.")
        if name.lower() in seen:
            raise Unreadable(f"has two columns named {name!r} in line {line}. Rename or remove one.")
        seen.add(name.lower())


def _explain_strange_names(path: Path, names: Sequence[str], delimiter: str, known: Sequence[str]) -> None:
    """Refuse a file none of whose names is known, where its first line shows why."""
    looks = looks_like_markup(path)
    if looks:
        raise Unreadable(f"is {looks}, not CSV.")
    whole = delimiter.join(names)
    for other, called in _DELIMITERS.items():
        if other != delimiter and {name.strip(' "') for name in whole.split(other)} & set(known):
            expected = _DELIMITERS.get(delimiter, repr(delimiter))
            raise Unreadable(f"has the {called} between its names, not the {expected} (source.delimiter).")
    numbers = [name for name in names if _is_number(name)]
    if numbers:
        example = delimiter.join(known)
        raise Unreadable(
            f"seems to have no line of column names: its first line has the number {numbers[0].strip()} where a name belongs, "
            f"and none of {', '.join(known)}. Put a line of names above it, such as: {example}"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return any(letter.isdigit() for letter in text)  # Nan and Infinity may be names


def _other_width(fields: Sequence[str], line: int, width: int) -> str:
    """Say that a line has another number of fields than the line of names; where it has more, what is in them."""
    more = [field for field in fields[width:] if field]
    extra = ""
    if len(fields) > width:
        extra = f" The first one too many is {more[0][:_SHOWN]!r}." if more else " Those too many are empty."
    return f"line {line} has {len(fields)} fields; the line of names has {width}.{extra} Correct the file."


def broken_quote(message: str, line: int) -> str:
    """Say what the csv module stumbled over in the fields that begin in a line."""
    if "field larger" in message:
        return f"line {line} has a field of more than {csv.field_size_limit():,} characters. Does a quote begin there that does not end?"
    if "end of data" in message:
        return f"line {line} has a quote that does not end. Close it; one that is part of the text is doubled."
    return f"line {line} has a quote that ends in the middle of a field. One that is part of the text is doubled."
