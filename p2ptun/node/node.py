"""A node: all peers behind one set of sockets and one TUN device. Sorts what comes in, routes what goes out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from p2ptun.aead.buffer import Batch
from p2ptun.deadlines import earliest
from p2ptun.ice.candidate_type import TcpType
from p2ptun.ice.event import RestartReason
from p2ptun.ice.pacer import Pacer
from p2ptun.ice.pair import SEND_PROBLEMS
from p2ptun.node.demux import DatagramKind, classify
from p2ptun.node.drop import DropReason
from p2ptun.node.event import NodeEvent
from p2ptun.node.flight import Flight
from p2ptun.node.link import BATCH_SIZE, Identity, Link, Workspace
from p2ptun.node.order import OpenSpares, Order
from p2ptun.node.parameters import IceParameters
from p2ptun.node.peer import Peer
from p2ptun.node.relaying import Relaying
from p2ptun.node.roster import Roster
from p2ptun.node.routes import Routes
from p2ptun.node.surroundings import Surroundings
from p2ptun.node.transactions import TransactionTable
from p2ptun.noise.keypair import KeyPair
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.message import MessageClass, peek_header, peek_username
from p2ptun.tunnel.admission import TokenBucket
from p2ptun.tunnel.index import IndexTable
from p2ptun.tunnel.wire import MessageType, peek_index
from p2ptun.turn.pool import Pool
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, RandomBytes, SendError, Transmit

DATA = MessageType.DATA.value

STRANGERS_PER_SECOND = 50.0
STRANGER_BURST = 50
"""STUN requests that name nobody of ours and are answered by an error all the same: a peer with a stale description
learns by it. More of them come only from somebody who wants us busy, or busy at somebody else's address."""

MAX_CLAIMANTS = 16
"""Peers that may be the sender of one handshake: each costs an X25519 or more. Several have a place in common when it
is a private address and each is in a network of its own; those whose path leads there come first."""


