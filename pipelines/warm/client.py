"""Stand-in for the Python interpreter: has a step's process made by one that is warm, or is replaced by the interpreter itself.

Arguments: the module that may be run warm, the socket, then the command line of the interpreter.
It starts without site-packages, and imports little: each step pays for it. `server.py` is the other side.
"""

import json
import os
import signal
import socket
import sys


def main(module: str, path: str, command: list[str]) -> int:
    """Run a command of the interpreter, warm if possible; the process's exit code."""
    here, (folder, name) = os.getcwd(), os.path.split(path)  # noqa: PTH109 (pathlib takes as long to import as all the rest)
    _, module_of_it, *arguments = command[command.index("-m") :] if "-m" in command else ["-m", ""]
    request = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": here}).encode()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        if module_of_it != module:
            raise ConnectionError
        os.chdir(folder)  # a socket's path may have 108 characters at most: its name alone always has fewer
        code = None
        while code is None:
            code = ask(name, request)
    except OSError:
        os.chdir(here)
        os.execv(command[0], command)  # noqa: S606 (there is no shell to go through)
    return code


def ask(name: str, request: bytes) -> int | None:
    """Have the process made and wait for its end: its exit code, or None if whoever was asked has a successor to ask."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(name)
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        if not connection.recv(1):
            return None
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the step has it too, as one of the group, and says how it ended
        answer = connection.recv(1)
        return answer[0] if answer else _unknown()


def _unknown() -> int:
    """Leave a reason where nobody knows how the step ended: what made its process was ended, by a person or for want of memory."""
    message = "the process that the step was forked from was ended, most likely because memory ran out. Run the same command again."
    print(f"lakeline: {message}", file=sys.stderr)
    path = os.environ.get("LAKELINE_TERMINATION_LOG")
    if path and not os.path.exists(path):  # noqa: PTH110
        with open(path, "w", encoding="utf-8") as reason:  # noqa: PTH123
            json.dump({"type": "Killed", "message": message}, reason)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3], sys.argv[3:]))
