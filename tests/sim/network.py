"""A network with a virtual clock: hosts, latency, loss, repetition, MTU, NATs, servers. Everything follows a seed.

Hosts are the owners of machines: they are handed datagrams and time, and give datagrams. The network moves the clock
from event to event, so an hour of keepalives takes no time, and a host that spins is found at once.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import decode_message, encode_message, success_response
from p2ptun.types import Endpoint, IPAddress, Transmit

from .nat import Nat

START = 1000.0
STEPS = 500_000  # a run that needs more is a busy loop


def at(text: str) -> Endpoint:
    """Read `address:port`, IPv6 in brackets."""
    address, _, port = text.rpartition(":")
    return Endpoint.of(address.strip("[]"), int(port))


class Host(Protocol):
    """What can be plugged into the network."""

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None: ...

    def handle_timeout(self, now: float) -> None: ...

    def next_transmit(self) -> Transmit | None: ...

    def next_timeout(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """A datagram as it left its host, and what became of it."""

    at: float
    host: Host
    packet: Transmit


class StunServer:
    """Answers binding requests with the address they came from; a slow one does so after `delay` seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.answered = 0
        self._due_by = 0.0
        self._answers: list[tuple[float, Transmit]] = []

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Prepare an answer."""
        reply = encode_message(success_response(decode_message(data), (XOR_MAPPED_ADDRESS, source)))
        self._answers.append((now + self.delay, Transmit(reply, local, source)))
        self._due_by = now

    def handle_timeout(self, now: float) -> None:
        """Let answers go whose time has come."""
        self._due_by = now

    def next_transmit(self) -> Transmit | None:
        """Give an answer that is due."""
        if self._answers and self._answers[0][0] <= self._due_by:
            self.answered += 1
            return self._answers.pop(0)[1]
        return None

    def next_timeout(self) -> float | None:
        """Tell when the next answer is due."""
        return self._answers[0][0] if self._answers else None


class Network:
    """Carries datagrams between hosts.

    Attributes:
        latency: One way, in seconds; `jitter` is added to it, by chance up to so much: more than nothing reorders.
        loss: The part of the datagrams that is lost, 0 to 1; `repetition` the part that arrives twice.
        mtu: The longest payload that gets through.
        is_cut: Tells by source and destination, as the sender sees them, what the network swallows now.
        lost: Counts what didn't arrive, by reason.
        log: Every datagram that a host sent.
    """

    def __init__(self, seed: int = 1, latency: float = 0.02, loss: float = 0.0) -> None:
        self.seed = seed
        self.now = START
        self.latency = latency
        self.jitter = 0.0
        self.loss = loss
        self.repetition = 0.0
        self.mtu = 1472
        self.is_cut: Callable[[Transmit], bool] = lambda packet: False
        self.lost: Counter[str] = Counter()
        self.log: list[Sent] = []
        self._random = random.Random(seed)
        self._sequence = count()
        self._flying: list[tuple[float, int, Transmit]] = []
        self._hosts: list[Host] = []
        self._sockets: dict[Endpoint, Host] = {}
        self._nats: list[Nat] = []

    # Building

    def plug(self, host: Host, *sockets: Endpoint) -> None:
        """Connect sockets of a host; a new host gets time from now on."""
        if host not in self._hosts:
            self._hosts.append(host)
        for socket in sockets:
            self._sockets[socket] = host

    def unplug(self, *sockets: Endpoint) -> None:
        """Disconnect sockets: what is sent to them is lost."""
        for socket in sockets:
            del self._sockets[socket]

    def add_nat(self, nat: Nat) -> Nat:
        """Put a NAT before the addresses inside it."""
        self._nats.append(nat)
        return nat

    def add_stun_server(self, socket: str, delay: float = 0.0) -> Endpoint:
        """Run a STUN server."""
        self.plug(StunServer(delay), at(socket))
        return at(socket)

    # Running

    def run(self, seconds: float = 60.0, until: Callable[[], bool] = lambda: False) -> bool:
        """Move the clock until `until` holds or `seconds` are over; tell whether it holds."""
        end = self.now + seconds
        self.flush()
        for _ in range(STEPS):
            if until():
                return True
            following = self._next_at()
            if following is None or following > end:
                self.now = end
                return until()
            self.now = max(self.now, following)
            self._step()
        raise AssertionError(f"busy loop at {self.now}, seed {self.seed}")

    def flush(self) -> None:
        """Take up what the hosts want sent."""
        for host in self._hosts:
            self._drain(host)

    def deliver(self, packet: Transmit) -> None:
        """Hand a datagram, which may be forged, to whoever has a socket at its destination, at once."""
        host = self._sockets.get(packet.destination)
        if host is None:
            self.lost["nobody there"] += 1
            return
        host.receive(packet.payload, packet.source, packet.destination, self.now)
        self._drain(host)

    # Below: the way of a datagram

    def _drain(self, host: Host) -> None:
        while (packet := host.next_transmit()) is not None:
            self.log.append(Sent(self.now, host, packet))
            self._carry(packet)

    def _carry(self, packet: Transmit) -> None:
        """Take a datagram through the sender's NAT, and to the receiver's door if it isn't lost on the way."""
        if self.is_cut(packet):
            self.lost["cut"] += 1
        elif len(packet.payload) > self.mtu:
            self.lost["too big"] += 1
        elif self._random.random() < self.loss:
            self._translate(packet)  # it was lost behind the NAT, which saw it
            self.lost["loss"] += 1
        elif (translated := self._translate(packet)) is not None:
            for _ in range(2 if self._random.random() < self.repetition else 1):
                arrival = self.now + self.latency + self._random.random() * self.jitter
                heapq.heappush(self._flying, (arrival, next(self._sequence), translated))

    def _translate(self, packet: Transmit) -> Transmit | None:
        here, there = self._nat_around(packet.source.address), self._nat_around(packet.destination.address)
        if here is there:
            return packet
        if there is not None:
            self.lost["no route to a private address"] += 1
            return None
        assert here is not None
        return Transmit(packet.payload, here.outbound(packet.source, packet.destination, self.now), packet.destination)

    def _arrive(self, packet: Transmit) -> None:
        nat = next((nat for nat in self._nats if nat.address == packet.destination.address), None)
        if nat is None:
            self.deliver(packet)
            return
        inner = nat.inbound(packet.destination.port, packet.source, self.now)
        if inner is None:
            self.lost["filtered"] += 1
        else:
            self.deliver(Transmit(packet.payload, packet.source, inner))

    def _nat_around(self, address: IPAddress) -> Nat | None:
        return next((nat for nat in self._nats if nat.covers(address)), None)

    def _step(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            self._arrive(heapq.heappop(self._flying)[2])
        for host in self._hosts:
            due = host.next_timeout()
            if due is not None and due <= self.now:
                host.handle_timeout(self.now)
                self._drain(host)
                following = host.next_timeout()
                assert following is None or following > self.now, f"{host} spins, seed {self.seed}"

    def _next_at(self) -> float | None:
        times = [at for host in self._hosts if (at := host.next_timeout()) is not None]
        if self._flying:
            times.append(self._flying[0][0])
        return min(times, default=None)
