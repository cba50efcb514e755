"""A double of the server process: it starts in milliseconds, and does what it is told to, which a real one can't be brought to.

Its arguments, its report and its end are those of `lakeline.serving.server`; it answers each connection with a line that says its version.
LAKELINE_SERVE_RUN says how it misbehaves: `die`, `segfault` or `killed` (without a report), `refuse` (with one, of its own fault), `full`
(with one, of its place's), `hang` (never ready), `deaf` (to SIGTERM) or `crash` (soon after it was ready).
"""

import json
import os
import signal
import socket
import sys
import threading
import time


def main(fd: int, report: int) -> None:
    """Serve."""
    told = os.environ.get("LAKELINE_SERVE_RUN", "")
    version = os.environ["LAKELINE_SERVE_VERSION"]
    if told == "die":
        print(json.dumps({"event": "import", "message": "no module named modle"}), file=sys.stderr, flush=True)
        sys.exit(3)
    if told == "hang":
        time.sleep(600)
    if told in {"segfault", "killed"}:
        os.kill(os.getpid(), signal.SIGSEGV if told == "segfault" else signal.SIGKILL)
    if told in {"refuse", "full"}:
        why = ("it predicts nan", "VersionFailed") if told == "refuse" else ("no space left", "RolloutFailed")
        os.write(report, json.dumps({"ready": False, "error": why[0], "kind": why[1]}).encode() + b"\n")
        sys.exit(1)
    listener = socket.socket(fileno=fd)
    listener.listen()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if told == "deaf" else lambda *_: os._exit(0))
    if told == "crash":
        threading.Timer(0.2, os._exit, (9,)).start()
    os.write(report, json.dumps({"ready": True, "pid": os.getpid(), "version": int(version)}).encode() + b"\n")
    os.close(report)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(f"version {version}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[2]), int(sys.argv[4]))
