"""Ports of this machine, for tests whose processes talk to each other."""

import random
import socket

# Below those that Linux gives to connections, which come and go.
_FIRST, _LAST = 20_000, 32_000


def free() -> int:
    """A port that nobody uses, as nobody uses the next one."""
    while True:
        port = random.randrange(_FIRST, _LAST, 2)
        if _is_free(port) and _is_free(port + 1):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as server:
        try:
            server.bind(("", port))
        except OSError:
            return False
    return True
