"""The prediction log while its store is down, slow or back again."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from lakeline.errors import UsageError
from lakeline.serving.logs import Journal
from lakeline.serving.metrics import Metrics
from lakeline.serving.predictions import PredictionLog
from lakeline.serving.rows import Column, Rows
from lakeline.serving.store import filesystem
from tests.unit.serving.models import settings

COLUMNS = (Column("route", "string"), Column("load", "double"))


class Store:
    """The file system in memory, which can be made to fail: no store on this machine can be had to do so at will."""

    def __init__(self) -> None:
        self.down = threading.Event()
        self.tries = 0

    def break_(self, patch: pytest.MonkeyPatch) -> None:
        written = MemoryFileSystem.pipe_file

        def pipe_file(fs: Any, path: str, value: bytes, **options: Any) -> Any:
            self.tries += 1
            if self.down.is_set():
                raise OSError("the store is down")
            return written(fs, path, value, **options)

        patch.setattr(MemoryFileSystem, "pipe_file", pipe_file)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store()
    made.break_(monkeypatch)
    yield made
    MemoryFileSystem.store.clear()


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[..., tuple[PredictionLog, Metrics]]]:
    made: list[PredictionLog] = []

    def log(**told: Any) -> tuple[PredictionLog, Metrics]:
        said = settings(folder, **{"predictions": "memory://log", "log_seconds": 0.05} | told)
        metrics = Metrics(said)
        made.append(PredictionLog(said, COLUMNS, metrics, Journal()))
        return made[-1], metrics

    yield log
    for each in made:
        each.close(0.1)


def add(log: PredictionLog, request: int, rows: int = 1, size: int = 10) -> None:
    made = Rows(rows, {"route": ["a"] * rows, "load": [float(request)] * rows})
    log.add(f"r{request}", None, made, [1.0] * rows, size)


def written() -> list[str]:
    fs = MemoryFileSystem()
    files = sorted(path for path in fs.store if path.endswith(".parquet"))
    return [request for path in files for request in pq.read_table(fs.open(path)).column("request_id").to_pylist()]


def count(metrics: Metrics, name: str) -> float:
    line = next(line for line in metrics.exposition().decode().splitlines() if line.startswith(f"lakeline_{name}{{"))
    return float(line.rpartition(" ")[2])


def test_rows_wait_for_a_store_that_is_down_and_are_written_when_it_is_back(store: Store, make: Any, eventually: Any):
    log, metrics = make()
    store.down.set()
    for request in range(50):
        add(log, request)
    eventually(lambda: store.tries >= 2)
    assert (written(), count(metrics, "log_pending_rows")) == ([], 50)
    store.down.clear()
    eventually(lambda: len(written()) == 50)
    eventually(lambda: count(metrics, "logged_rows_total") == 50)
    assert sorted(written()) == sorted(f"r{request}" for request in range(50))
    assert (count(metrics, "log_dropped_rows_total"), count(metrics, "log_pending_rows")) == (0, 0)
    assert count(metrics, "log_failures_total") >= 2


def test_memory_is_bounded_and_what_is_dropped_is_counted(store: Store, make: Any, eventually: Any):
    log, metrics = make(log_pending=100)
    store.down.set()
    began = time.perf_counter()
    for request in range(1000):
        add(log, request)
    assert time.perf_counter() - began < 1, "whoever answers waited for the store"
    assert (count(metrics, "log_pending_rows"), count(metrics, "log_dropped_rows_total")) == (100, 900)
    store.down.clear()
    eventually(lambda: len(written()) == 100)
    add(log, 5000)
    eventually(lambda: "r5000" in written())


def test_few_rows_of_long_texts_are_bounded_too(store: Store, make: Any):
    log, metrics = make()
    store.down.set()
    for request in range(10):
        add(log, request, size=2**26)
    assert (count(metrics, "log_pending_rows"), count(metrics, "log_dropped_rows_total")) == (2, 8)


def test_closing_writes_what_is_left(store: Store, make: Any):
    log, _ = make(log_seconds=60)
    for request in range(1000):
        add(log, request)
    assert written() == []
    log.close(10)
    assert len(set(written())) == 1000


def test_closing_waits_for_a_store_that_comes_back_in_time(store: Store, make: Any):
    log, metrics = make(log_seconds=60)
    add(log, 1)
    store.down.set()
    threading.Timer(0.8, store.down.clear).start()
    log.close(10)
    assert (written(), count(metrics, "log_dropped_rows_total")) == (["r1"], 0)


def test_closing_gives_up_in_time_and_says_what_is_lost(store: Store, make: Any, capsys: pytest.CaptureFixture[str]):
    log, metrics = make(log_seconds=60)
    add(log, 1, rows=7)
    store.down.set()
    began = time.monotonic()
    log.close(0.5)
    assert time.monotonic() - began < 3
    assert (written(), count(metrics, "log_dropped_rows_total")) == ([], 7)
    assert '"event": "predictions lost"' in capsys.readouterr().err


def test_a_full_file_is_written_without_waiting(store: Store, make: Any, eventually: Any):
    log, _ = make(log_seconds=60, log_rows=10)
    for request in range(25):
        add(log, request)
    eventually(lambda: len(written()) == 20)


def test_files_of_different_days_lie_apart(store: Store, make: Any, monkeypatch: pytest.MonkeyPatch):
    log, _ = make(log_seconds=60)
    for request, now in enumerate((1_700_006_399.9, 1_700_006_400.1)):  # around midnight, UTC
        monkeypatch.setattr(time, "time", lambda now=now: now)
        add(log, request)
    log.close(10)
    days = sorted(path.split("/")[3] for path in MemoryFileSystem.store)
    assert days == ["date=2023-11-14", "date=2023-11-15"]


def test_whole_numbers_are_logged_as_they_are(folder: Path, tmp_path: Path):
    said = settings(folder, predictions=str(tmp_path))
    log = PredictionLog(
        said, (Column("order", "long"), Column("cars", "integer", True), Column("wet", "boolean", True)), Metrics(said), Journal()
    )
    sent = {"order": [2**53 + 1, -(2**63)], "cars": [2.0, 3], "wet": [True, None]}
    log.add("r", None, Rows(2, sent), [1.0, float("nan")], 10)
    log.add("s", None, Rows(1, {"order": [1], "cars": [None], "wet": [False]}, frozenset({"cars"})), [1.0], 10)
    log.close(10)
    (file,) = tmp_path.rglob("*.parquet")
    table = pq.read_table(file)
    assert [str(table.schema.field(f"feature_{name}").type) for name in sent] == ["int64", "int64", "bool"]
    assert table.column("feature_order").to_pylist() == [2**53 + 1, -(2**63), 1]
    assert table.column("feature_cars").to_pylist() == [2, 3, None]
    assert table.column("feature_wet").to_pylist() == [True, None, False]
    assert np.isnan(table.column("prediction").to_numpy()).tolist() == [False, True, False]


def test_an_unfinished_file_is_not_seen(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Any):
    """Whoever reads the folder while a file is written must not meet half of it; nor what a full disk left."""
    log, _ = make(predictions=str(tmp_path))
    replace, seen = Path.replace, []

    def look(path: Path, target: Path) -> Path:
        seen.extend(tmp_path.rglob("*.parquet"))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", look)
    add(log, 1)
    (file,) = eventually(lambda: list(tmp_path.rglob("*.parquet")))
    assert seen == []
    assert pq.read_table(file).num_rows == 1


@pytest.mark.parametrize("url", ["", "s3://", "ftp://there/x", "lakefs://repository"])
def test_a_place_that_cannot_be_is_refused(url: str):
    with pytest.raises(UsageError, match="predictions can't be kept at"):
        filesystem(url)


def test_an_object_store_is_found_by_its_address(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"ENDPOINT_URL": "http://store.example:9000", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    fs: Any
    fs, path = filesystem("s3://predictions/ferries/")
    assert path == "predictions/ferries"
    assert fs.fs.equals(_arrows(filesystem("s3://other")[0]))
    monkeypatch.setenv("LAKELINE_AWS_ACCESS_KEY_ID", "c")
    monkeypatch.setenv("LAKELINE_AWS_SECRET_ACCESS_KEY", "d")
    assert not fs.fs.equals(_arrows(filesystem("s3://other")[0]))


def _arrows(fs: Any) -> Any:
    """The file system of Arrow's that fsspec's stands for."""
    return fs.fs


def test_many_predictions_are_counted_as_each_by_itself(folder: Path):
    """Where prometheus_client has nothing for many at once, what we do in its stead must be what it does."""
    values = np.random.default_rng(0).normal(0, 300, 1000).round(0)  # with values that are bounds of buckets
    together, singly = Metrics(settings(folder)), Metrics(settings(folder))
    together.predicted(values)
    for value in values:
        singly.predicted(np.array([value]))
    lines = [
        [line for line in metrics.exposition().decode().splitlines() if line.startswith("lakeline_prediction")]
        for metrics in (together, singly)
    ]
    assert lines[0] == lines[1]
    assert any('le="0.0"' in line for line in lines[0])
