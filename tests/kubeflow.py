"""A double of the Kubeflow Pipelines server, for tests of what speaks to one: no real one runs without a cluster.

It keeps what it is sent in memory and answers over real HTTP, with the few calls of the v2beta1 API that Lakeline makes, names
unique as the server has them. Runs stay PENDING until a test says how they end. tests/cluster/ asks a real server the same.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lakeline import lineage
from lakeline.settings import get_settings

Record = dict[str, Any]

IDS = {"pipelines": "pipeline_id", "versions": "pipeline_version_id", "experiments": "experiment_id", "runs": "run_id"} | {
    "recurringruns": "recurring_run_id"
}
LISTS = {"versions": "pipeline_versions", "recurringruns": "recurringRuns"}
UNIQUE = ("pipelines", "versions", "experiments")


class Kubeflow(ThreadingHTTPServer):
    """The server, on a free port of 127.0.0.1."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.records: dict[str, list[Record]] = {kind: [] for kind in IDS}
        self.requests: list[tuple[str, str]] = []
        self.token: str | None = None
        self.logs: dict[str, str] = {}
        """What a pod said, by its name."""
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def runs(self) -> list[Record]:
        """Runs, oldest first."""
        return self.records["runs"]

    def end(self, run_id: str, state: str = "SUCCEEDED", tasks: tuple[Record, ...] = (), seconds: float = 60.0) -> None:
        """End a run."""
        run = next(run for run in self.runs if run["run_id"] == run_id)
        ended = datetime.fromisoformat(run["created_at"]) + timedelta(seconds=seconds)
        stamp = {"run_id": run_id, "create_time": run["created_at"], "end_time": ended.isoformat()}
        run["run_details"] = {"task_details": [stamp | {"task_id": str(uuid.uuid4())} | task for task in tasks]}
        run["finished_at"] = ended.isoformat()
        run["state"] = state

    def add(self, kind: str, record: Record) -> Record | None:
        """Keep a record; None if its name is taken."""
        with self.lock:
            name = record.get("display_name")
            siblings = [it for it in self.records[kind] if it.get("pipeline_id") == record.get("pipeline_id") or kind != "versions"]
            if kind in UNIQUE and any(it.get("display_name") == name for it in siblings):
                return None
            made = {IDS[kind]: str(uuid.uuid4()), "created_at": datetime.now(UTC).isoformat()} | record
            if kind == "runs":
                made["state"] = "PENDING"
            self.records[kind].append(made)
            return made


@contextmanager
def kubeflow() -> Generator[Kubeflow]:
    """A double that runs until the block ends."""
    server = Kubeflow()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def named(patch: pytest.MonkeyPatch, commit: str) -> Generator[Kubeflow]:
    """A double that the environment names, spoken to by code of a commit."""
    with kubeflow() as double:
        patch.setenv("KF_PIPELINES_ENDPOINT", double.url)
        patch.setenv("LAKELINE_CODE_VERSION", commit)
        _settle()
        yield double
    _settle()


def _settle() -> None:
    get_settings.cache_clear()
    lineage.code_version.cache_clear()


def _fits(name: str, predicate: Record) -> bool:
    wanted = predicate["stringValue"]
    return wanted in name if predicate["operation"] == "IS_SUBSTRING" else name == wanted


class _Handler(BaseHTTPRequestHandler):
    server: Kubeflow  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/apis/v1alpha1/"):
            self._log(self.path.split("/")[-2])
            return
        kind, key, query = self._asked()
        if kind == "healthz":
            self._answer(200, {"multi_user": False})
        elif key is not None and kind != "versions":
            found = next((it for it in self.server.records[kind] if it[IDS[kind]] == key), None)
            self._answer(200, found) if found else self._answer(404, {"message": f"{kind} {key} not found."})
        else:
            wanted = json.loads(query.get("filter", "{}")).get("predicates", [])
            found = [it for it in self.server.records[kind] if key is None or it.get("pipeline_id") == key]
            found = [it for it in found if all(_fits(it.get("display_name", ""), one) for one in wanted)]
            found = [it for it in found if query.get("experiment_id", it.get("experiment_id")) == it.get("experiment_id")]
            newest = found[::-1] if query.get("sort_by", "").endswith("desc") else found
            self._answer(200, {LISTS.get(kind, kind): newest[: int(query.get("page_size", 10))], "total_size": len(found)})

    def do_POST(self) -> None:
        kind, key, query = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if key is not None and key.endswith(":disable"):
            next(it for it in self.server.records[kind] if it[IDS[kind]] == key.removesuffix(":disable"))["status"] = "DISABLED"
            self._answer(200, {})
            return
        if kind == "pipelines" and key == "upload_version":
            kind = "versions"
            record: Record = {"display_name": query["name"], "pipeline_id": query["pipelineid"], "description": query.get("description")}
            record["package"] = body.decode()
        else:
            record = json.loads(body)
            if kind == "recurringruns":
                record |= {"status": "ENABLED"}
        made = self.server.add(kind, record)
        self._answer(200, made) if made else self._answer(409, {"message": f"The name {record['display_name']} already exists."})

    def do_DELETE(self) -> None:
        kind, key, _ = self._asked()
        self.server.records[kind] = [it for it in self.server.records[kind] if it[IDS[kind]] != key]
        self._answer(200, {})

    def _log(self, pod: str) -> None:
        body = self.server.logs.get(pod, "").encode()
        self.send_response(200 if body else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _asked(self) -> tuple[str, str | None, dict[str, str]]:
        parts = urlsplit(self.path)
        self.server.requests.append((self.command, parts.path))
        words = parts.path.removeprefix("/apis/v2beta1/").split("/")
        kind = words[2] if len(words) > 2 else words[0]
        return kind, words[1] if len(words) > 1 else None, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _answer(self, status: int, content: Record) -> None:
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            status, content = 401, {"message": "no valid token."}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
