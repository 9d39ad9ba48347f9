"""Traffic for tests, one program per end: `python -m tests.e2e.traffic VERB ...`.

receive ADDRESS PORT
    Prints "ready", takes one connection, prints SIZE SHA-256.
send ADDRESS PORT BYTES [RATE]
    Sends random bytes, RATE a second at most, prints SIZE SHA-256.
flood ADDRESS PORT SECONDS
    Sends datagrams as fast as it can, prints how many.
beat OWN PEER PORT SECONDS
    Sends a datagram every 10 ms to its like on PEER, and hears its beats; prints how many came, and for how long none
    did at worst, in milliseconds.
exchange OWN PEER PORT COUNT RATE
    Sends COUNT numbered datagrams, RATE a second, to its like on PEER, and takes as many from it; prints how many
    different ones came.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

CHUNK = 1 << 20
PATIENCE = 60.0
GREETING_INTERVAL = 0.02
BEAT_INTERVAL = 0.01
LAST_CALL = 3.0  # how long the last datagrams may be under way
DATAGRAM_SIZE = 1200
ROOM = 4 << 20  # bytes in the socket's buffer: losses are to be the tunnel's, not this program's


def receive(address: str, port: str) -> None:
    """Take one connection to its end, and hash what comes."""
    listener = socket.create_server((address, int(port)), family=family_of(address))
    listener.settimeout(PATIENCE)
    print("ready", flush=True)
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    digest, size = hashlib.sha256(), 0
    while chunk := connection.recv(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    print(size, digest.hexdigest())


def send(address: str, port: str, size: str, rate: str = "inf") -> None:
    """Connect, and send so many random bytes, so many a second at most."""
    connection = socket.create_connection((address, int(port)), timeout=PATIENCE)
    left, digest, began = int(size), hashlib.sha256(), time.monotonic()
    while left:
        chunk = os.urandom(min(left, CHUNK if rate == "inf" else CHUNK // 16))
        connection.sendall(chunk)
        digest.update(chunk)
        left -= len(chunk)
        time.sleep(max(0.0, began + (int(size) - left) / float(rate) - time.monotonic()))
    connection.close()
    print(size, digest.hexdigest())


def flood(address: str, port: str, seconds: str) -> None:
    """Send datagrams and never look back."""
    sender = socket.socket(family_of(address), socket.SOCK_DGRAM)
    sender.connect((address, int(port)))
    payload, sent, end = bytes(DATAGRAM_SIZE), 0, time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for _ in range(100):
            try:
                sender.send(payload)
                sent += 1
            except (BlockingIOError, ConnectionRefusedError):
                continue
    print(sent)


def beat(own: str, peer: str, port: str, seconds: str) -> None:
    """Beat, and listen for the longest silence between two beats of the other end."""
    line = socket.socket(family_of(own), socket.SOCK_DGRAM)
    line.bind((own, int(port)))
    line.connect((peer, int(port)))
    line.setblocking(False)
    greet(line)
    count, longest = 0, 0.0
    began = last = time.monotonic()
    while (now := time.monotonic()) < began + float(seconds):
        with suppress(BlockingIOError, ConnectionRefusedError):
            line.send(b"beat")
        heard: set[bytes] = set()
        take(line, heard)
        if heard:
            count, longest, last = count + 1, max(longest, now - last), now
        time.sleep(BEAT_INTERVAL)
    print(count, round(1000 * max(longest, time.monotonic() - last)))


def exchange(own: str, peer: str, port: str, count: str, rate: str) -> None:
    """Send numbered datagrams, and count the different ones that come."""
    line = socket.socket(family_of(own), socket.SOCK_DGRAM)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    line.bind((own, int(port)))
    line.connect((peer, int(port)))
    line.setblocking(False)
    greet(line)
    numbers: set[bytes] = set()
    began = time.monotonic()
    for number in range(int(count)):
        put(line, number.to_bytes(4, "big") + bytes(60))
        take(line, numbers)
        time.sleep(max(0.0, began + (number + 1) / float(rate) - time.monotonic()))
    end = time.monotonic() + LAST_CALL
    while time.monotonic() < end and len(numbers) < int(count):
        take(line, numbers)
        time.sleep(GREETING_INTERVAL)
    print(len(numbers))


def greet(line: socket.socket) -> None:
    """Wait until the other end listens; what it sends besides greetings stays in the socket."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            line.send(b"hello")
            if line.recv(100, socket.MSG_PEEK):
                line.send(b"hello")
                return
        except (BlockingIOError, ConnectionRefusedError):
            time.sleep(GREETING_INTERVAL)
    raise TimeoutError("the other end doesn't listen")


def put(line: socket.socket, data: bytes) -> None:
    """Send. What the kernel reports first may be that an early greeting found nobody; then nothing was sent."""
    try:
        line.send(data)
    except ConnectionRefusedError:
        line.send(data)


def take(line: socket.socket, numbers: set[bytes]) -> None:
    """Take what has come, but greetings, and the news that an early one of ours found nobody."""
    while True:
        try:
            data = line.recv(2048)
        except ConnectionRefusedError:
            continue
        except BlockingIOError:
            return
        if data != b"hello":
            numbers.add(data[:4])


def family_of(address: str) -> socket.AddressFamily:
    """Tell the family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


VERBS: dict[str, Callable[..., None]] = {
    "receive": receive,
    "send": send,
    "flood": flood,
    "beat": beat,
    "exchange": exchange,
}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