class Node:
    """The top of the core: five doors, and the hot path in batches.

    `receive_datagrams` and `send_packets` return what is to be written and sent at once; everything else, the answers
    to handshakes included, comes out of `next_transmit` and `next_event`.

    What a datagram, a packet or a deadline costs doesn't depend on how many peers there are: none is asked that it
    doesn't concern. Commands may go to a peer itself as well; the node gets to know of it.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self.pacer = Pacer()  # for the agents of all peers
        self.indices: IndexTable[Link] = IndexTable(random_bytes)
        self.routes = Routes()
        self._random_bytes = random_bytes
        self._roster = Roster()
        self._relaying = Relaying(self._roster, random_bytes)
        self.drops = self._relaying.drops
        self._transactions = TransactionTable()
        self._strangers = TokenBucket(STRANGERS_PER_SECOND, STRANGER_BURST)
        self._surroundings = Surroundings()
        self._workspace = Workspace()
        self._opened = Batch(BATCH_SIZE)  # never more than the datagrams that it came in
        self._transmits: deque[Transmit] = deque()
        self._orders: deque[Order] = deque()
        self._events: deque[NodeEvent] = deque()

    # Getters

    @property
    def peers(self) -> list[Peer]:
        """All peers, in the order in which they were added."""
        return list(self._roster)

    @property
    def relays(self) -> Pool:
        """The servers that relay for us."""
        return self._relaying.pool

    def peer(self, name: str) -> Peer:
        """Return the peer called `name`. Raises LocalProtocolError when there is none."""
        return self._roster.get(name)

    def why_awake(self) -> str | None:
        """Name the next deadline."""
        self._collect()
        due, relays_at = self._roster.next_due, self.relays.next_timeout()
        if due is None or (relays_at is not None and relays_at < due[0]):
            return None if relays_at is None else f"turn {self.relays.next_timer}"
        return due[1].next_timer

    # Commands

    def add_peer(self, peer: Peer, now: float) -> None:
        """Take a peer in, with the sockets and servers there are. Raises LocalProtocolError when its name is taken."""
        self._roster.add(peer, now)
        self._surroundings.introduce(peer, now)
        self._relaying.introduce(peer, now)

    def remove_peer(self, name: str, now: float) -> None:
        """Say goodbye to a peer and forget it. Raises LocalProtocolError when no peer is called `name`."""
        self.peer(name).close(now)
        self._collect()
        self._roster.remove(name)
        self._relaying.dismiss(name, now)
        self._orders = deque(each for each in self._orders if not (isinstance(each, OpenSpares) and each.peer == name))
        self.routes.table.remove_peer(name)

    def connect(
        self, name: str, identity: Identity, static: KeyPair, mtu: int, description: IceParameters, now: float
    ) -> None:
        """Begin to connect a peer whose description has come.

        Raises:
            LocalProtocolError: If no peer is called `name`, or the identity is our own.
            AuthenticationFailed: If its public key is no key.
        """
        peer = self.peer(name)
        table = self.routes.table
        link = Link(name, identity, static, mtu, table, self.indices, self._random_bytes, self._workspace)
        for network in identity.allowed_ips:
            table.insert(network, name)
        peer.connect(link, description, now)

    def add_local_address(self, base: Endpoint, now: float, tcp_type: TcpType | None = None) -> None:
        """Let every peer gather on the socket bound to `base`; see `Agent.add_local_address`."""
        self._surroundings.bases[base] = tcp_type
        self.relays.occupy(base, now)
        self._settle_relays(now)
        for peer in self._roster:
            peer.add_local_address(base, now, tcp_type)

    def add_spare_address(self, name: str, base: Endpoint, now: float) -> None:
        """Give a peer a socket that `OpenSpares` asked for; nobody else uses it. Harmless when the peer has gone."""
        if (peer := self._roster.find(name)) is not None:
            self.relays.occupy(base, now)
            peer.add_spare_address(base, now)

    def remove_local_address(self, base: Endpoint, now: float) -> None:
        """Let every peer forget a socket that is gone, with the paths from it. Harmless when none knows it."""
        self._surroundings.forget(base)
        self.relays.vacate(base)
        for peer in self._roster:
            peer.remove_local_address(base, now)

    def add_stun_server(self, server: Endpoint, now: float) -> None:
        """Let every peer ask that server what our addresses look like from outside."""
        self._surroundings.servers[server] = None
        for peer in self._roster:
            peer.add_stun_server(server, now)

    def add_turn_server(
        self, server: Server, credential: LongTermCredential | None, expires_at: float | None, now: float
    ) -> None:
        """Let that server relay for us; `credential` is good until `expires_at`. See `Pool.add_server`."""
        self._relaying.is_used = True
        self.relays.add_server(server, credential, expires_at, now)
        self._settle_relays(now)

    def set_turn_credential(
        self, name: str, credential: LongTermCredential, expires_at: float | None, now: float
    ) -> None:
        """Give a new credential for the servers of that name; the answer to `CredentialWanted`."""
        self.relays.set_credential(name, credential, expires_at, now)
        self._settle_relays(now)

    def add_mapped_address(self, base: Endpoint, external: Endpoint, gateway: Endpoint, now: float) -> None:
        """Let every peer be told that `gateway` forwards `external` to the socket bound to `base`."""
        self._surroundings.mapped[base, gateway] = external
        for peer in self._roster:
            peer.add_mapped_address(base, external, gateway, now)

    def remove_mapped_address(self, base: Endpoint, gateway: Endpoint, now: float) -> None:
        """Know that it forwards nothing there any more. Harmless when it didn't."""
        if self._surroundings.mapped.pop((base, gateway), None) is not None:
            for peer in self._roster:
                peer.remove_mapped_address(base, gateway, now)

    def end_of_servers(self, now: float) -> None:
        """No more servers will come: gathering ends with the last answer, and when the relays are settled."""
        self._surroundings.has_all_servers = True
        self.relays.end_of_servers(now)
        self._settle_relays(now)

    def restart(self, reason: RestartReason, now: float) -> None:
        """Let every peer look for a path anew, while the old ones carry traffic as long as they work."""
        self._relaying.move(is_awake_again=reason is RestartReason.RESUMED, now=now)
        for peer in self._roster:
            peer.restart(reason, now)

    def close(self, now: float) -> None:
        """Say goodbye to everybody, and to the relays when that has gone out."""
        for peer in self._roster:
            peer.close(now)
        self._collect()
        self.relays.close(now)

    # The hot path

    def send_packets(self, packets: Batch, now: float) -> list[Flight]:
        """Seal IP packets from the TUN device for the peers that they are routed to.

        The flights' datagrams are good until the next call.
        """
        self._workspace.flights.clear()
        self._relaying.begin_flights()
        flights = []
        for name, share in self.routes.split(packets, self.drops):
            flight = self._roster.get(name).send_packets(share, now)
            if flight is not None and self._relaying.owns(flight.source):
                flight = self._relaying.frame(flight, now)
            if flight is not None:
                flights.append(flight)
        return flights

    def receive_datagrams(self, datagrams: Batch, sources: Sequence[Endpoint], local: Endpoint, now: float) -> Batch:
        """Take what one socket received; return the IP packets for the TUN device, good until the next call."""
        packets = self._opened
        packets.clear()
        heard: dict[Peer, tuple[Endpoint, Endpoint]] = {}
        if self._relaying.is_socket(local):
            for each in self._relaying.unpack(datagrams, sources, local, now):
                self._receive(each.batch, each.span, each.peer, each.relayed, packets, heard, now)
            self._settle_relays(now)
        else:
            for span, source in zip(datagrams.spans, sources, strict=True):
                self._receive(datagrams, span, source, local, packets, heard, now)
        for peer, place in heard.items():
            peer.record_opened(*place, now)
        return packets

    # Inputs

    def record_send_error(self, source: Endpoint, destination: Endpoint, error: SendError, now: float) -> None:
        """Take note that the kernel refused to send. It concerns whoever is there; a server is everybody's."""
        if self.relays.is_socket(source):
            self.relays.record_send_error(source, destination, error, now)
            self._settle_relays(now)
            return
        if SEND_PROBLEMS[error] is None:
            return
        is_server = destination in self._surroundings.servers
        for peer in self._roster if is_server else self._roster.find_by_place(destination):
            peer.record_send_error(source, destination, error, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        self._collect()
        self._transactions.handle_timeout(now)
        self.relays.handle_timeout(now)
        self._settle_relays(now)
        for peer in self._roster.take_due(now):
            peer.handle_timeout(now)

    # Outputs

    def next_order(self) -> Order | None:
        """Return the next socket to open or close."""
        self._collect()
        return self._orders.popleft() if self._orders else self._relaying.next_order()

    def next_transmit(self) -> Transmit | None:
        """Return the next datagram to send."""
        self._collect()
        return self._transmits.popleft() if self._transmits else None

    def next_event(self) -> NodeEvent | None:
        """Return the next thing that happened."""
        self._collect()
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""
        self._collect()
        due = self._roster.next_due
        return earliest((None if due is None else due[0], self._relaying.next_timeout()))

    def _collect(self) -> None:
        """Take what the peers that were touched have to send and to tell, and the relays."""
        for peer, at in self._roster.take_touched():
            while (transmit := peer.next_transmit()) is not None:
                self._transactions.record_sent(transmit.payload, peer.name)
                if self._relaying.owns(transmit.source):
                    self._relaying.send(peer, transmit, at)
                else:
                    self._transmits.append(transmit)
            while (order := peer.next_order()) is not None:
                self._orders.append(order)
            while (event := peer.next_event()) is not None:
                self._relaying.follow(peer, event, at)
                self._events.append(NodeEvent(peer.name, event))
        self._relaying.give(self._transmits, self._events)

    def _settle_relays(self, now: float) -> None:
        """Draw the conclusions of what has happened to the relays."""
        self._relaying.settle(now)
        told = self._surroundings
        if told.has_all_servers and not told.is_settled and self.relays.is_settled:
            told.is_settled = True
            for peer in self._roster:
                peer.end_of_servers(now)

    # Below: sorting

    def _receive(
        self,
        datagrams: Batch,
        span: tuple[int, int],
        source: Endpoint,
        local: Endpoint,
        packets: Batch,
        heard: dict[Peer, tuple[Endpoint, Endpoint]],
        now: float,
    ) -> None:
        """Take one datagram that came from `source` to `local`; note in `heard` whose data it was."""
        start, end = span
        raw = datagrams.buffer.raw
        if start == end:
            self.drops[DropReason.EMPTY] += 1
        elif raw[start] == DATA:
            peer = self._open(datagrams, span, packets, now)
            if peer is not None:
                heard[peer] = source, local
        else:
            self._receive_control(bytes(raw[start:end]), source, local, now)

    def _open(self, datagrams: Batch, span: tuple[int, int], packets: Batch, now: float) -> Peer | None:
        """Open a data datagram; return whose it was when it was authentic and new."""
        start, end = span
        index = peek_index(datagrams.buffer.raw, start) if end - start >= 4 else -1
        link = self.indices.find(index)
        keypair = None if link is None else link.session.receiving(index)
        if link is None or keypair is None:
            self.drops[DropReason.UNKNOWN_SESSION] += 1
            return None
        return self._roster.get(link.name) if link.open(datagrams, span, keypair, packets, now) else None

    def _receive_control(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        match classify(data[0]):
            case DatagramKind.STUN:
                self._receive_stun(data, source, local, now)
            case DatagramKind.TUNNEL:
                self._receive_handshake(data, source, local, now)
            case _:  # ChannelData is no peer's
                self.drops[DropReason.UNKNOWN_DATAGRAM] += 1

    def _receive_stun(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Give a request to the peer whose user name it carries, a response to the one that asked."""
        header = peek_header(data)
        if header is None:
            self.drops[DropReason.MALFORMED_STUN] += 1
            return
        message_class, transaction_id = header
        match message_class:
            case MessageClass.REQUEST:
                owners = self._answerers(data, now)
            case MessageClass.INDICATION:  # a keepalive that wants nothing (RFC 8445 11)
                self.drops[DropReason.INDICATION] += 1
                return
            case _:
                asker = self._roster.find(self._transactions.find(transaction_id))
                owners = [] if asker is None else [asker]
                if not owners:
                    self.drops[DropReason.UNKNOWN_TRANSACTION] += 1
        for peer in owners:
            peer.receive_stun(data, source, local, now)

    def _answerers(self, data: bytes, now: float) -> list[Peer]:
        """Choose who answers a request. One for nobody still deserves its error response, from one of us."""
        ufrag = (peek_username(data) or "").partition(":")[0]
        owners = self._roster.find_by_ufrag(ufrag)
        if owners or (first := self._roster.first) is None:
            return owners
        if not self._strangers.take(now):
            self.drops[DropReason.TOO_MANY_STRANGERS] += 1
            return []
        return [first]

    def _receive_handshake(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Give an initiation to those that are known to be at `source`, an answer to whoever asked."""
        if data[0] == MessageType.INITIATION:
            owners = self._roster.find_by_place(source)[:MAX_CLAIMANTS]
        else:
            link = self.indices.find(peek_index(data)) if len(data) >= 4 else None
            owners = [] if link is None else [self._roster.get(link.name)]
        for peer in owners:
            peer.receive_handshake(data, source, local, now)
        if not owners:
            self.drops[DropReason.UNKNOWN_HANDSHAKE] += 1
