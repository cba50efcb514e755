"""The same model behind `mlflow models serve` and behind Lakeline's server: requests a second, how long they take, and memory."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contest import SIDES, WORKLOADS, Bench
from benchmarks.measure import _tree_bytes
from lakeline.registry.files import files_digest
from lakeline.serving.environment import environment
from lakeline.serving.release import Release

SHAPES = ((1, 1), (8, 1), (32, 1), (8, 100), (1, 5000))
"""Connections that ask all the time, and rows in each request."""

_START = 300
"""Seconds that a server has to start."""


@dataclass
class Load:
    """All rounds of one server under one kind of load."""

    side: str
    connections: int
    rows: int
    seconds: float = 0
    milliseconds: list[float] = field(default_factory=list)
    peak_mib: float = 0

    @property
    def per_second(self) -> float:
        """Requests answered a second."""
        return len(self.milliseconds) / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds within which this share of the requests was answered."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        said = {"side": self.side, "connections": self.connections, "rows": self.rows, "requests": len(self.milliseconds)}
        said |= {"per_second": round(self.per_second, 1), "p50_ms": round(self.quantile(0.5), 2), "p99_ms": round(self.quantile(0.99), 2)}
        return said | {"peak_mib": round(self.peak_mib)}


def serving(data: Path, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Load]:
    """Let both servers take turns under load.

    Parameters
    ----------
    data
        Folder of local copies, LAKELINE_DATA: the model is trained on one month of it.
    rounds
        Turns of each server under each load. One more before them, which isn't counted, warms it up.
    seconds
        How long a turn is.
    say
        Told about each turn.

    Returns
    -------
    list[Load]
        By load, then server.
    """
    with tempfile.TemporaryDirectory(prefix="lakeline-bench-") as scratch:
        folder = _model(Path(scratch), data)
        say(f"model: {folder.name}, {sum(path.stat().st_size for path in folder.rglob('*')) >> 10} KiB")
        rows = json.loads((folder / "serving_input_example.json").read_text(encoding="utf-8"))["dataframe_split"]
        with _mlflow(folder, Path(scratch)) as theirs, _lakeline(folder, Path(scratch)) as ours:
            sides = {"mlflow models serve": theirs, "lakeline": ours}
            _agree([port for port, _ in sides.values()], _request(rows, 5))
            loads = [Load(side, *shape) for shape in SHAPES for side in sides]
            for number in range(rounds + 1):
                for load in loads:
                    port, process = sides[load.side]
                    taken = asyncio.run(_ask(port, _request(rows, load.rows), load.connections, seconds))
                    if number:
                        load.milliseconds += taken
                        load.seconds += seconds
                        load.peak_mib = max(load.peak_mib, _tree_bytes(process.pid) / 2**20)
                        say(f"{number}/{rounds} {load.side}, {load.connections} × {load.rows} rows: {len(taken) / seconds:.0f} a second")
        logged = sum(1 for _ in (Path(scratch) / "predictions").rglob("*.parquet"))
        if not logged:
            raise ValueError("Lakeline's server logged no predictions: it would be compared without that")
        return loads


def _model(scratch: Path, data: Path) -> Path:
    """Train a model as `lakeline run` does, and take its files out of the registry's store."""
    bench = Bench(scratch, data)
    side = next(side for side in SIDES if side.name == "lakeline, same model")
    with bench.home() as home:
        bench.measure(side, WORKLOADS["1 month"], home)
        (found,) = home.glob("mlartifacts/*/models/*/artifacts")
        return Path(shutil.copytree(found, scratch / "served"))


@contextmanager
def _mlflow(folder: Path, scratch: Path) -> Generator[tuple[int, subprocess.Popen[bytes]]]:
    port = _free()
    command = [str(Path(sys.executable).parent / "mlflow"), "models", "serve", "-m", str(folder), "--env-manager", "local"]
    with _running([*command, "--port", str(port)], {}, port, scratch / "mlflow.log") as process:
        yield port, process


@contextmanager
def _lakeline(folder: Path, scratch: Path) -> Generator[tuple[int, subprocess.Popen[bytes]]]:
    port = _free()
    told = environment(Release("served", 1, files_digest(folder)), folder)
    told |= {"LAKELINE_SERVE_PORT": str(port), "LAKELINE_SERVE_PREDICTIONS": str(scratch / "predictions")}
    with _running([sys.executable, "-m", "lakeline.serving.server"], told, port, scratch / "lakeline.log") as process:
        yield port, process


@contextmanager
def _running(command: Sequence[str], told: dict[str, str], port: int, log: Path) -> Generator[subprocess.Popen[bytes]]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=os.environ | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"} | told, stdout=out, stderr=out
        )
    try:
        end = time.monotonic() + _START
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise ValueError(f"{command} doesn't serve:\n{log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(100)
    except OSError:
        return False


def _request(example: dict[str, Any], rows: int) -> bytes:
    data = [example["data"][row % len(example["data"])] for row in range(rows)]
    body = json.dumps({"dataframe_split": {"columns": example["columns"], "data": data}}).encode()
    head = f"POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _agree(ports: Sequence[int], request: bytes) -> None:
    """See that all servers predict the same: else they would be compared at different work."""

    async def once(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await _answer(reader, writer, request)
        writer.close()
        return answer

    predicted = [json.loads(asyncio.run(once(port)))["predictions"] for port in ports]
    if any(other != predicted[0] for other in predicted):
        raise ValueError(f"the servers predict different numbers: {predicted}")


async def _ask(port: int, request: bytes, connections: int, seconds: float) -> list[float]:
    """Milliseconds of each request of some connections that ask one after the other."""
    end = time.perf_counter() + seconds
    taken: list[float] = []

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            await _answer(reader, writer, request)
            taken.append((time.perf_counter() - began) * 1000)
        writer.close()

    await asyncio.gather(*(caller() for _ in range(connections)))
    return taken


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(f"a request failed: {head.decode()}")
    size = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return await reader.readexactly(size)
