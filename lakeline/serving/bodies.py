"""Bodies of requests: read and decoded so that many large ones at once neither fill the memory nor stop everybody else."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lakeline.serving.batch import Busy
from lakeline.serving.rows import Refused, Rows, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive

    from lakeline.serving.scoring import Call
    from lakeline.serving.values import Column

_LARGE = 2**18
"""Bytes from which on a body is decoded in a thread: beside other requests, but for the single step that `json` takes."""

_HELD = 8
"""Bodies of the largest size that may be held."""


class Gone(Exception):
    """The caller has hung up."""


class Bodies:
    """Reads and decodes; of large bodies one is decoded at a time, for it takes fifty times its size meanwhile.

    Parameters
    ----------
    most
        Bytes that a body may have.
    rows
        Rows that may be in it.
    columns
        What the model takes.
    """

    def __init__(self, most: int, rows: int, columns: Sequence[Column]) -> None:
        self._most = most
        self._rows = rows
        self._columns = columns
        self._held = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode")

    async def read(self, call: Call, receive: Receive) -> bytes:
        """Read the body of a request, whose bytes are held until `let_go`.

        Raises
        ------
        Refused
            413, if it is too large.
        Busy
            If too much is held.
        Gone
            If the caller hangs up before its end.
        """
        announced = call.headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > self._most:
            raise self._too_large()
        chunks: list[bytes] = []
        while True:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            chunk = message.get("body", b"")
            call.held += len(chunk)
            self._held += len(chunk)
            if call.held > self._most:
                raise self._too_large()
            if self._held > _HELD * self._most:
                raise Busy
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def let_go(self, call: Call) -> None:
        """Hold the body of a request no more."""
        self._held -= call.held
        call.held = 0

    async def decode(self, body: bytes, kind: str) -> Rows:
        """Rows of a body, as `parse` has them."""
        if len(body) <= _LARGE:
            return parse(body, kind, self._columns, self._rows)
        # A thread, not a lock: where the caller's time is up, the next body still waits until this one is done with.
        decoded = await asyncio.get_running_loop().run_in_executor(self._thread, self._decode, body, kind)
        if isinstance(decoded, Refused):
            raise decoded
        return decoded

    def close(self) -> None:
        """Decode nothing any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _decode(self, body: bytes, kind: str) -> Rows | Refused:
        """Look for no garbage meanwhile: each look would go through all that is decoded so far, and stop everybody else for as long."""
        looking = gc.isenabled()
        gc.disable()
        try:
            return parse(body, kind, self._columns, self._rows)
        except Refused as refused:
            # Without where it was raised, which holds all that was decoded until somebody has heard of it; the next body comes first.
            return Refused(str(refused), refused.status, refused.kind)
        finally:
            if looking:
                gc.enable()

    def _too_large(self) -> Refused:
        return Refused(f"the body may have {self._most:,} bytes. Send the rows in several requests.", 413, "too_large")
