"""A network with a virtual clock: hosts, links, gateways, servers. Everything follows a seed.

Hosts are the owners of machines: they are handed datagrams and time, and give datagrams. The network moves the clock
from event to event, so an hour of keepalives takes no time, and a host that spins is found at once. An event costs the
logarithm of how many there are, so thousands of hosts can run.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from itertools import count
from typing import TypeVar

from p2ptun.types import Endpoint, IPAddress, SendError, Transmit, Transport

from .agenda import Agenda
from .host import Count, ErrorHost, Host, Sent
from .link import Link
from .nat import Gateway, Nat
from .server import StunServer
from .stream import Kind, Parcel, Streams
from .topology import Climb, Realm, Topology

START = 1000.0
SENT_AT_ONCE = 10_000  # datagrams that a host sends without a pause: more are a loop
WAKES = 50_000  # in a virtual second: a host that acts more often on its timers is a busy loop

GatewayT = TypeVar("GatewayT", bound=Gateway)


def at(text: str, transport: Transport = Transport.UDP) -> Endpoint:
    """Read `address:port`, IPv6 in brackets."""
    address, _, port = text.rpartition(":")
    return Endpoint.of(address.strip("[]"), int(port), transport)


@dataclass(slots=True)
class _Seat:
    """What the network knows of a host: when it is woken next, how long it slept, what it sent."""

    due_at: float | None = None
    slept: float = 0.0
    asleep_at: float | None = None
    second: int = 0
    wakes: int = 0

    def clock(self, now: float) -> float:
        """Give the host's own time, which stands still while it sleeps (CLOCK_MONOTONIC does)."""
        return (now if self.asleep_at is None else self.asleep_at) - self.slept


