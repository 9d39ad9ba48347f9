"""The relays of a node: what goes through them is wrapped here, what comes through them unwrapped.

Peers know nothing of it. To them a relayed address is one more base: the source of what they send, and the local end of
what they receive.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from p2ptun.aead.buffer import Batch
from p2ptun.ice.budget import Budget
from p2ptun.node.demux import DatagramKind, classify
from p2ptun.node.drop import DropReason
from p2ptun.node.event import (
    CredentialWanted,
    NodeEvent,
    PathSelected,
    PeerEvent,
    PeerRestarted,
    PeerState,
    PeerStateChanged,
    RelayEvent,
    RelayFound,
    RelayLost,
    RelayRefused,
    RemoteCandidateFound,
    RemoteCandidateRemoved,
)
from p2ptun.node.flight import Flight
from p2ptun.node.link import BATCH_SIZE, FLIGHT_SIZE
from p2ptun.node.peer import Peer
from p2ptun.node.roster import Roster
from p2ptun.stun.turn import CHANNEL_HEADER_SIZE
from p2ptun.turn import event as turn
from p2ptun.turn.channel import Channel
from p2ptun.turn.order import Order
from p2ptun.turn.pool import Pool
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, RandomBytes, SendError, Transmit, Transport

PLACES = (64, 15.0)
"""Places of one peer that the relays let in: so many at once, and one more each time so many seconds have passed. What
a server has granted lasts for minutes, and is counted for all of us together."""

FRAMED_SIZE = FLIGHT_SIZE + FLIGHT_SIZE // 16  # headers and padding of the smallest datagrams that fill a flight


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram that came through a relay: a span of a batch, from a peer, to a relayed address of ours."""

    batch: Batch
    span: tuple[int, int]
    peer: Endpoint
    relayed: Endpoint


