"""Predicts the requests that are under way at the same time in one call of the model, most of whose time is the call, not the rows."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeline.errors import of_the_place
from lakeline.serving.rows import Refused, Rows, frame_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from lakeline.serving.model import ServedModel

ROWS_AT_ONCE = 4096
"""Rows that small requests are put together to; one larger request is predicted by itself."""


class Busy(Exception):
    """More rows are waiting than a server keeps."""


@dataclass(slots=True)
class _Waiting:
    rows: Rows
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """Predicts in one thread of its own; what comes meanwhile is predicted together, next. Nothing waits while the model is idle.

    Parameters
    ----------
    model
        What predicts.
    pending
        Rows that may wait, at most; one request may always.
    told
        Called with the number of rows of each call of the model.
    """

    def __init__(self, model: ServedModel, pending: int, told: Callable[[int], object] = lambda rows: None) -> None:
        self._model = model
        self._most = pending
        self._told = told
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._running: asyncio.Task[None] | None = None
        self._called: float | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")

    async def predict(self, rows: Rows) -> np.ndarray:
        """Predict the rows of a request.

        Returns
        -------
        np.ndarray
            n numbers, some of which may not be finite.

        Raises
        ------
        Busy
            If too many rows are waiting.
        Refused
            422, if the model fails on these rows, and not for want of memory.
        """
        if self._waiting and self._rows + rows.n > self._most:
            raise Busy
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._rows += rows.n
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await waiting.answer

    def calling(self) -> float:
        """Seconds that the model has been at work on what it was given last; 0 while it is idle."""
        return 0 if self._called is None else asyncio.get_running_loop().time() - self._called

    def close(self) -> None:
        """Answer nobody any more."""
        if self._running:
            self._running.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = self._next()
                if not batch:
                    continue
                self._called = loop.time()
                answers = await loop.run_in_executor(self._thread, self._answers, [waiting.rows for waiting in batch])
                for waiting, answer in zip(batch, answers, strict=True):
                    if waiting.answer.done():  # its time was up
                        continue
                    if isinstance(answer, BaseException):
                        waiting.answer.set_exception(answer)
                    else:
                        waiting.answer.set_result(answer)
        finally:
            self._running = self._called = None

    def _next(self) -> list[_Waiting]:
        """Take the requests of the next call, without those that nobody waits for any more."""
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting and (not batch or self._fits(self._waiting[0].rows, batch[0].rows, rows)):
            waiting = self._waiting.popleft()
            self._rows -= waiting.rows.n
            if not waiting.answer.done():
                batch.append(waiting)
                rows += waiting.rows.n
        return batch

    @staticmethod
    def _fits(following: Rows, first: Rows, rows: int) -> bool:
        """Whether a request goes into the same call, and the same DataFrame, as those before it."""
        return rows + following.n <= ROWS_AT_ONCE and following.absent == first.absent

    def _answers(self, batch: list[Rows]) -> list[np.ndarray | Exception]:
        """Predictions of each request, or what its rows did to the model: one that fails must not take the others with it."""
        try:
            return self._call(batch)
        except Exception as error:
            if len(batch) > 1:
                return [answer for rows in batch for answer in self._answers([rows])]
            if of_the_place(error):  # want of memory is not the rows' fault
                return [error]
            return [Refused(f"the model gives no number for these rows: {type(error).__name__}: {error}", 422, "prediction")]

    def _call(self, batch: list[Rows]) -> list[np.ndarray | Exception]:
        self._told(sum(rows.n for rows in batch))
        predicted = self._model.predict(frame_of(batch, self._model.columns))
        if len(batch) == 1:
            return [predicted]
        answers: list[np.ndarray | Exception] = []
        start = 0
        for rows in batch:
            answers.append(predicted[start : start + rows.n])
            start += rows.n
        return answers
