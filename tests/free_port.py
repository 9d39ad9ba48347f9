"""Ports on which a server of another program can be started."""

from __future__ import annotations

import os
import random
import socket

FIRST, LAST = 10_000, 30_000
"""Below those that the kernel gives to sockets that ask for any: none of these, of a test that runs at the same time,
comes between the moment at which a port is found and that at which it is bound."""

_choice = random.Random(os.getpid())  # each process has an order of its own


def free_port(address: str = "127.0.0.1") -> int:
    """Find a port that is free over UDP and TCP."""
    while True:
        port = _choice.randrange(FIRST, LAST)
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket(type=socket.SOCK_STREAM) as tcp:
            try:
                udp.bind((address, port))
                tcp.bind((address, port))
            except OSError:
                continue
        return port