class Network:
    """Carries datagrams between hosts.

    Attributes:
        core: The link that every datagram takes. `latency`, `jitter`, `loss`, `repetition` and `mtu` are its.
        links: Further ones, by the address of the interface that is on them: a host's, or a NAT's public one.
        is_cut: Tells by source and destination, as the sender sees them, what the network swallows now.
        lost: Counts what didn't arrive, by reason.
        log: Every datagram that a host sent, as long as `has_log`.
        counts: What each host sent, in numbers.
    """

    def __init__(self, seed: int = 1, latency: float = 0.02, loss: float = 0.0) -> None:
        self.seed = seed
        self.now = START
        self.core = Link(latency=latency, loss=loss)
        self.links: dict[IPAddress, Link] = {}
        self.is_cut: Callable[[Transmit], bool] = lambda packet: False
        self.lost: Counter[str] = Counter()
        self.has_log = True
        self.log: list[Sent] = []
        self.counts: dict[Host, Count] = {}
        self._random = random.Random(seed)
        self._agenda = Agenda()
        self._topology = Topology()
        self._seats: dict[Host, _Seat] = {}
        self._streams = Streams(self._carry, self.later, self.plug_beside)

    # Building

    def plug(self, host: Host, *sockets: Endpoint, behind: Gateway | None = None) -> None:
        """Connect sockets of a host, behind the gateway that covers them; a new host gets time from now on."""
        self._seats.setdefault(host, _Seat())
        self.counts.setdefault(host, Count())
        for socket in sockets:
            self._topology.plug(host, socket, behind or self._topology.realm_around(socket.address))

    def plug_beside(self, host: Host, socket: Endpoint, base: Endpoint) -> None:
        """Connect one more socket of a host where another of its sockets is."""
        self._topology.plug(host, socket, self._topology.home(host, base))

    def has_socket(self, host: Host, socket: Endpoint) -> bool:
        """Tell whether that socket of a host is connected."""
        return self._topology.has_socket(host, socket)

    def unplug(self, *sockets: Endpoint) -> None:
        """Disconnect sockets: what is sent to them is lost, and what is sent from them an error."""
        for socket in sockets:
            for host in self._topology.owners(socket):
                self._topology.unplug(host, socket)
                self._streams.forget(host, socket)

    def add_nat(self, nat: GatewayT, behind: Gateway | None = None) -> GatewayT:
        """Put a NAT or a firewall before the addresses inside it. Without `behind`, its public address says where."""
        self._topology.add_gateway(nat, behind)
        return nat

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """The NATs and firewalls, in the order in which they were added."""
        return self._topology.gateways

    def renumber(self, nat: Nat, public: str) -> None:
        """Give a NAT another public address. Its bindings don't survive that."""
        nat.address = ip_address(public)
        nat.reboot()
        self._topology.forget_faces()

    def add_stun_server(self, socket: str, delay: float = 0.0) -> Endpoint:
        """Run a STUN server."""
        self.plug(StunServer(delay), at(socket))
        return at(socket)

    def link(self, address: str) -> Link:
        """Give the link of an interface, a perfect one at first."""
        return self.links.setdefault(ip_address(address), Link())

    # Hosts that sleep

    def time_of(self, host: Host) -> float:
        """Tell what a host's clock says."""
        return self._seats[host].clock(self.now)

    def suspend(self, host: Host) -> None:
        """Stop a host and its clock: it gets neither time nor datagrams."""
        self._seats[host].asleep_at = self.now

    def resume(self, host: Host) -> None:
        """Let a host go on. It doesn't learn here that it slept."""
        seat = self._seats[host]
        assert seat.asleep_at is not None
        seat.slept += self.now - seat.asleep_at
        seat.asleep_at = None
        self._attend(host)

    # Running

    def run(self, seconds: float = 60.0, until: Callable[[], bool] = lambda: False) -> bool:
        """Move the clock until `until` holds or `seconds` are over; tell whether it holds."""
        end = self.now + seconds
        self.flush()
        while not until():
            following = self._agenda.next_at()
            if following is None or following > end:
                self.now = end
                return until()
            self.now = max(self.now, following)
            self._agenda.act(self.now)
        return True

    def flush(self) -> None:
        """Take up what the hosts want sent, and when they want to be woken."""
        for host in self._seats:
            self._attend(host)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen; it may talk to hosts, if it flushes after that."""
        self._agenda.note(self.now + seconds, action)

    def deliver(self, packet: Transmit) -> None:
        """Hand a datagram, which may be forged, to whoever has a socket at its destination, at once."""
        owners = self._topology.owners(packet.destination)
        if not owners:
            self.lost["nobody there"] += 1
        for host in owners[:1]:
            self._hand_over(host, Parcel(packet))

    # Below: a host and its clock

    def _attend(self, host: Host) -> None:
        """Drain a host, and note when it wants to act."""
        seat = self._seats[host]
        if seat.asleep_at is not None:
            return
        for sent in count():
            if (packet := host.next_transmit()) is None:
                break
            assert sent < SENT_AT_ONCE, f"{host} never stops sending to {packet.destination}, seed {self.seed}"
            self._send(host, packet)
        due = host.next_timeout()
        due_at = None if due is None else max(self.now, due + seat.slept)
        if due_at is not None and due_at != seat.due_at:
            self._agenda.note(due_at, partial(self._wake, host, due_at))
        seat.due_at = due_at

    def _wake(self, host: Host, due_at: float) -> None:
        seat = self._seats[host]
        if seat.due_at != due_at or seat.asleep_at is not None:
            return  # it changed its mind
        seat.due_at = None
        self._watch(host, seat)
        due = host.next_timeout()
        now = seat.clock(self.now) if due is None else max(due, seat.clock(self.now))  # sleep rounds
        host.handle_timeout(now)
        self._attend(host)
        following = host.next_timeout()
        assert following is None or following > now, f"{host} spins, seed {self.seed}"

    def _watch(self, host: Host, seat: _Seat) -> None:
        if seat.second != int(self.now):
            seat.second, seat.wakes = int(self.now), 0
        seat.wakes += 1
        assert seat.wakes < WAKES, f"{host}: busy loop at {self.now}, seed {self.seed}"

    def _hand_over(self, host: Host, parcel: Parcel) -> None:
        seat = self._seats[host]
        if seat.asleep_at is not None:
            self.lost["asleep"] += 1
            return
        packet, now = parcel.packet, seat.clock(self.now)
        if parcel.kind is Kind.DATAGRAM:
            host.receive(packet.payload, packet.source, packet.destination, now)
        else:
            self._streams.receive(host, parcel, now)
        self._attend(host)

    def _refuse(self, host: Host, packet: Transmit, error: SendError) -> None:
        self.lost[error.value] += 1
        if isinstance(host, ErrorHost):
            host.record_send_error(packet.source, packet.destination, error, self.time_of(host))

    # Below: the way of a datagram

    def _send(self, host: Host, packet: Transmit) -> None:
        self.counts[host].add(packet.payload)
        if self.has_log:
            self.log.append(Sent(self.now, host, packet))
        own = self.links.get(packet.source.address)
        if not self._topology.has_socket(host, packet.source):
            self._refuse(host, packet, SendError.SOURCE_GONE)
        elif packet.source.transport is Transport.TCP:
            self._streams.send(host, packet)
        elif own is not None and len(packet.payload) > own.mtu:
            self._refuse(host, packet, SendError.TOO_LARGE)
        else:
            self._carry(host, Parcel(packet))

    def _carry(self, host: Host, parcel: Parcel) -> None:
        """Take a parcel through the sender's gateways, and to the receiver's door if it isn't lost on the way."""
        if self._topology.has_socket(host, parcel.packet.source):
            self._carry_from(self._topology.home(host, parcel.packet.source), host, parcel)

    def _carry_from(self, realm: Realm, host: Host, parcel: Parcel) -> None:
        packet, core = parcel.packet, self.core
        own = self.links.get(packet.source.address)
        problem = own.problem(len(packet.payload), self._random, self.now) if own is not None else None
        if problem is not None:
            self._lose(host, parcel, problem)
            return
        lost = "cut" if self.is_cut(packet) else core.problem(len(packet.payload), self._random, self.now)
        climb = self._topology.climb(realm, packet, self.now)  # what is lost was lost behind the NAT, which saw it
        if isinstance(climb, str) or lost is not None:
            self._lose(host, parcel, lost or str(climb))
            return
        wires = [link for wire in climb.wires if (link := self.links.get(wire)) is not None]
        for link in wires[own is not None :]:
            if (problem := link.problem(len(packet.payload), self._random, self.now)) is not None:
                self._lose(host, parcel, problem)
                return
        for _ in range(max(link.copies(self._random) for link in (core, *wires))):
            delay = sum(link.delay(self._random) for link in (core, *wires))
            self.later(delay, partial(self._descend, host, parcel, climb))

    def _descend(self, host: Host, parcel: Parcel, climb: Climb) -> None:
        """Bring a parcel one realm further in: over the link there, and through the gateway at its end."""
        link = self.links.get(climb.packet.destination.address)
        if link is None:
            self._enter(host, parcel, climb)
        elif (problem := link.problem(len(climb.packet.payload), self._random, self.now)) is not None:
            self._lose(host, parcel, problem)
        else:
            for _ in range(link.copies(self._random)):
                self.later(link.delay(self._random), partial(self._enter, host, parcel, climb))

    def _enter(self, host: Host, parcel: Parcel, climb: Climb) -> None:
        packet, realm = climb.packet, climb.realm
        receiver = self._topology.host_at(realm, packet.destination)
        gateway = self._topology.gateway_at(realm, packet.destination.address)
        if receiver is not None:
            self._hand_over(receiver, replace(parcel, packet=packet))
        elif gateway is None:
            self._lose(host, parcel, "nobody there")
            self._reset(realm, parcel, packet)
        elif (inner := gateway.inbound(packet.destination, packet.source, self.now)) is None:
            self._lose(host, parcel, "filtered")
        else:
            self._descend_into(host, parcel, climb, gateway, inner)

    def _descend_into(self, host: Host, parcel: Parcel, climb: Climb, realm: Realm, inner: Endpoint) -> None:
        inside = Climb(replace(climb.packet, destination=inner), realm, ())
        if inner == climb.packet.destination:  # a firewall: its link and the host's have one address
            self._enter(host, parcel, inside)
        else:
            self._descend(host, parcel, inside)

    def _reset(self, realm: Realm, parcel: Parcel, packet: Transmit) -> None:
        """Let the kernel of a host answer for a port on which nobody listens."""
        owner = self._topology.owner_of(realm, packet.destination.address)
        if owner is not None and parcel.kind is not Kind.DATAGRAM and parcel.kind is not Kind.RESET:
            self._carry_from(realm, owner, Parcel(Transmit(b"", packet.destination, packet.source), Kind.RESET))

    def _lose(self, host: Host, parcel: Parcel, reason: str) -> None:
        self.lost[reason] += 1
        if parcel.kind is not Kind.DATAGRAM:
            self._streams.record_lost(host, parcel, self.time_of(host))

    # The words of the core

    @property
    def latency(self) -> float:
        return self.core.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.core.latency = seconds

    @property
    def jitter(self) -> float:
        return self.core.jitter

    @jitter.setter
    def jitter(self, seconds: float) -> None:
        self.core.jitter = seconds

    @property
    def loss(self) -> float:
        return self.core.loss

    @loss.setter
    def loss(self, part: float) -> None:
        self.core.loss = part

    @property
    def repetition(self) -> float:
        return self.core.repetition

    @repetition.setter
    def repetition(self, part: float) -> None:
        self.core.repetition = part

    @property
    def mtu(self) -> int:
        return self.core.mtu

    @mtu.setter
    def mtu(self, size: int) -> None:
        self.core.mtu = size
