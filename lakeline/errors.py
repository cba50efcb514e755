"""Errors that a person can act on: each says what was wrong, where, and what to do."""

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType


class LakelineError(Exception):
    """Base of every error that Lakeline raises on purpose.

    The message is shown as it is, without a traceback.
    """

    passes = True
    """Whether a second try may end otherwise: not where what was asked for, or the rows, are wrong."""


class UsageError(LakelineError):
    """What was asked for can't be asked for: unknown data set, impossible month, unknown option."""

    passes = False


class SpecError(LakelineError):
    """A dataset spec is wrong."""

    passes = False


class SourceError(LakelineError):
    """The source of an arrival can't be had or can't be read."""


class DataError(LakelineError):
    """Rows are not what a step needs."""

    passes = False


class ValidationFailed(DataError):
    """Rows fail the checks of the dataset spec."""


class LakeError(LakelineError):
    """The lake can't do what was asked of it."""


class LakeNotFound(LakeError):
    """No such repository, branch, tag, commit or file in the lake."""

    passes = False


class LakeConflict(LakeError):
    """A merge or a commit would overwrite what somebody else wrote."""


class LakeUnavailable(LakeError):
    """The lake is locked, gone or out of reach."""


class RegistryError(LakelineError):
    """MLflow's tracking store or model registry can't do what was asked of it."""


class RegistryUnavailable(RegistryError):
    """MLflow, or the store of its files, is out of reach for now, which says nothing of what was asked for."""


class FilesMissing(RegistryError):
    """The files of a version are not in MLflow's artifact store."""


class PlaceTrouble(LakelineError):
    """Something could not be tried for want of memory, disk, network or a server, which says nothing of what was to be tried."""


class PipelinesError(LakelineError):
    """Kubeflow Pipelines can't do what was asked of it, or is out of reach."""


class EventsError(LakelineError):
    """The event source is out of reach, or takes no event from us."""


class ServingError(LakelineError):
    """What serves a model can't do what was asked of it, or is out of reach."""


class RolloutFailed(ServingError):
    """A release could not be brought to serve. Whose fault that is, the class says: this one blames the place, which may be better soon."""


class VersionFailed(RolloutFailed):
    """A version doesn't serve as it should, by its own fault: it stays what it is however often it is tried, and loses the alias."""

    passes = False


class DeploymentUnderWay(ServingError):
    """Somebody else is changing what serves this model."""

    passes = False


_LEFT = "Nothing was left half-done; run the same command again to go on."


MORE_MEMORY = "Give it more (a limit of this shell or container, other programs), or learn from fewer rows."
"""What to do where memory runs out."""


class Interrupted(BaseException):
    """Ctrl-C or a request to end; not a KeyboardInterrupt, which typer would answer with its own words.

    Attributes
    ----------
    number
        Of the signal.
    left
        What was left, and how to go on.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.left = _LEFT


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk is full, or a quota used up."""
    numbers = (errno.ENOSPC, errno.EDQUOT)  # libgit2 and Arrow raise an OSError with the number in words only
    return isinstance(error, OSError) and (error.errno in numbers or any(os.strerror(number) in str(error) for number in numbers))


def describe(error: BaseException) -> str:
    """Say an error in the words a person sees.

    Parameters
    ----------
    error
        Any exception. A LakelineError is its own message; a full disk and an interrupt get a
        sentence of their own; all else is named by its type, for it is a bug of ours.

    Returns
    -------
    str
        One or a few lines, without a traceback.
    """
    if isinstance(error, LakelineError):
        return str(error)
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        return f"interrupted. {getattr(error, 'left', _LEFT)}"
    if is_full(error):
        where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        return f"the disk is full{where}. Nothing was left half-done: free some space and run the same command again."
    if isinstance(error, MemoryError):
        return f"memory ran out{f' ({error})' if str(error) else ''}. {MORE_MEMORY}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
_NOT_USABLE = {errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS, errno.EAGAIN, errno.EBUSY, errno.ESTALE}
_OUT_OF_REACH = {errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRINUSE, errno.EADDRNOTAVAIL}
_NETWORK_LIBRARIES = ("requests", "urllib3", "httpx", "httpcore", "botocore", "s3transfer", "socket", "ssl")
_DATABASE_ERRORS = ("OutOfMemoryException", "IOException")
"""What DuckDB calls trouble with memory and files."""


def of_the_place(error: BaseException) -> bool:
    """Whether an error is trouble of the place, and so no verdict on the model or the rows that were tried.

    Parameters
    ----------
    error
        Any exception; what it was raised from counts as well.

    Returns
    -------
    bool
        True of want of memory or disk, and of whatever is out of reach; not of a file that isn't there.
    """
    for seen in causes(error):
        if isinstance(seen, (MemoryError, ConnectionError, TimeoutError, LakeUnavailable, RegistryUnavailable, PlaceTrouble)):
            return True
        if isinstance(seen, OSError) and seen.errno in _NO_ROOM | _NOT_USABLE | _OUT_OF_REACH:
            return True
        library = type(seen).__module__.partition(".")[0]
        if library in _NETWORK_LIBRARIES or (library in ("duckdb", "_duckdb") and type(seen).__name__ in _DATABASE_ERRORS):
            return True
    return False


def causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error, what it was raised from, what that was raised from, and so on."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def blame_place(error: BaseException, what: str) -> None:
    """Raise PlaceTrouble, which names what could not be tried, if an error is of the place; else do nothing.

    Parameters
    ----------
    error
        What was caught.
    what
        What could not be done, as the beginning of a sentence, such as "version 3 could not be loaded".
    """
    if of_the_place(error):
        told = describe(error).rstrip(".")
        raise PlaceTrouble(f"{what}: {told}. That says nothing of the model: when this is mended, run the same again.") from error


def _explain_on_exit(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Replace the traceback of an uncaught LakelineError with its sentence, and leave it for the runner.

    In a pod the sentence goes to the container's termination message, which Argo shows, and whose `"retry": false` tells it not to
    try again; on a laptop to the file named by LAKELINE_TERMINATION_LOG, from which the command line reads why a step failed.
    """
    known = isinstance(error, (LakelineError, KeyboardInterrupt, MemoryError)) or is_full(error)
    if known:
        print(f"lakeline: {describe(error)}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
    path = Path(os.environ.get("LAKELINE_TERMINATION_LOG", "/dev/termination-log"))
    with contextlib.suppress(OSError):
        if path.parent.is_dir() and (path.exists() or "LAKELINE_TERMINATION_LOG" in os.environ):
            told = {"type": kind.__name__, "message": describe(error), "known": known, "retry": getattr(error, "passes", True)}
            path.write_text(json.dumps(told), encoding="utf-8")


def explain_uncaught() -> None:
    """Have this process end with a sentence, not a traceback, when a LakelineError is not caught."""
    sys.excepthook = _explain_on_exit


if os.environ.get("_KFP_RUNTIME") == "true":
    # This process is a step of a pipeline: what ends it is read by a person.
    explain_uncaught()
