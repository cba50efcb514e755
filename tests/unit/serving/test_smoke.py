"""Tries of a server: what is the version's own fault, and what only kept it from being asked."""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lakeline.data.servingspec import Serving
from lakeline.errors import RolloutFailed, VersionFailed
from lakeline.serving.release import VERSION_HEADER, Release
from lakeline.serving.smoke import smoke
from lakeline.training.model import Example

RELEASE = Release("ferries", 2, "0" * 64)
SERVING = Serving(requests=10)
EXAMPLE = Example(["load"], [[1.0]], [1.0])

Answer = Callable[[BaseHTTPRequestHandler], None]


def says(status: int, body: str, version: str | None = "2") -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if version:
            handler.send_header(VERSION_HEADER, version)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return answer


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def tried(answer: Answer) -> None:
    """Try a server that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            smoke(f"http://127.0.0.1:{server.server_port}", {}, RELEASE, EXAMPLE, SERVING).check()
        finally:
            server.shutdown()


def test_version_that_answers_as_it_should_passes():
    tried(says(200, '{"predictions": [1.0]}'))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says(200, '{"predictions": [2.0]}'), "it predicts 2 where 1 was recorded"),
        (says(200, "[]"), "an answer without one prediction"),
        (says(500, "the server failed"), "status 500: the server failed"),
        (hangs_up, r"no answer \(RemoteProtocolError|ReadError"),
    ],
    ids=["wrong", "no prediction", "fails", "hangs up"],
)
def test_what_the_version_itself_does_wrong_is_its_fault(answer: Answer, why: str):
    with pytest.raises(VersionFailed, match=why):
        tried(answer)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says(401, "send the token of this server"), "status 401"),
        (says(503, "no healthy upstream", None), "status 503: no healthy upstream"),
        (says(404, "not found", None), "status 404"),
        (says(200, '{"predictions": [1.0]}', "1"), "version 1 answered, not 2"),
    ],
    ids=["another token", "a gateway's own answer", "another program", "another version"],
)
def test_version_that_was_not_asked_is_not_at_fault(answer: Answer, why: str):
    with pytest.raises(RolloutFailed, match=f"didn't get an answer of its own.*{why}") as failed:
        tried(answer)

    assert not isinstance(failed.value, VersionFailed)


def test_version_that_cannot_be_reached_is_not_at_fault():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    with pytest.raises(RolloutFailed, match=r"no answer \(ConnectError") as failed:
        smoke(f"http://127.0.0.1:{port}", {}, RELEASE, EXAMPLE, SERVING).check()

    assert not isinstance(failed.value, VersionFailed)
