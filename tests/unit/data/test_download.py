"""Downloads: whole or absent, whatever the server does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakeline.data.download import download
from lakeline.errors import SourceError

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[[str], Path]:
    """Download into the cache of this test."""
    return lambda url: download(url, tmp_path / "cache", lambda here, total: None)


def cut_after(size: int):
    """Announce the whole file, send a part of it and hang up."""

    def cut(handler: Any) -> bool:
        content, etag = handler.site.files[handler.path]
        handler.answer(200, content[:size], announced=len(content), ETag=etag)
        return True

    return cut


def unavailable(handler: Any) -> bool:
    handler.answer(503, Retry_After="0")
    return True


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".part" in path.name]


def test_file_is_whole_and_keeps_its_name(site: Any, fetch: Callable[[str], Path]):
    path = fetch(site.put("trips.parquet", CONTENT))

    assert path.read_bytes() == CONTENT
    assert path.name == "trips.parquet"
    assert leftovers(path.parent) == []


def test_server_that_says_503_twice_is_asked_a_third_time(site: Any, fetch: Callable[[str], Path]):
    site.mischief.extend([unavailable, unavailable])

    assert fetch(site.put("a", CONTENT)).read_bytes() == CONTENT
    assert len(site.requests) == 3


def test_broken_connection_goes_on_where_it_broke(site: Any, fetch: Callable[[str], Path]):
    site.mischief.append(cut_after(300_000))

    assert fetch(site.put("a", CONTENT)).read_bytes() == CONTENT
    assert site.requests[1]["Range"] == "bytes=300000-"
    assert site.requests[1]["If-Range"] == '"1"'


def test_interrupted_download_leaves_no_file_and_goes_on_next_time(site: Any, fetch: Callable[[str], Path], tmp_path: Path):
    url = site.put("a", CONTENT)

    def interrupt(here: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(url, tmp_path / "cache", interrupt)
    assert not list((tmp_path / "cache").rglob("a"))

    assert fetch(url).read_bytes() == CONTENT
    assert site.requests[1]["Range"].startswith("bytes=")


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_file_that_changed_between_two_attempts_is_fetched_from_the_beginning(
    site: Any, fetch: Callable[[str], Path], honours_if_range: bool
):
    url = site.put("a", CONTENT)
    site.honours_if_range = honours_if_range

    def cut_and_change(handler: Any) -> bool:
        cut_after(300_000)(handler)
        site.put("a", CONTENT[::-1], '"2"')
        return True

    site.mischief.append(cut_and_change)

    assert fetch(url).read_bytes() == CONTENT[::-1]


def test_server_without_ranges_sends_it_all_again(site: Any, fetch: Callable[[str], Path]):
    site.ranges = False
    site.mischief.append(cut_after(300_000))

    assert fetch(site.put("a", CONTENT)).read_bytes() == CONTENT


def test_leftover_that_is_longer_than_the_file_is_thrown_away(site: Any, fetch: Callable[[str], Path]):
    site.honours_if_range = False
    site.mischief.append(cut_after(300_000))

    def shrink(handler: Any) -> bool:
        site.put("a", CONTENT[:1000], '"2"')
        return False

    site.mischief.append(shrink)

    assert fetch(site.put("a", CONTENT)).read_bytes() == CONTENT[:1000]


def test_missing_file_is_asked_for_once_and_said_to_be_missing(site: Any, fetch: Callable[[str], Path], tmp_path: Path):
    with pytest.raises(SourceError, match=r"/gone\.csv does not exist \(HTTP 404\)\. It may not be published yet"):
        fetch(f"{site.url}/gone.csv")

    assert len(site.requests) == 1
    assert not list((tmp_path / "cache").rglob("gone.csv"))


def test_refused_file_is_asked_for_once(site: Any, fetch: Callable[[str], Path]):
    site.mischief.append(lambda handler: handler.answer(403) or True)

    with pytest.raises(SourceError, match="refused"):
        fetch(site.put("a", CONTENT))
    assert len(site.requests) == 1


def test_server_that_stays_down_is_given_up_after_six_attempts(site: Any, fetch: Callable[[str], Path]):
    site.mischief.extend([unavailable] * 10)

    with pytest.raises(SourceError, match=r"HTTP 503 Service Unavailable \(6 attempts\)\. Try again later"):
        fetch(site.put("a", CONTENT))
    assert len(site.requests) == 6


def test_what_was_downloaded_is_asked_for_only_whether_it_changed(site: Any, fetch: Callable[[str], Path]):
    url = site.put("a", CONTENT)
    fetch(url)

    assert fetch(url).read_bytes() == CONTENT
    assert site.requests[1]["If-None-Match"] == '"1"'

    site.put("a", CONTENT[::-1], '"2"')
    assert fetch(url).read_bytes() == CONTENT[::-1]


def test_what_was_downloaded_is_used_while_the_server_is_down(site: Any, fetch: Callable[[str], Path]):
    url = site.put("a", CONTENT)
    fetch(url)
    site.mischief.extend([unavailable] * 10)

    assert fetch(url).read_bytes() == CONTENT


def test_progress_says_what_is_here_and_what_there_is(site: Any, tmp_path: Path):
    seen: list[tuple[int, int | None]] = []

    download(site.put("a", CONTENT), tmp_path, lambda here, total: seen.append((here, total)))

    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_url_that_is_none_is_said_to_be_wrong(fetch: Callable[[str], Path]):
    with pytest.raises(SourceError, match="can't be downloaded"):
        fetch("http://[oops")
