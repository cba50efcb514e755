"""Files that people bring: what they are by their first bytes, and text proved to be UTF-8."""

from __future__ import annotations

import codecs
import re
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20
_HEAD = 512  # bytes
_ICONV = "Write it as UTF-8, such as by: iconv -f {} -t UTF-8 OLD > NEW."
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "Zstandard", b"\xfd7zXZ\x00": "xz", b"\x04\x22\x4d\x18": "LZ4"}
_FORMATS = {
    b"PAR1": "Parquet",
    b"ARROW1": "an Arrow (Feather) file",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"\x89HDF": "HDF5",
    b"SQLite format 3\x00": "an SQLite database",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls) or another document of its kind",
}
_WIDE = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_MARKUP = {r"<!doctype html|<html": "an HTML page", r"<\?xml": "XML", r'\{\s*["}]|\[\s*[\[{"\]\d-]': "JSON"}


class Unreadable(ValueError):
    """What is wrong with a file, and the way out: words that follow the file's name."""


def prove_text(path: Path) -> None:
    """Read a file to its end as UTF-8 text, with or without a byte-order mark.

    Raises
    ------
    Unreadable
        If it is something else: says what it looks like, or in which line the first byte is that isn't UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            begun = len(decoder.getstate()[0])  # bytes of a character that the chunk before ends within
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise Unreadable(_not_utf8(path, read - begun + error.start)) from None
            null = chunk.find(0)
            if null >= 0:
                raise Unreadable(_has_null(path, read + null))
            if not chunk:
                return
            read += len(chunk)


def looks_like(path: Path) -> str | None:
    """Say what a file is, where its first bytes tell: "gzip-compressed", "an HTML page"; None for plain text and all else."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for mark, name in _COMPRESSED.items():
        if head.startswith(mark):
            return f"{name}-compressed"
    if head.startswith(b"PK\x03\x04"):
        return "an Excel workbook (.xlsx)" if any(name.startswith("xl/") for name in _members(path)) else "a zip archive"
    if head[257:262] == b"ustar":
        return "a tar archive"
    for mark, name in (_FORMATS | _WIDE).items():
        if head.startswith(mark):
            return f"{name} text" if mark in _WIDE else name
    return looks_like_markup(path)


def looks_like_markup(path: Path) -> str | None:
    """Say that a text is "an HTML page", "XML" or "JSON", where it begins as one."""
    with path.open("rb") as file:
        text = file.read(_HEAD).decode("utf-8-sig", "replace").lstrip()
    return next((name for start, name in _MARKUP.items() if re.match(start, text, re.IGNORECASE)), None)


def not_parquet(path: Path) -> str:
    """Say why a file that pyarrow doesn't read is no Parquet file, in words that follow its name."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(-min(4, path.stat().st_size), 2)
        end = file.read(4)
    if start == b"PAR1":
        if end == b"PAR1":
            return "is damaged Parquet: a part of it can't be decoded."
        return "is Parquet that was cut short: its end is missing."
    looks = looks_like(path)
    return f"is no Parquet file, but {looks}." if looks else "is no Parquet file, for it doesn't begin as one."


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def _not_utf8(path: Path, offset: int) -> str:
    looks = looks_like(path)
    if looks and looks.endswith(" text"):
        return f"is {looks}, not UTF-8. {_ICONV.format(looks.removesuffix(' text'))}"
    if looks:
        return _not_text(looks)
    with path.open("rb") as file:
        file.seek(offset)
        byte = file.read(1)
    where = f"line {_line(path, offset)} is not UTF-8 text (byte 0x{byte[0]:02X}, number {offset + 1:,} of the file)"
    return f"{where}. If it is ISO-8859-1, that is {byte.decode('latin-1')!r}. {_ICONV.format('ISO-8859-1')}"


def _has_null(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    looks = looks_like(path)
    if looks:
        return _not_text(looks)
    if len(head) > 1 and not (any(head[1::2]) and any(head[::2])):
        return f"is UTF-16 text, not UTF-8. {_ICONV.format('UTF-16LE' if not any(head[1::2]) else 'UTF-16BE')}"
    return f"line {_line(path, offset)} has a NUL byte, number {offset + 1:,} of the file, which no text has. Get the file again."


def _not_text(looks: str) -> str:
    ways_out = {"compressed": " Decompress it.", "archive": " Unpack it.", "Excel": " Save it as CSV."}
    return f"is {looks}, not text.{next((way for word, way in ways_out.items() if word in looks), '')}"


def _line(path: Path, offset: int) -> int:
    """Line, from 1, that a byte is in; a line ends in LF, CRLF or CR."""
    ends, left, before = 0, offset, b""
    with path.open("rb") as file:
        while left and (chunk := file.read(min(left, _CHUNK))):
            ends += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n") - (before == b"\r" and chunk[:1] == b"\n")
            left, before = left - len(chunk), chunk[-1:]
    return ends + 1
