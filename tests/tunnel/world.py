"""Two sessions, a virtual clock and a network in between that a test can make as bad as it likes."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Callable

from p2ptun.aead.algorithm import Algorithm
from p2ptun.errors import AuthenticationFailed
from p2ptun.noise.keypair import KeyPair
from p2ptun.tunnel.config import SessionConfig
from p2ptun.tunnel.event import SessionEvent
from p2ptun.tunnel.index import IndexTable
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.psk import NO_PSK
from p2ptun.tunnel.session import Session
from p2ptun.tunnel.wire import DATA_HEADER, DATA_HEADER_SIZE, FrameKind, MessageType, peek_index

START = 1000.0
ALGORITHMS = (Algorithm.CHACHA20_POLY1305, Algorithm.AEGIS_128L)


def stream_of(seed: object) -> Callable[[int], bytes]:
    """Return a `random_bytes` that is the same in every run."""
    numbers = itertools.count()

    def random_bytes(size: int) -> bytes:
        return hashlib.shake_128(f"{seed} {next(numbers)}".encode()).digest(size)

    return random_bytes


def key_pair(name: str) -> KeyPair:
    return KeyPair.generate(stream_of(name))


# `GREATER` has the greater public key: its initiation counts when both initiate at once.
LESSER, GREATER = sorted((key_pair("one"), key_pair("other")), key=lambda pair: pair.public)


def config_of(static: KeyPair, remote: KeyPair, **changes: object) -> SessionConfig:
    values: dict[str, object] = {"psk": NO_PSK, "algorithms": ALGORITHMS, **changes}
    return SessionConfig(KeyPair(static.private, static.public), remote.public, **values)  # type: ignore[arg-type]


class End:
    """A session with a plain data plane: one payload, one datagram."""

    def __init__(self, name: str, config: SessionConfig) -> None:
        self.indices: IndexTable[str] = IndexTable(stream_of(f"{name} indices"))
        self.session = Session(
            config, stream_of(f"{name} session"), lambda: self.indices.claim(name), self.indices.release
        )
        self.events: list[SessionEvent] = []
        self.received: list[bytes] = []
        self.replays = 0
        self.lost_to_keys = 0

    def seal(self, payload: bytes, now: float) -> bytes | None:
        keypair = self.session.sending
        if keypair is None:
            self.session.initiate(now)
            return None
        datagram = keypair.seal(payload, FrameKind.BUNDLE)
        self.session.record_sent(1, now)
        return datagram

    def take(self, datagram: bytes, now: float) -> None:
        if datagram[0] != MessageType.DATA:
            self.session.receive_datagram(datagram, now)
            return
        keypair = self.session.receiving(peek_index(datagram))
        if keypair is None:
            self.lost_to_keys += 1
            return
        self._open(keypair, datagram, now)

    def _open(self, keypair: Keypair, datagram: bytes, now: float) -> None:
        _, counter = DATA_HEADER.unpack_from(datagram)
        try:
            plaintext = keypair.receive_key.open(datagram[DATA_HEADER_SIZE:], counter)
        except AuthenticationFailed:
            self.lost_to_keys += 1
            return
        if not keypair.replay.accept(counter):
            self.replays += 1
            return
        is_data = plaintext[-1] == FrameKind.BUNDLE
        keypair.has_unanswered_data |= is_data
        self.session.record_received(keypair, now)
        if is_data:
            self.received.append(plaintext[:-1])
        else:
            self.session.receive_control(plaintext[:-1], now)

    def drain(self) -> list[bytes]:
        while (event := self.session.next_event()) is not None:
            self.events.append(event)
        datagrams = []
        while (datagram := self.session.next_transmit()) is not None:
            datagrams.append(datagram)
        return datagrams


Fate = Callable[[bytes], list[float]]
"""Decides what the network does to a datagram: a delay in seconds for each copy that arrives."""


class World:
    """Ends `a` and `b`; `now` moves from event to event."""

    def __init__(self, *, initiator: KeyPair = LESSER, responder: KeyPair = GREATER, **changes: object) -> None:
        self.now = START
        self.a = End("a", config_of(initiator, responder, **changes))
        self.b = End("b", config_of(responder, initiator, **changes))
        self.fate: Fate = lambda datagram: [0.01]
        self._order = itertools.count()
        self._flying: list[tuple[float, int, End, bytes]] = []
        self.log: list[tuple[str, bytes]] = []

    def send(self, end: End, datagram: bytes) -> None:
        self.log.append(("a" if end is self.a else "b", datagram))
        for delay in self.fate(datagram):
            heapq.heappush(self._flying, (self.now + delay, next(self._order), self.other(end), datagram))

    def other(self, end: End) -> End:
        return self.b if end is self.a else self.a

    def say(self, end: End, payload: bytes) -> bool:
        """Send data; False when there are no keys for it yet."""
        datagram = end.seal(payload, self.now)
        self.flush()
        if datagram is not None:
            self.send(end, datagram)
        return datagram is not None

    def flush(self) -> None:
        for end in (self.a, self.b):
            for datagram in end.drain():
                self.send(end, datagram)

    def run(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.flush()
        until = self.now + seconds
        while (at := self._next_at()) is not None and at <= until:
            self.now = max(self.now, at)
            while self._flying and self._flying[0][0] <= self.now:
                _, _, end, datagram = heapq.heappop(self._flying)
                end.take(datagram, self.now)
            for end in (self.a, self.b):
                end.session.handle_timeout(self.now)
                after = end.session.next_timeout()
                assert after is None or after > self.now
            self.flush()
        self.now = until

    def connect(self) -> None:
        """Let `a` initiate and both sides get their keys."""
        self.a.session.initiate(self.now)
        self.run(0.1)
        assert self.a.session.sending is not None
        assert self.b.session.sending is not None

    def _next_at(self) -> float | None:
        times = [self.a.session.next_timeout(), self.b.session.next_timeout()]
        times += [self._flying[0][0]] if self._flying else []
        return min((at for at in times if at is not None), default=None)
