"""The lakeFS store on a bad network: answers are lost, or lakeFS is busy; each call still does its work once."""

import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from lakeline.errors import LakeConflict, LakeNotFound, LakeUnavailable
from lakeline.lake import Lake, open_lake, server

pytestmark = pytest.mark.lakefs


class BadNetwork(ThreadingHTTPServer):
    """Between us and lakeFS; loses the answers to some requests, or says that lakeFS is busy."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.to = urlsplit(endpoint).netloc
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.lose: Callable[[str], bool] = lambda _: False
        self.busy = 0
        self.lost: list[str] = []

    def lose_once(self, method: str, part: str) -> None:
        """Lose the answer to the next request of this kind."""
        self.lost.clear()
        self.lose = lambda request: not self.lost and request.startswith(method) and part in request


class Passing(BaseHTTPRequestHandler):
    """Pass one request on, and its answer back."""

    server: BadNetwork  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline()
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.close_connection = True
        if self.server.busy:
            self.server.busy -= 1
            self.send_error(503)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) if "Content-Length" in self.headers else self.chunks()
        onward = http.client.HTTPConnection(self.server.to)
        headers = {name: value for name, value in self.headers.items() if name not in {"Host", "Transfer-Encoding", "Content-Length"}}
        onward.request(self.command, self.path, body, headers)
        answer = onward.getresponse()
        content = answer.read()
        onward.close()
        request = f"{self.command} {self.path}"
        if self.server.lose(request):
            self.server.lost.append(request)
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name not in {"Transfer-Encoding", "Content-Length", "Connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content if self.command != "HEAD" else b"")

    def chunks(self) -> bytes:
        content = b""
        while "chunked" in self.headers.get("Transfer-Encoding", "") and (size := int(self.rfile.readline(), 16)):
            content += self.rfile.read(size)
            self.rfile.readline()
        return content


@pytest.fixture
def network(lakefs: server.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadNetwork]:
    """Put a network between us and lakeFS; it is good at first."""
    with BadNetwork(lakefs.endpoint) as between:
        threading.Thread(target=between.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("LAKEFS_ENDPOINT", between.endpoint)
        yield between
        between.shutdown()


@pytest.fixture
def lake(network: BadNetwork, name: str) -> Lake:
    """Open a new lake over that network."""
    return open_lake(name, create=True)


@pytest.mark.parametrize(
    ("method", "part"), [("POST", "/merge/main"), ("POST", "/commits"), ("POST", "/objects"), ("POST", "/branches"), ("GET", "")]
)
@pytest.mark.parametrize("expected", [True, False])
def test_commit_lands_once_though_an_answer_is_lost(lake: Lake, network: BadNetwork, method: str, part: str, expected: bool):
    root = lake.resolve("main")
    network.lose_once(method, part)

    head = lake.commit("main", {"a": b"1", "b": b"2"}, "One", {"k": "v"}, expect=root if expected else None)

    assert network.lost
    assert [commit.id for commit in lake.log("main")] == [head, root]
    assert [entry.path for entry in lake.ls("main")] == ["a", "b"]


def test_commit_of_somebody_else_is_still_a_conflict(lake: Lake, network: BadNetwork):
    root = lake.resolve("main")
    lake.commit("main", {"a": b"1"}, "Theirs")
    network.busy = 1

    with pytest.raises(LakeConflict, match="somebody else"):
        lake.commit("main", {"a": b"2"}, "Ours", expect=root)
    assert len(lake.log("main")) == 2


def test_merge_lands_once_though_the_answer_is_lost(lake: Lake, network: BadNetwork):
    lake.create_branch("b1", "main")
    lake.commit("b1", {"a": b"1"}, "One")
    network.lose_once("POST", "/merge/main")

    head = lake.merge("b1", "main", "Publish")

    assert network.lost
    assert lake.resolve("main") == head
    assert len(lake.log("main")) == 3


def test_branches_and_tags_are_made_and_deleted_though_answers_are_lost(lake: Lake, network: BadNetwork):
    network.lose_once("POST", "/branches")
    lake.create_branch("b1", "main")
    assert network.lost

    network.lose_once("POST", "/tags")
    assert not lake.tag("model/1", "main"), "it was us, but that can't be known"
    assert network.lost

    network.lose_once("DELETE", "/branches/b1")
    lake.delete_branch("b1")
    assert network.lost

    assert [branch.name for branch in lake.branches()] == ["main"]
    assert list(lake.tags()) == ["model/1"]
    with pytest.raises(LakeNotFound):
        lake.delete_branch("b1")


def test_busy_lakefs_is_tried_again_and_then_named(lake: Lake, network: BadNetwork):
    network.busy = 2
    assert lake.ls("main") == []

    network.busy = 1000
    with pytest.raises(LakeUnavailable, match=r"is busy: .*Try again later"):
        lake.resolve("main")
