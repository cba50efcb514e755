"""Log lines of a server: one JSON object each, on standard error, without what callers send."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import traceback
import warnings
from typing import Any

_PER_SECOND = 20
"""Lines about single requests at most: whoever floods the server doesn't flood its log."""

_TRUSTED = frozenset({"lakeline", "uvicorn"})
"""Loggers whose messages quote no rows. asyncio shows errors, whose messages may."""


class Journal:
    """Writes lines that all say what is served.

    Parameters
    ----------
    **always
        Fields of each line.
    """

    def __init__(self, **always: object) -> None:
        self._always = always
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def say(self, event: str, *, level: str = "info", **fields: object) -> None:
        """Write a line.

        Parameters
        ----------
        event
            What happened, in a few words that are always the same.
        level
            `info`, `warning` or `error`.
        **fields
            Particulars; no features, predictions or keys.
        """
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        line = json.dumps({"time": stamp, "level": level, "event": event, **self._always, **fields}, default=str)
        with contextlib.suppress(OSError):  # a disk that is full: callers are answered all the same
            sys.stderr.write(line + "\n")

    def request(self, **fields: object) -> None:
        """Write a line about a request that failed, if there haven't been too many in this second."""
        second = int(time.monotonic())
        if second != self._second:
            left_out, self._left_out = self._left_out, 0
            self._second, self._lines = second, 0
            if left_out:
                self.say("requests not told of", level="warning", requests=left_out)
        if self._lines >= _PER_SECOND:
            self._left_out += 1
            return
        self._lines += 1
        self.say("request failed", level="error" if fields.get("status", 0) in (500, 503, 504) else "warning", **fields)

    def adopt(self, *names: str) -> None:
        """Have what libraries log, from warnings on, be lines of this journal."""
        for name in names:
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [_Handler(self)], False
            logger.setLevel(logging.WARNING)

    def adopt_all(self) -> None:
        """Have what anybody logs or warns of be lines of this journal, a model's own code too."""
        logging.getLogger().handlers = [_Handler(self)]

        def warned(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
            self.say("warning", level="warning", category=category.__name__, at=f"{filename}:{lineno}")

        warnings.showwarning = warned


class _Handler(logging.Handler):
    """Says what is known to be without rows; of all else who said it, and where, so that it can be looked up."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        trusted = record.name.partition(".")[0] in _TRUSTED
        fields: dict[str, Any] = {"logger": record.name, "at": f"{record.pathname}:{record.lineno}"}
        if record.exc_info and record.exc_info[1]:
            fields |= trace(record.exc_info[1])
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._journal.say(record.getMessage().strip() if trusted else "logged by a library", level=level, **fields)


def trace(error: BaseException) -> dict[str, Any]:
    """Type of an error and where it came from; not its message, which may quote a row."""
    return {
        "error": type(error).__name__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)],
    }