class Relaying:
    """Wraps and unwraps, and keeps peers and allocations in step.

    Whoever gives the pool a command or an input calls `settle` afterwards.

    Attributes:
        pool: Where the allocations are.
        is_used: Whether there ever was a server: who has none pays nothing for relays, datagram by datagram.
    """

    def __init__(self, roster: Roster, random_bytes: RandomBytes) -> None:
        self.pool = Pool(random_bytes)
        self.is_used = False
        self.drops: Counter[DropReason] = Counter()
        self._roster = roster
        self._servers: dict[Endpoint, tuple[Server, Endpoint | None]] = {}
        self._let_in: dict[str, set[Endpoint]] = {}  # by peer
        self._budgets: dict[str, Budget] = {}
        self._framed = Batch(FRAMED_SIZE)
        self._scratch = Batch(BATCH_SIZE)
        self._unread: deque[turn.Event] = deque()
        self._events: deque[NodeEvent] = deque()

    # Peers

    def introduce(self, peer: Peer, now: float) -> None:
        """Let a new peer use the relayed addresses there are."""
        for relayed, (server, mapped) in self._servers.items():
            peer.add_relayed_address(relayed, server.endpoint, mapped, now)

    def follow(self, peer: Peer, event: PeerEvent, now: float) -> None:
        """Act on what a peer tells: whom to let in by the relays, and when one of them may be lost."""
        match event:
            case RemoteCandidateFound(candidate) if candidate.transport is Transport.UDP:
                if self._lets_in(peer.name, candidate.endpoint, now):
                    self.pool.permit(candidate.endpoint, now)
            case RemoteCandidateRemoved() | PathSelected() | PeerRestarted():
                places = self._let_in.get(peer.name, ())
                left = [place for place in places if peer not in self._roster.find_by_place(place)]
                self._forget(peer.name, left, now)
            case PeerStateChanged(PeerState.SUSPECT) if peer.path is not None and self.pool.owns(peer.path.base):
                self.pool.probe(peer.path.base, now)
            case _:
                pass

    def dismiss(self, name: str, now: float) -> None:
        """Let in no longer whom a peer that is gone was the only one to need."""
        self._forget(name, list(self._let_in.get(name, ())), now)
        self._let_in.pop(name, None)
        self._budgets.pop(name, None)

    def send(self, peer: Peer, transmit: Transmit, now: float) -> None:
        """Send a peer's datagram over the relay that it leaves from."""
        if self._lets_in(peer.name, transmit.destination, now):
            self.pool.send(transmit.payload, transmit.source, transmit.destination, now)

    def move(self, *, is_awake_again: bool, now: float) -> None:
        """Know that the network has changed, or that this machine was asleep and nothing is left of what was asked.

        Where there is nothing to lose, servers that couldn't be reached before are asked again at once.
        """
        if is_awake_again or not self._servers:
            self.pool.reset(now)
        else:
            for relayed in self._servers:
                self.pool.probe(relayed, now)
        self.settle(now)

    def settle(self, now: float) -> None:
        """Let the peers, and our owner, know what has become of the allocations."""
        while (event := self._unread.popleft() if self._unread else self.pool.next_event()) is not None:
            self._handle(event, now)

    def give(self, transmits: deque[Transmit], events: deque[NodeEvent]) -> None:
        """Give what is to be sent, and what our owner is to know."""
        if not self.is_used:
            return
        while (transmit := self.pool.next_transmit()) is not None:
            transmits.append(transmit)
        events.extend(self._events)
        self._events.clear()

    def next_order(self) -> Order | None:
        """Give the next socket to a server to open or close."""
        return self.pool.next_order() if self.is_used else None

    def next_timeout(self) -> float | None:
        """Tell when the pool has something to do."""
        return self.pool.next_timeout() if self.is_used else None

    # The hot path

    def owns(self, source: Endpoint) -> bool:
        """Tell whether that is an address on a relay."""
        return self.is_used and self.pool.owns(source)

    def is_socket(self, local: Endpoint) -> bool:
        """Tell whether that is a socket to a server."""
        return self.is_used and self.pool.is_socket(local)

    def begin_flights(self) -> None:
        """Forget what was framed: it has left."""
        self._framed.clear()

    def frame(self, flight: Flight, now: float) -> Flight | None:
        """Give a flight from a relayed address the form in which it leaves for the server.

        Until a channel is bound each datagram goes in an indication of its own, and nothing remains to be sent.
        """
        channel = self.pool.channel(flight.source, flight.destination)
        if channel is not None:
            return Flight(self._frame(flight.datagrams, channel), channel.token, channel.server)
        for datagram in flight.datagrams:
            self.pool.send(bytes(datagram), flight.source, flight.destination, now)
        return None

    def unpack(self, datagrams: Batch, sources: Sequence[Endpoint], token: Endpoint, now: float) -> list[Arrival]:
        """Find what peers sent in what came from a server; the rest is the server's own word.

        The arrivals are good until the next call.
        """
        self._scratch.clear()
        arrivals: list[Arrival] = []
        raw = datagrams.buffer.raw
        for (start, end), source in zip(datagrams.spans, sources, strict=True):
            if start == end or classify(raw[start]) is not DatagramKind.CHANNEL_DATA:
                self.pool.receive_datagram(bytes(raw[start:end]), source, token, now)
                self._collect(arrivals)
            elif (parcel := self.pool.locate(raw, start, end, token)) is not None:
                arrivals.append(Arrival(datagrams, (parcel.start, parcel.end), parcel.peer, parcel.relayed))
        return arrivals

    # Below

    def _handle(self, event: turn.Event, now: float) -> None:
        match event:
            case turn.RelayGained(relayed, server, mapped):
                self._servers[relayed] = server, mapped
                for peer in self._roster:
                    peer.add_relayed_address(relayed, server.endpoint, mapped, now)
                self._tell(RelayFound(server, relayed))
            case turn.RelayLost(relayed, reason):
                server, _ = self._servers.pop(relayed)
                for peer in self._roster:
                    peer.remove_local_address(relayed, now)
                self._tell(RelayLost(server, relayed, reason.value))
            case turn.PeerRefused(relayed, refused):
                for peer in self._roster.find_by_place(refused):
                    peer.record_send_error(relayed, refused, SendError.REFUSED_BY_RELAY, now)
            case turn.ServerFailed(server, problem, code):
                self._tell(RelayRefused(server, problem.value, code))
            case turn.CredentialWanted(name):
                self._tell(CredentialWanted(name))
            case _:  # DataReceived, out of turn: `unpack` takes what comes in
                self.drops[DropReason.UNKNOWN_DATAGRAM] += 1

    def _forget(self, name: str, places: list[Endpoint], now: float) -> None:
        """Let in no longer those places where no peer is any more."""
        for place in places:
            self._let_in[name].discard(place)
            if not self._roster.find_by_place(place):
                self.pool.forget(place, now)

    def _lets_in(self, name: str, place: Endpoint, now: float) -> bool:
        """Note that a peer needs a place, unless it has come to need too many: others use the relays as well."""
        places = self._let_in.setdefault(name, set())
        if place in places:
            return True
        budget = self._budgets.setdefault(name, Budget(*PLACES))
        if now < budget.ready_at(1):
            self.drops[DropReason.TOO_MANY_PLACES] += 1
            return False
        budget.spend(1, now)
        places.add(place)
        return True

    def _tell(self, event: RelayEvent) -> None:
        self._events.append(NodeEvent("", event))

    def _collect(self, arrivals: list[Arrival]) -> None:
        """Take data out of the pool's events."""
        while (event := self.pool.next_event()) is not None:
            if not isinstance(event, turn.DataReceived):
                self._unread.append(event)
            elif self._scratch.append(event.payload):
                arrivals.append(Arrival(self._scratch, self._scratch.spans[-1], event.peer, event.relayed))
            else:
                self.drops[DropReason.QUEUE_FULL] += 1

    def _frame(self, datagrams: Batch, channel: Channel) -> Batch:
        """Put a header before each datagram, and over a stream padding behind it (RFC 8656 12.4, 12.5)."""
        framed = self._framed
        view, source = framed.buffer.view, datagrams.buffer.view
        before, at = len(framed.spans), framed.end
        number, is_padded = channel.number.to_bytes(2, "big"), channel.is_padded
        for start, end in datagrams.spans:
            size = end - start
            stop = at + CHANNEL_HEADER_SIZE + size
            padded = stop + (-size % 4 if is_padded else 0)
            if padded > framed.buffer.size:
                self.drops[DropReason.QUEUE_FULL] += 1
                continue
            view[at : at + 2] = number
            view[at + 2 : at + CHANNEL_HEADER_SIZE] = size.to_bytes(2, "big")
            view[at + CHANNEL_HEADER_SIZE : stop] = source[start:end]
            view[stop:padded] = bytes(padded - stop)
            framed.spans.append((at, padded))
            at = padded
        return framed.share(framed.spans[before:])
