"""A port for a server that a test starts later."""

import random
import socket


def free_port() -> int:
    """Port of the loopback interface that nobody has now, and that no connection is given while the server starts (see ip(7))."""
    chosen = random.SystemRandom()
    while True:
        with socket.socket() as probe:
            port = chosen.randrange(20_000, 32_768)  # below Linux's ip_local_port_range, macOS' and IANA's
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
