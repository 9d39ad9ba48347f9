"""Shows from both sides what a NAT does, with bare sockets and none of the project: `python tests/e2e/probe.py VERB`.

serve ADDRESS ADDRESS
    Answers datagrams on two addresses and two ports each, from the socket that the datagram names by two digits.
mapping PORT ADDRESS ADDRESS
    Asks from one socket at three of the server's sockets, and prints which port each has seen: that of another port of
    the first address, and of the second address, come second and third.
filtering PORT ADDRESS ADDRESS
    Sends to one socket of the server only, and prints which of these answer: it, its address with another port, the
    other address.
hairpin ADDRESS
    Lets two sockets send to each other's public addresses, and prints whom each hears: `own` for the private address
    of the other one, `public`, or `nobody`.
lifetime ADDRESS SECONDS...
    Asks after each of these silences, and prints the ports seen, the first one included.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable

PORTS = (7000, 7001)
SILENCE = 0.3  # seconds after the last answer that is certain, in which those that aren't would have come
PATIENCE = 5.0

Address = tuple[str, int]


def serve(*addresses: str) -> None:
    """Answer every datagram with the address that it came from."""
    sockets = {}
    for row, address in enumerate(addresses):
        for column, port in enumerate(PORTS):
            listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            listener.bind((address, port))
            sockets[f"{row}{column}"] = listener
    print("ready", flush=True)
    while True:
        for listener in select.select(list(sockets.values()), [], [])[0]:
            data, (address, port) = listener.recvfrom(100)
            sockets[data.decode()].sendto(f"{address} {port}".encode(), (address, port))


def mapping(port: str, first: str, second: str) -> None:
    """Tell the ports that three sockets of the server see."""
    client = opened(int(port))
    targets = ((first, PORTS[0], "00"), (first, PORTS[1], "01"), (second, PORTS[0], "10"))
    print(*(ask(client, (address, number), name)[1] for address, number, name in targets))


def filtering(port: str, first: str, second: str) -> None:
    """Tell who gets through to a socket that has only ever sent to the server's first."""
    client = opened(int(port))
    for name in ("01", "10", "00"):
        client.sendto(name.encode(), (first, PORTS[0]))
    names = {(first, PORTS[0]): "00", (first, PORTS[1]): "01", (second, PORTS[0]): "10"}
    heard, end = set(), time.monotonic() + PATIENCE
    while left := end - time.monotonic():
        client.settimeout(max(0.001, left))
        try:
            name = names[client.recvfrom(100)[1]]
        except TimeoutError:
            break
        heard.add(name)
        end = min(end, time.monotonic() + SILENCE)
    print(*sorted(heard))


def hairpin(server: str) -> None:
    """Let two sockets meet at their public addresses."""
    one, other = opened(0), opened(0)
    at_one, at_other = (ask(client, (server, PORTS[0]), "00") for client in (one, other))
    for _ in range(2):  # the first may be what opens a filter for the other side's
        one.sendto(b"hairpin", at_other)
        other.sendto(b"hairpin", at_one)
    print(whom(one, at_other, SILENCE), whom(other, at_one, SILENCE))


def lifetime(server: str, *silences: str) -> None:
    """Tell how long a mapping lasts without a packet."""
    client = opened(0)
    ports = [ask(client, (server, PORTS[0]), "00")[1]]
    for seconds in silences:
        time.sleep(float(seconds))  # the silence itself
        ports.append(ask(client, (server, PORTS[0]), "00")[1])
    print(*ports)


def opened(port: int) -> socket.socket:
    """Open a socket."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind(("0.0.0.0", port))  # noqa: S104 - every address, inside a namespace
    client.settimeout(PATIENCE)
    return client


def ask(client: socket.socket, server: Address, name: str) -> Address:
    """Ask one socket of the server how it sees this one."""
    client.sendto(name.encode(), server)
    address, port = client.recv(100).decode().split()
    return address, int(port)


def whom(client: socket.socket, public: Address, seconds: float) -> str:
    """Tell from where the other side's datagram comes."""
    client.settimeout(seconds)
    try:
        source = client.recvfrom(100)[1]
    except TimeoutError:
        return "nobody"
    return "public" if source == public else "own"


VERBS: dict[str, Callable[..., None]] = {
    "serve": serve,
    "mapping": mapping,
    "filtering": filtering,
    "hairpin": hairpin,
    "lifetime": lifetime,
}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
