"""What can go wrong in a call to lakeFS: tried again when it can pass, said in our words when it can't."""

from __future__ import annotations

import contextlib
import errno
import functools
import http
import os
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

import tenacity
import urllib3.exceptions
from lakefs.exceptions import LakeFSException, NoAuthenticationFound, NotFoundException, ServerException

from lakeline.errors import LakeConflict, LakeError, LakelineError, LakeNotFound, LakeUnavailable
from lakeline.lake import words

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_P = ParamSpec("_P")
_T = TypeVar("_T")
_ATTEMPTS = 4
_PASSING = (
    http.HTTPStatus.TOO_MANY_REQUESTS,
    http.HTTPStatus.BAD_GATEWAY,
    http.HTTPStatus.SERVICE_UNAVAILABLE,
    http.HTTPStatus.GATEWAY_TIMEOUT,
)
_REFUSED = (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN)
_CONFLICT = (http.HTTPStatus.CONFLICT,)
_DIRTY = "dirty branch"


class Named(Protocol):
    """Something in lakeFS that errors can be said of, and that knows which attempt at a call this is."""

    name: str
    endpoint: str
    attempt: int


_N = TypeVar("_N", bound=Named)


def guarded(method: Callable[Concatenate[_N, _P], _T]) -> Callable[Concatenate[_N, _P], _T]:
    """Have a method try again while lakeFS is out of reach or busy, and raise nothing but our errors.

    The method is run again from its start. What it did before, though the answer was lost, it must find done;
    from its second attempt on, `attempt` is more than 1.
    """

    @functools.wraps(method)
    def tried(lake: _N, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(0.2, max=2),
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )

        def attempt() -> _T:
            lake.attempt = again.statistics["attempt_number"]
            return method(lake, *args, **kwargs)

        with translated(lake.name, lake.endpoint):
            return again(attempt)

    return tried


@contextlib.contextmanager
def translated(name: str, endpoint: str) -> Generator[None]:
    """Raise what lakeFS and its clients raise as our errors.

    Parameters
    ----------
    name
        Data set, for the message.
    endpoint
        Where lakeFS is, for the message.
    """
    try:
        yield
    except LakelineError:
        raise
    except NoAuthenticationFound as error:
        raise LakeUnavailable(
            f"{endpoint}: no keys. Set LAKECTL_CREDENTIALS_ACCESS_KEY_ID and LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY."
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise LakeUnavailable(
            f"{name}: lakeFS at {endpoint} can't be reached: {_reason(error)}. Is it running, and the address right?"
        ) from error
    except (OSError, LakeFSException) as error:
        cause = server_error(error)
        if cause is not None:
            raise _said(cause, name, endpoint) from error
        if isinstance(error, OSError):
            raise
        raise LakeError(f"{name}: lakeFS at {endpoint}: {error}") from error


def server_error(error: BaseException) -> ServerException | None:
    """Return the answer of lakeFS behind an error; lakefs-spec raises it as an OSError."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ServerException):
        cause = cause.__cause__
    return cause


def says(error: BaseException, text: str) -> bool:
    """Whether the answer of lakeFS holds a text."""
    cause = server_error(error)
    return cause is not None and text in str(cause.body.get("message", ""))


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, urllib3.exceptions.HTTPError):
        return True
    cause = server_error(error)
    return cause is not None and cause.status_code in _PASSING


def _said(error: ServerException, name: str, endpoint: str) -> LakelineError | OSError:
    message = str(error.body.get("message") or error.reason or error.status_code)
    where = f"{name}: lakeFS at {endpoint}"
    if "no space left" in message:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"of {where}")
    if _DIRTY in message:
        return LakeConflict(
            f"{where} has uncommitted changes on the branch. Nothing was merged. "
            f"See: lakectl diff lakefs://{name}/BRANCH; then commit them or reset them."
        )
    for statuses, kind, text in (
        (_REFUSED, LakeUnavailable, f"{where} refuses us: {message}. Check the keys and what they may do."),
        (_PASSING, LakeUnavailable, f"{where} is busy: {message}. Try again later."),
        (_CONFLICT, LakeConflict, f"{where}: {message}"),
    ):
        if error.status_code in statuses:
            return kind(text)
    if not isinstance(error, NotFoundException):
        return LakeError(f"{where}: {message} (status {error.status_code})")
    if "repository" in message:
        return words.gone(name, endpoint)
    return LakeNotFound(f"{where}: {message}")


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
    return str(cause).rpartition(": ")[2]
