"""Bring the source file of an arrival here: a local copy, a file of an installed package, or a download."""

from __future__ import annotations

import gzip
import hashlib
import logging
import shutil
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lakeline.data.arrivals import arrival_parameters
from lakeline.errors import SourceError, UsageError
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from lakeline.data.spec import DatasetSpec, PackageSource, UrlSource

_CHUNK = 1 << 20
_LOG_EVERY = 2.0  # seconds
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """A source file that is here, whole: where from, SHA-256 and size in bytes of what the source gave."""

    path: Path
    url: str
    sha256: str
    size: int


def fetch(spec: DatasetSpec, arrival: str, folder: Path, progress: Callable[[int, int | None], None] | None = None) -> Fetched:
    """Bring the source file of an arrival into a folder.

    A local copy in the folder LAKELINE_DATA is taken first. A download is kept, and is asked for again only
    to learn whether it has changed.

    Parameters
    ----------
    spec
        Spec of the data set.
    arrival
        Id of the arrival.
    folder
        Where to put the file. A file that is in it already, from an arrival that shares the source, is used again.
    progress
        Called with the bytes that are here and the bytes that there are (None if the server doesn't say).
        Without it, a line is logged every two seconds.

    Returns
    -------
    Fetched
        The file to read: the member named in the spec, if the source is a zip archive; decompressed, if it is gzip.

    Raises
    ------
    UsageError
        If the arrival can't be, or LAKELINE_DATA is no folder.
    SourceError
        If the file isn't there, can't be had, or isn't what the spec says it is.
    """
    values = arrival_parameters(spec, arrival)
    source = spec.source
    local = _local_copy(source.local.format(**values)) if source.local else None
    if local is not None:
        path, url = local
    elif source.kind == "package":
        path, url = _in_package(source, source.path.format(**values))
    else:
        path, url = _downloaded(spec, source, arrival, source.url.format(**values), progress)
    try:
        fetched = _bring(path, url, folder)
        expected = source.sha256.get(arrival)
        if expected and fetched.sha256 != expected.lower():
            if url.startswith("http"):
                path.unlink()  # so that the next attempt downloads it anew
            raise SourceError(
                f"{spec.name} {arrival}: {url} has SHA-256 {fetched.sha256}, the spec says {expected.lower()}. "
                "Replace the file, or the digest in the spec if the publisher changed the file."
            )
        member = source.member.format(**values) if source.member else None
        return _decompressed(_unpacked(fetched, member, folder) if member else fetched)
    except FileNotFoundError:
        raise SourceError(f"{spec.name} {arrival}: {path} went away while it was read. Run the same command again.") from None
    except PermissionError as error:
        raise SourceError(f"{spec.name} {arrival}: {error.filename} can't be read: permission denied.") from None


def _local_copy(name: str) -> tuple[Path, str] | None:
    data = get_settings().data
    if data is None:
        return None
    if not data.is_dir():
        raise UsageError(f"LAKELINE_DATA is {data}, which is no folder. Point it at the folder of local copies, or unset it.")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise SourceError(f"the local copy {name!r} lies outside of LAKELINE_DATA. Correct source.local in the spec.")
    path = data / name
    return (path, f"local:{name}") if path.is_file() else None


def package_file(source: PackageSource, name: str) -> Path | None:
    """Find a file of a package; None if it hasn't got it.

    The package isn't imported: that runs its code, which may need what isn't installed.

    Raises
    ------
    SourceError
        If the package isn't installed.
    """
    import importlib.util

    try:
        found = importlib.util.find_spec(source.package) if "." not in source.package else None
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        raise SourceError(f"the Python package {source.package!r} is not installed. Install it: pip install {source.package}")
    return next((path for place in found.submodule_search_locations if (path := Path(place, name)).is_file()), None)


def _in_package(source: PackageSource, name: str) -> tuple[Path, str]:
    import importlib.metadata

    path = package_file(source, name)
    if path is None:
        raise SourceError(
            f"the Python package {source.package!r} has no file {name!r}. Install it again, or correct source.path in the spec."
        )
    try:
        version = f"=={importlib.metadata.version(source.package)}"
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return path, f"package:{source.package}{version}/{name}"


def _downloaded(
    spec: DatasetSpec, source: UrlSource, arrival: str, url: str, progress: Callable[[int, int | None], None] | None
) -> tuple[Path, str]:
    from lakeline.data.download import download

    try:
        return download(url, get_settings().home / "cache", progress or _Logged(url)), url
    except SourceError as error:
        copy = f" Or put a copy at LAKELINE_DATA/{source.local.format(**arrival_parameters(spec, arrival))}." if source.local else ""
        raise SourceError(f"{spec.name} {arrival}: {error}{copy}") from error.__cause__


class _Logged:
    """Log a download's progress, if it takes its time."""

    def __init__(self, url: str) -> None:
        self._url, self._last = url, time.monotonic()

    def __call__(self, here: int, total: int | None) -> None:
        if time.monotonic() - self._last >= _LOG_EVERY:
            self._last = time.monotonic()
            of = f" of {total / 1e6:,.1f}" if total else ""
            _log.info("downloading %s: %.1f%s MB", self._url, here / 1e6, of)


def _bring(path: Path, url: str, folder: Path) -> Fetched:
    """Copy a file and take its digest in one go, so that what is read later is what the digest says."""
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
    target = place / path.name
    note = place / ".sha256"
    if note.is_file():
        return Fetched(target, url, note.read_text(encoding="utf-8"), target.stat().st_size)
    place.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as source, target.open("wb") as sink:
        digest = _copy(source, sink)
    note.write_text(digest, encoding="utf-8")
    return Fetched(target, url, digest, target.stat().st_size)


def _copy(source: IO[bytes], sink: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        sink.write(chunk)
    return digest.hexdigest()


def _unpacked(archive: Fetched, member: str, folder: Path) -> Fetched:
    """Take one file out of a zip archive. A file that is no archive is the member itself, as local copies are."""
    with archive.path.open("rb") as file:
        if file.read(2) != b"PK":
            return archive
    name = hashlib.sha256(f"{archive.url}!{member}".encode()).hexdigest()[:16]
    target = folder / name / PurePosixPath(member).name

    def unpack(part: Path) -> None:
        with zipfile.ZipFile(archive.path) as zipped:
            if member not in zipped.namelist():
                raise SourceError(f"{archive.url} has no member {member!r}. It has: {', '.join(sorted(zipped.namelist())[:20])}")
            with zipped.open(member) as source, part.open("wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK)

    return _written(archive, target, unpack)


def _decompressed(file: Fetched) -> Fetched:
    """Decompress a file that is gzip by its first bytes, whatever its name."""
    with file.path.open("rb") as opened:
        if opened.read(2) != b"\x1f\x8b":
            return file

    def decompress(part: Path) -> None:
        with gzip.open(file.path, "rb") as source, part.open("wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK)

    return _written(file, file.path.parent / "decompressed" / file.path.name.removesuffix(".gz"), decompress)


def _written(packed: Fetched, target: Path, write: Callable[[Path], None]) -> Fetched:
    """Write what a packed file holds, once: whole or not at all."""
    if not target.is_file():
        part = target.with_name(target.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
        except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            raise SourceError(f"{packed.url} can't be unpacked: it is damaged or cut short. Get it again.") from error
        except (NotImplementedError, RuntimeError) as error:
            raise SourceError(f"{packed.url} can't be unpacked: it is encrypted, or packed in a way that is not known here.") from error
        part.replace(target)
    return Fetched(target, packed.url, packed.sha256, packed.size)
