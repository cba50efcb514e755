"""Large bodies: how many a server holds and decodes at a time."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from lakeline.serving import bodies
from lakeline.serving.batch import Busy
from lakeline.serving.bodies import Bodies
from lakeline.serving.rows import JSON, Column, Refused, Rows
from lakeline.serving.scoring import Call

COLUMNS = (Column("load", "double"),)
LARGE = b'{"instances": [' + b",".join([b'{"load": 1}'] * 30_000) + b"]}"


def call() -> Call:
    return Call({}, "id")


def sends(size: int) -> Any:
    """What a caller's body arrives as."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b" " * size, "more_body": False}

    return receive


def test_no_more_is_held_than_some_bodies_of_the_largest_size():
    async def read() -> None:
        held = Bodies(1000, 10, COLUMNS)
        calls = [call() for _ in range(8)]
        for each in calls:
            assert len(await held.read(each, sends(1000))) == 1000
        late = call()
        with pytest.raises(Busy):
            await held.read(late, sends(1))
        held.let_go(late)
        held.let_go(calls[0])
        assert len(await held.read(late, sends(1000))) == 1000

    asyncio.run(read())


def test_large_bodies_are_decoded_one_at_a_time_and_nobody_looks_for_garbage_meanwhile(monkeypatch: pytest.MonkeyPatch):
    decode, seen, under_way = bodies.parse, list[tuple[int, bool]](), threading.Semaphore(100)

    def parse(*arguments: Any) -> Rows:
        with under_way:
            rows = decode(*arguments)
            seen.append((100 - under_way._value, gc.isenabled()))
            return rows

    monkeypatch.setattr(bodies, "parse", parse)

    async def read() -> list[Rows]:
        reader = Bodies(10**6, 10**5, COLUMNS)
        return await asyncio.gather(*(reader.decode(LARGE, JSON) for _ in range(4)))

    assert [rows.n for rows in asyncio.run(read())] == [30_000] * 4
    assert seen == [(1, False)] * 4
    assert gc.isenabled()


def test_what_was_decoded_of_a_body_that_is_refused_is_let_go_at_once():
    async def read() -> None:
        await Bodies(10**6, 10, COLUMNS).decode(LARGE, JSON)

    with pytest.raises(Refused, match="there are 30,000 rows") as refused:
        asyncio.run(read())
    assert not any(str(entry.path).endswith("rows.py") for entry in refused.traceback)
    assert refused.value.__context__ is None
