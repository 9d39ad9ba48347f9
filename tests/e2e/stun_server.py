"""A STUN server of one screen: the project's own responder behind blocking sockets.

    python -m tests.e2e.stun_server 203.0.113.2,3478 2001:db8::2,3478

prints `ready` once it listens on all of them, and answers until it is ended.
"""

from __future__ import annotations

import selectors
import socket
import sys
from contextlib import suppress

from p2ptun.stun.binding import answer_binding
from p2ptun.types import Endpoint


def main(arguments: list[str]) -> None:
    """Listen on every ADDRESS,PORT and answer Binding requests."""
    selector = selectors.DefaultSelector()
    for argument in arguments:
        address, _, port = argument.rpartition(",")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_DGRAM)
        listener.bind((address, int(port)))
        selector.register(listener, selectors.EVENT_READ, listener)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            answer(key.data)


def answer(listener: socket.socket) -> None:
    """Answer one datagram, if it deserves an answer."""
    data, source = listener.recvfrom(2048)
    response = answer_binding(data, Endpoint.of(source[0], source[1]))
    if response is not None:
        listener.sendto(response, source)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # Ctrl-C reaches everything that runs in a terminal
        main(sys.argv[1:])
