"""Download a file once: resumed where it broke off, restarted when it changed, whole or absent."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import json
import logging
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lakeline.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from tenacity import RetryCallState

_ATTEMPTS, _ATTEMPTS_WITH_COPY = 6, 2
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds
_NOT_FOUND, _DENIED = {404, 410}, {401, 403}
_NOT_MODIFIED, _PARTIAL, _RANGE_NOT_SATISFIABLE, _TOO_MANY = 304, 206, 416, 429
_SERVER_ERROR, _CLIENT_ERROR = 500, 400
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Version:
    """Which version of a file the server gives: what it calls it, and its size in bytes."""

    etag: str | None = None
    modified: str | None = None
    size: int | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may name: a strong ETag, else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class _TransientError(Exception):
    """A failure that another attempt may not meet; `wait` is how many seconds the server asks for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def download(url: str, cache: Path, progress: Callable[[int, int | None], None]) -> Path:
    """Download a file into a cache.

    Parameters
    ----------
    url
        Where it is.
    cache
        Folder that downloads are kept in. A file that is there is used again unless the server says that it changed;
        if the server can't be reached, it is used as it is.
    progress
        Called with the bytes that are here and the bytes that there are (None if the server doesn't say).

    Returns
    -------
    Path
        The file, whole: never a part of it.

    Raises
    ------
    SourceError
        If the server has no such file or refuses it, or after six attempts in vain.
    """
    import tenacity
    from filelock import FileLock

    try:
        name = PurePosixPath(urlsplit(url).path).name
    except ValueError as error:
        raise SourceError(f"{url} can't be downloaded: {error}. Check the URL in the spec.") from error
    folder = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name or "download")
    attempts = _ATTEMPTS_WITH_COPY if target.is_file() else _ATTEMPTS
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_TransientError),
        stop=tenacity.stop_after_attempt(attempts),
        wait=_wait,
        before_sleep=_say,
        reraise=True,
    )
    with FileLock(folder / ".lock"):
        try:
            retrying(_attempt, url, target, progress)
        except _TransientError as error:
            if not target.is_file():
                raise SourceError(f"{url} can't be downloaded: {error} ({attempts} attempts). Try again later.") from error
            _log.warning("%s can't be reached (%s): using the copy of an earlier download", url, error)
    return target


def _wait(state: RetryCallState) -> float:
    """Wait twice as long each time, or as long as the server asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, _TransientError) else None
    return min(_LONGEST_WAIT, asked if asked is not None else _FIRST_WAIT * 2 ** (state.attempt_number - 1))


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("download: %s; attempt %d follows", error, state.attempt_number + 1)


def _attempt(url: str, target: Path, progress: Callable[[int, int | None], None]) -> None:
    """Ask once; what came of the file is kept beside it, for the next attempt to go on from."""
    import httpx

    part, note = target.with_name(target.name + ".part"), target.with_name(target.name + ".json")
    part_note = target.with_name(target.name + ".part.json")
    have, known = _left(part, part_note)
    headers = {"Accept-Encoding": "identity"}
    if have and known.validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": known.validator}
    elif target.is_file():
        headers |= _conditions(_noted(note), target)
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=httpx.Timeout(60, connect=10)) as answer:
            if answer.status_code == _NOT_MODIFIED and target.is_file():
                return
            _refuse(url, answer, part, part_note)
            version = _version(answer)
            if answer.status_code == _PARTIAL and not _continues(answer, have, known, version):
                _forget(part, part_note)
                raise _TransientError("the file changed at the server meanwhile", wait=0)
            start = have if answer.status_code == _PARTIAL else 0
            _write(answer, part, part_note, version, start, progress)
    except (httpx.TransportError, httpx.StreamError) as error:
        raise _TransientError(f"{error or type(error).__name__}") from error
    except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.DecodingError) as error:
        raise SourceError(f"{url} can't be downloaded: {error}.") from error
    _keep(part, part_note, target, note, version)


def _left(part: Path, note: Path) -> tuple[int, _Version]:
    """What an attempt that broke off left: how many bytes, and of which version of the file."""
    known = _noted(note)
    if not part.is_file() or not known.validator:
        return 0, known
    return part.stat().st_size, known


def _noted(note: Path) -> _Version:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return _Version(**json.loads(note.read_text(encoding="utf-8")))
    return _Version()


def _conditions(known: _Version, target: Path) -> dict[str, str]:
    if known.size is not None and known.size != target.stat().st_size:
        return {}
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.modified}
    return {name: value for name, value in conditions.items() if value}


def _refuse(url: str, answer: httpx.Response, part: Path, part_note: Path) -> None:
    status = answer.status_code
    if status in _NOT_FOUND:
        raise SourceError(f"{url} does not exist (HTTP {status}). It may not be published yet: check the arrival, or try again later.")
    if status in _DENIED:
        raise SourceError(f"{url} was refused (HTTP {status}). It may not be published yet, or not for everyone: check the arrival.")
    if status == _RANGE_NOT_SATISFIABLE:
        _forget(part, part_note)
        raise _TransientError("what is here is more than the server has", wait=0)
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        raise _TransientError(f"the server said HTTP {status} {answer.reason_phrase}".rstrip(), wait=_retry_after(answer))
    if status >= _CLIENT_ERROR or not answer.is_success:
        raise SourceError(f"{url} was refused (HTTP {status} {answer.reason_phrase}). Check the URL in the spec.")


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    with contextlib.suppress(ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _version(answer: httpx.Response) -> _Version:
    """Version and whole size of the file that an answer has all or a part of."""
    whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    size = whole[1] if whole else answer.headers.get("Content-Length") if answer.status_code != _PARTIAL else None
    return _Version(answer.headers.get("ETag"), answer.headers.get("Last-Modified"), int(size) if size and size.isdigit() else None)


def _continues(answer: httpx.Response, have: int, known: _Version, version: _Version) -> bool:
    """Whether a partial answer goes on where we are, in the file that we have the beginning of."""
    start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if start is None or int(start[1]) != have:
        return False
    pairs = ((known.etag, version.etag), (known.modified, version.modified), (known.size, version.size))
    return all(old is None or new is None or old == new for old, new in pairs)


def _write(
    answer: httpx.Response, part: Path, part_note: Path, version: _Version, start: int, progress: Callable[[int, int | None], None]
) -> None:
    part_note.write_text(json.dumps(asdict(version)), encoding="utf-8")
    here = start
    with part.open("ab" if start else "wb") as file:
        for chunk in answer.iter_raw():
            file.write(chunk)
            here += len(chunk)
            progress(here, version.size)
        file.flush()
        os.fsync(file.fileno())
    if version.size is not None and here < version.size:
        raise _TransientError(f"the connection ended after {here:,} of {version.size:,} bytes")
    if version.size is not None and here > version.size:
        _forget(part, part_note)
        raise _TransientError(f"the server sent {here:,} bytes and announced {version.size:,}")


def _keep(part: Path, part_note: Path, target: Path, note: Path, version: _Version) -> None:
    """Move a whole file to its place; a crash in between only costs the next run a question to the server."""
    note.unlink(missing_ok=True)
    part.replace(target)
    note.write_text(json.dumps(asdict(version)), encoding="utf-8")
    part_note.unlink(missing_ok=True)


def _forget(part: Path, part_note: Path) -> None:
    part_note.unlink(missing_ok=True)
    part.unlink(missing_ok=True)
