"""Ports of this machine, for tests whose processes talk to each other."""

import socket


def free() -> int:
    """A port that nobody uses."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]
