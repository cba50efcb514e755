"""The prediction log: what was asked and answered, as Parquet files, written beside the answering and never in its way."""

from __future__ import annotations

import io
import os
import re
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.serving.logs import trace
from lakeline.serving.store import filesystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from lakeline.serving.environment import ServerSettings
    from lakeline.serving.logs import Journal
    from lakeline.serving.metrics import Metrics
    from lakeline.serving.rows import Column, Rows

FEATURE = "feature_"
"""Before the name of each column that holds a feature."""

_MOST_BYTES = 2**27
"""Of the bodies of requests that are not written yet: rows are counted, but texts have any length."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds after a failed try."""


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    key: str | None
    time: float
    rows: Rows
    predictions: list[float]
    size: int


class PredictionLog:
    """Takes rows at once, and writes them in files of many, in a thread of its own.

    Parameters
    ----------
    settings
        Release, place and limits.
    columns
        What the model takes.
    metrics, journal
        What is told.
    """

    def __init__(self, settings: ServerSettings, columns: Sequence[Column], metrics: Metrics, journal: Journal) -> None:
        self._settings = settings
        self._columns = columns
        self._metrics = metrics
        self._journal = journal
        self._entries: deque[_Entry] = deque()
        self._waiting = 0
        """Rows that are not being written yet."""
        self._pending = 0
        self._bytes = 0
        self._files = 0
        self._end: float | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._store, self._root = filesystem(settings.predictions)
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def add(self, request_id: str, key: str | None, rows: Rows, predictions: list[float], size: int) -> None:
        """Take the rows of an answered request; if too many are waiting, they are dropped and counted.

        Parameters
        ----------
        request_id, key
            What they are found by.
        rows, predictions
            n of each.
        size
            Bytes of the request's body.
        """
        with self._changed:
            if self._pending + rows.n > self._settings.log_pending or self._bytes + size > _MOST_BYTES:
                self._metrics.dropped.inc(rows.n)
                return
            self._entries.append(_Entry(request_id, key, time.time(), rows, predictions, size))
            self._waiting += rows.n
            self._pending += rows.n
            self._bytes += size
            self._metrics.log_pending.set(self._pending)
            if self._waiting >= self._settings.log_rows:
                self._changed.notify()

    def close(self, seconds: float) -> None:
        """Write what is left.

        Parameters
        ----------
        seconds
            That it may take: what the store hasn't taken by then is dropped and counted.
        """
        with self._changed:
            self._end = time.monotonic() + seconds
            self._closing.set()
            self._changed.notify()
        self._thread.join(seconds + 1)
        if self._pending:
            self._metrics.dropped.inc(self._pending)
            self._journal.say("predictions lost", level="error", rows=self._pending, store=self._settings.predictions)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._enough, self._settings.log_seconds)
                entries = self._take()
            if entries:
                for day, of_day in _by_day(entries):
                    if not self._write(day, of_day):
                        return
            elif self._closing.is_set():
                return

    def _enough(self) -> bool:
        return self._closing.is_set() or self._waiting >= self._settings.log_rows

    def _take(self) -> list[_Entry]:
        taken: list[_Entry] = []
        rows = 0
        while self._entries and (not taken or rows + self._entries[0].rows.n <= self._settings.log_rows):
            entry = self._entries.popleft()
            taken.append(entry)
            rows += entry.rows.n
        self._waiting -= rows
        return taken

    def _write(self, day: str, entries: list[_Entry]) -> bool:
        """Write one file, however often the store fails; False if there is no time left for that."""
        import pyarrow.parquet as pq

        rows = sum(entry.rows.n for entry in entries)
        sink = io.BytesIO()
        pq.write_table(self._table(entries), sink, compression="zstd")
        self._files += 1
        path = f"{self._root}/{self._settings.model}/date={day}/{self._name(entries[0].time)}"
        pause = _FIRST_PAUSE
        while True:
            try:
                self._put(path, sink.getvalue())
                break
            except Exception as error:
                self._metrics.log_failures.inc()
                self._journal.say(
                    "prediction log not written", level="warning", rows=self._pending, store=self._settings.predictions, **trace(error)
                )
            left = pause if self._end is None else self._end - time.monotonic()
            if left <= 0:
                return False
            if self._closing.is_set():
                time.sleep(min(_FIRST_PAUSE, left))
            else:
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        with self._changed:
            self._pending -= rows
            self._bytes -= sum(entry.size for entry in entries)
            self._metrics.log_pending.set(self._pending)
        self._metrics.logged.inc(rows)
        return True

    def _put(self, path: str, content: bytes) -> None:
        """All of a file, or none of it: an object store does so by itself."""
        from fsspec.implementations.local import LocalFileSystem

        if not isinstance(self._store, LocalFileSystem):
            self._store.pipe_file(path, content)
            return
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        unfinished = final.with_name(f".{final.name}.tmp")
        unfinished.write_bytes(content)
        unfinished.replace(final)

    def _name(self, began: float) -> str:
        host = re.sub(r"[^A-Za-z0-9.]+", "_", socket.gethostname())
        stamp = datetime.fromtimestamp(began, UTC).strftime("%Y%m%dT%H%M%S%fZ")
        return f"{stamp}-{self._settings.version}-{self._settings.variant}-{host}-{os.getpid()}-{self._files}.parquet"

    def _table(self, entries: list[_Entry]) -> pa.Table:
        import numpy as np
        import pyarrow as pa

        said = self._settings
        sizes = [entry.rows.n for entry in entries]
        n = sum(sizes)
        whose = np.repeat(np.arange(len(entries)), sizes)
        """Of each row: the number of the request that it came with."""
        first = np.cumsum([0, *sizes[:-1]])
        times = np.array([int(entry.time * 1e6) for entry in entries])
        made: dict[str, pa.Array] = {
            "request_id": pa.array([entry.id for entry in entries], pa.string()).take(whose),
            "row": pa.array((np.arange(n) - first[whose]).astype(np.int32)),
            "key": pa.array([entry.key for entry in entries], pa.string()).take(whose),
            "time": pa.array(times[whose].astype("datetime64[us]"), pa.timestamp("us", "UTC")),
            "model": pa.repeat(pa.scalar(said.model), n),
            "version": pa.repeat(pa.scalar(said.version, pa.int32()), n),
            "variant": pa.repeat(pa.scalar(said.variant, pa.string()), n),
            "experiment": pa.repeat(pa.scalar(said.experiment or None, pa.string()), n),
            "prediction": pa.array([value for entry in entries for value in entry.predictions], pa.float64()),
        }
        for column in self._columns:
            values = [value for entry in entries for value in entry.rows.columns[column.name]]
            made[f"{FEATURE}{column.name}"] = _feature(column.kind, values)
        return pa.table(made)


def _feature(kind: str, values: list[Any]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    if kind == "string":
        return pa.array(values, pa.string())
    if kind == "datetime":
        return pa.array([None if value is None else value.isoformat() for value in values], pa.string())
    if kind in ("long", "integer"):
        return pa.array(values, pa.int64())  # as they are: a double has not all of them
    if kind == "boolean":
        return pa.array(values, pa.bool_())
    return pa.array(np.array(values, dtype=np.float64), from_pandas=True)  # a null is NaN there, and no other NaN gets in


def _by_day(entries: list[_Entry]) -> Iterable[tuple[str, list[_Entry]]]:
    import itertools

    return [
        (day, list(of_day))
        for day, of_day in itertools.groupby(entries, lambda entry: datetime.fromtimestamp(entry.time, UTC).date().isoformat())
    ]
