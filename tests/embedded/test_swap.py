"""Twenty swaps of one version for another while callers are at it: none of them notices, and no prediction is missing from the log."""

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from lakeline.data.servingspec import Serving
from lakeline.serving.local.site import LocalSite
from lakeline.serving.release import REQUEST_HEADER, VERSION_HEADER
from tests.ferries import NAME, ROWS, Ferries

pytestmark = pytest.mark.embedded

SWAPS = 20
BODY = json.dumps({"dataframe_split": ROWS.to_dict("split", index=False)}).encode()
KIND = {"Content-Type": "application/json"}

Answer = tuple[int, str | None, bytes]
Ask = Callable[[str], Answer]


@dataclass
class Answered:
    """What callers got: version and predictions by request, and what was no answer."""

    versions: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def with_httpx(url: str, held: ExitStack) -> Ask:
    """A caller that keeps its connection, as httpx does."""
    client = held.enter_context(httpx.Client(base_url=url, timeout=60))

    def ask(request: str) -> Answer:
        answer = client.post("/invocations", content=BODY, headers=KIND | {REQUEST_HEADER: request})
        return answer.status_code, answer.headers.get(VERSION_HEADER), answer.content

    return ask


def with_http_client(url: str, held: ExitStack) -> Ask:
    """A caller that keeps its connection, with nothing between it and the server that would try twice."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    held.callback(connection.close)

    def ask(request: str) -> Answer:
        connection.request("POST", "/invocations", BODY, KIND | {REQUEST_HEADER: request})
        answer = connection.getresponse()
        return answer.status, answer.headers[VERSION_HEADER], answer.read()

    return ask


def call(
    make: Callable[[str, ExitStack], Ask], pause: float, url: str, ferries: Ferries, answered: Answered, left: threading.Event
) -> None:
    """Call again and again, with up to so many seconds in between, and take down what comes."""
    with ExitStack() as held:
        ask = make(url, held)
        while not left.is_set():
            request = uuid.uuid4().hex
            try:
                status, version, body = ask(request)
                assert status == 200, f"status {status}: {body.decode()[:200]}"
                predictions = json.loads(body)["predictions"]
                assert predictions == pytest.approx(ferries.predictions[int(version or 0)], rel=1e-9), f"version {version}: {predictions}"
                answered.versions[request] = int(version or 0)
            except (OSError, http.client.HTTPException, httpx.HTTPError, AssertionError) as error:
                answered.wrong.append(f"{make.__name__}: {error!r}")
            left.wait(random.random() * pause)


def test_no_request_is_dropped_and_none_is_missing_from_the_log(ferries: Ferries, local: Callable[[int], LocalSite], home: Path):
    site = local(1)
    site.roll_out(ferries.releases[1], Serving())
    url = site.url(NAME)
    answered, left = Answered(), threading.Event()
    # Fast ones, and those whose connection is idle just when a server is told to end.
    callers = [(with_httpx, 0.02), (with_http_client, 0.02), (with_httpx, 0.3), (with_http_client, 0.3), (with_http_client, 3)]
    threads = [threading.Thread(target=call, args=(make, pause, url, ferries, answered, left)) for make, pause in callers]
    for thread in threads:
        thread.start()
    time.sleep(0.5)

    seen: list[int] = []
    for number in range(SWAPS):
        version = 2 - number % 2
        site.roll_out(ferries.releases[version], Serving())
        before = len(answered.versions)
        seen.append(int(httpx.get(f"{url}/version").json()["version"]))
        assert seen[-1] == version
        while len(answered.versions) < before + 20 and not answered.wrong:
            time.sleep(0.01)
    left.set()
    for thread in threads:
        thread.join()
    site.stop(NAME)

    print(f"{len(answered.versions):,} requests answered during {SWAPS} swaps, {len(answered.wrong)} not")  # shown by pytest -rP
    assert answered.wrong == []
    assert seen == [2, 1] * (SWAPS // 2)
    assert min(Counter(answered.versions.values()).values()) > 10 * SWAPS
    tables = [
        pq.read_table(path, columns=["request_id", "row", "version", "prediction"]) for path in (home / "predictions").rglob("*.parquet")
    ]
    logged = {(row["request_id"], row["row"]): (row["version"], row["prediction"]) for table in tables for row in table.to_pylist()}
    assert sum(table.num_rows for table in tables) == len(logged)
    assert logged == {
        (request, row): (version, pytest.approx(ferries.predictions[version][row], rel=1e-9))
        for request, version in answered.versions.items()
        for row in range(len(ROWS))
    }
