"""A stand-in for the event source, which Argo Events makes in a cluster: takes what has the right token, and keeps it."""

import secrets
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = secrets.token_hex(16)


class Receiver(ThreadingHTTPServer):
    """Takes events as the event source does: with the right token only."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.taken: list[tuple[str, str]] = []
        self.refused = 0

    def wait(self, count: int) -> list[str]:
        """Bodies of what was taken, once there are so many."""
        deadline = time.monotonic() + 20
        while len(self.taken) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return [body for _, body in self.taken]


class _Taking(BaseHTTPRequestHandler):
    server: Receiver  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        right = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if right:
            self.server.taken.append((self.path, body))
        else:
            self.server.refused += 1
        self.send_response(200 if right else 401)
        self.end_headers()
        self.wfile.write(b"success" if right else b"Invalid Auth token")
