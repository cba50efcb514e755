"""A small data set of our own, and a web server that can be told to misbehave."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lakeline.data.specfile import push
from lakeline.settings import get_settings

YAML = """\
name: things
title: Amounts of things
source:
  kind: url
  url: http://127.0.0.1:1/things-{month:02d}.csv
  local: things/{month:02d}.csv
  format: csv
  "null": NA
arrival:
  id: "m{month:02d}"
  parameters:
    month: { type: integer, minimum: 1, maximum: 12 }
raw:
  columns:
    month: { type: integer }
    time: { type: timestamp }
    kind: { type: text }
    size: { type: number, nullable: true }
    count: { type: integer, nullable: true }
clean:
  columns:
    kind: { type: text }
    size: { type: number }
target: { column: size }
features:
  categorical: [kind]
split: { kind: random }
search:
  estimators:
    - name: linear_regression
"""
SQL = "-- Things with a size.\nSELECT kind, size\nFROM raw\nWHERE size IS NOT NULL\n"
CSV = """\
month,time,kind,size,count
1,2024-01-01T10:00:00Z,a,1.5,1
1,2024-01-01 12:00:00+02:00,b,NA,2
1,2024-01-02,"a, or b",3,
"""


@dataclass
class Things:
    """The data set `things`: its definition and its local copies can be changed before they are read."""

    folder: Path
    copies: Path

    def define(self, *changes: tuple[str, str], sql: str = SQL) -> None:
        """Write the definition, with some of its text changed."""
        text = YAML
        for old, new in changes:
            assert old in text, f"{old!r} is not in the spec"
            text = text.replace(old, new)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "dataset.yaml").write_text(text)
        (self.folder / "transform.sql").write_text(sql)

    def push(self, *changes: tuple[str, str], sql: str = SQL) -> None:
        """Write the definition and commit it to the lake."""
        self.define(*changes, sql=sql)
        push("things")

    def copy(self, content: str | bytes = CSV, name: str = "01.csv") -> Path:
        """Put a local copy where the data set's source.local finds it."""
        path = self.copies / "things" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Things:
    """Define a data set in a folder of data sets, with a folder of local copies, both of this test alone."""
    made = Things(tmp_path / "datasets" / "things", tmp_path / "copies")
    made.copies.mkdir()
    monkeypatch.setenv("LAKELINE_DATASETS", str(made.folder.parent))
    monkeypatch.setenv("LAKELINE_DATA", str(made.copies))
    get_settings.cache_clear()
    made.define()
    return made


Misbehaviour = Callable[["Handler"], bool]
"""What the server does with a request instead of answering it; False if it answers all the same."""


@dataclass
class Site:
    """Files that a server has, the requests it was asked, and what it does wrong first."""

    url: str = ""
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    mischief: deque[Misbehaviour] = field(default_factory=deque)
    requests: list[dict[str, str]] = field(default_factory=list)
    ranges: bool = True
    honours_if_range: bool = True

    def put(self, name: str, content: bytes, etag: str = '"1"') -> str:
        """Have a file; returns its URL."""
        self.files[f"/{name}"] = (content, etag)
        return f"{self.url}/{name}"


class Handler(BaseHTTPRequestHandler):
    """Serve a Site."""

    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.site.requests.append(dict(self.headers.items()))
        if self.site.mischief and self.site.mischief.popleft()(self):
            return
        if self.path not in self.site.files:
            self.answer(404)
            return
        content, etag = self.site.files[self.path]
        if self.headers.get("If-None-Match") == etag:
            self.answer(304, ETag=etag)
            return
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range") == etag or not self.site.honours_if_range
        if asked and self.site.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.answer(416)
                return
            self.answer(206, content[start:], ETag=etag, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")
            return
        self.answer(200, content, ETag=etag)

    do_HEAD = do_GET  # noqa: N815 (the name that http.server calls)

    def answer(self, status: int, body: bytes = b"", announced: int | None = None, **headers: str):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if announced is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object):  # noqa: A002
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    """Run a web server on this machine."""
    one = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": one}))
    server.daemon_threads = True
    one.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield one
    server.shutdown()
    server.server_close()
    thread.join()
