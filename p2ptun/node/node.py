"""A node: all peers behind one set of sockets and one TUN device. Sorts what comes in, routes what goes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from p2ptun.aead.buffer import Batch
from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.node.demux import DatagramKind, classify
from p2ptun.node.drop import DropReason
from p2ptun.node.event import NodeEvent
from p2ptun.node.link import BATCH_SIZE, Identity, Link
from p2ptun.node.peer import Flight, Peer, Remote
from p2ptun.node.routes import Routes
from p2ptun.noise.keypair import KeyPair
from p2ptun.stun.attribute import USERNAME
from p2ptun.stun.message import MessageClass, decode_message
from p2ptun.tunnel.index import IndexTable
from p2ptun.tunnel.wire import MessageType, peek_index
from p2ptun.types import Endpoint, RandomBytes, SendError, Transmit

DATA = MessageType.DATA.value


class Node:
    """The top of the core: five doors, and the hot path in batches.

    `receive_datagrams` and `send_packets` return what is to be written and sent at once; everything else, the answers
    to handshakes included, comes out of `next_transmit` and `next_event`.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self.drops: Counter[DropReason] = Counter()
        self._random_bytes = random_bytes
        self.indices: IndexTable[Link] = IndexTable(random_bytes)
        self._peers: dict[str, Peer] = {}
        self._bases: list[Endpoint] = []
        self._servers: list[Endpoint] = []
        self._has_all_servers = False
        self.routes = Routes()
        self._opened = Batch(BATCH_SIZE)  # never more than the datagrams that it came in

    # Getters

    @property
    def peers(self) -> list[Peer]:
        """All peers, in the order in which they were added."""
        return list(self._peers.values())

    def peer(self, name: str) -> Peer:
        """Return the peer called `name`. Raises LocalProtocolError when there is none."""
        if name not in self._peers:
            raise LocalProtocolError(f"no peer is called {name}")
        return self._peers[name]

    def why_awake(self) -> str | None:
        """Name the next deadline."""
        due = [(at, peer) for peer in self.peers if (at := peer.next_timeout()) is not None]
        return min(due, key=lambda each: each[0])[1].next_timer if due else None

    # Commands

    def add_peer(self, peer: Peer, now: float) -> None:
        """Take a peer in, with the sockets and servers there are. Raises LocalProtocolError when its name is taken."""
        if peer.name in self._peers:
            raise LocalProtocolError(f"there is a peer called {peer.name} already")
        self._peers[peer.name] = peer
        for base in self._bases:
            peer.add_local_address(base, now)
        for server in self._servers:
            peer.add_stun_server(server, now)
        if self._has_all_servers:
            peer.end_of_servers(now)

    def connect(
        self, name: str, identity: Identity, static: KeyPair, mtu: int, description: Remote, now: float
    ) -> None:
        """Begin to connect a peer whose description has come.

        Raises:
            LocalProtocolError: If no peer is called `name`, or the identity is our own.
            AuthenticationFailed: If its public key is no key.
        """
        peer = self.peer(name)
        link = Link(name, identity, static, mtu, self.routes.table, self.indices, self._random_bytes)
        for network in identity.allowed_ips:
            self.routes.table.insert(network, name)
        peer.connect(link, description, now)

    def add_local_address(self, base: Endpoint, now: float) -> None:
        """Let every peer gather on the socket bound to `base`."""
        self._bases.append(base)
        for peer in self.peers:
            peer.add_local_address(base, now)

    def add_stun_server(self, server: Endpoint, now: float) -> None:
        """Let every peer ask that server what our addresses look like from outside."""
        self._servers.append(server)
        for peer in self.peers:
            peer.add_stun_server(server, now)

    def end_of_servers(self, now: float) -> None:
        """No more servers will come: gathering ends with the last answer."""
        self._has_all_servers = True
        for peer in self.peers:
            peer.end_of_servers(now)

    def close(self, now: float) -> None:
        """Say goodbye to everybody."""
        for peer in self.peers:
            peer.close(now)

    # The hot path

    def send_packets(self, packets: Batch, now: float) -> list[Flight]:
        """Seal IP packets from the TUN device for the peers that they are routed to.

        The flights' datagrams are good until the next call.
        """
        flights = []
        for name, share in self.routes.split(packets, self.drops):
            flight = self._peers[name].send_packets(share, now)
            if flight is not None:
                flights.append(flight)
        return flights

    def receive_datagrams(self, datagrams: Batch, sources: Sequence[Endpoint], local: Endpoint, now: float) -> Batch:
        """Take what one socket received; return the IP packets for the TUN device, good until the next call."""
        packets = self._opened
        packets.clear()
        raw = datagrams.buffer.raw
        heard: dict[Peer, Endpoint] = {}
        for span, source in zip(datagrams.spans, sources, strict=True):
            start, end = span
            if start == end:
                self.drops[DropReason.EMPTY] += 1
            elif raw[start] == DATA:
                peer = self._open(datagrams, span, packets, now)
                if peer is not None:
                    heard[peer] = source
            else:
                self._receive_control(bytes(raw[start:end]), source, local, now)
        for peer, source in heard.items():
            peer.record_opened(source, local, now)
        return packets

    # Inputs

    def record_send_error(self, source: Endpoint, destination: Endpoint, error: SendError, now: float) -> None:
        """Take note that the kernel refused to send."""
        for peer in self.peers:
            peer.record_send_error(source, destination, error, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        for peer in self.peers:
            at = peer.next_timeout()
            if at is not None and at <= now:
                peer.handle_timeout(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Return the next datagram to send."""
        for peer in self._peers.values():
            if (transmit := peer.next_transmit()) is not None:
                return transmit
        return None

    def next_event(self) -> NodeEvent | None:
        """Return the next thing that happened."""
        for peer in self._peers.values():
            if (event := peer.next_event()) is not None:
                return NodeEvent(peer.name, event)
        return None

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""
        return min((at for peer in self._peers.values() if (at := peer.next_timeout()) is not None), default=None)

    # Below: sorting

    def _open(self, datagrams: Batch, span: tuple[int, int], packets: Batch, now: float) -> Peer | None:
        """Open a data datagram; return whose it was when it was authentic and new."""
        start, end = span
        index = peek_index(datagrams.buffer.raw, start) if end - start >= 4 else -1
        link = self.indices.find(index)
        keypair = None if link is None else link.session.receiving(index)
        if link is None or keypair is None:
            self.drops[DropReason.UNKNOWN_SESSION] += 1
            return None
        if not link.open(datagrams, span, keypair, packets, now):
            return None
        return self._peers[link.name]

    def _receive_control(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        match classify(data[0]):
            case DatagramKind.STUN:
                self._receive_stun(data, source, local, now)
            case DatagramKind.TUNNEL:
                self._receive_handshake(data, source, local, now)
            case _:  # ChannelData comes from relays, and we ask none
                self.drops[DropReason.UNKNOWN_DATAGRAM] += 1

    def _receive_stun(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Give a request to the peer whose user name it carries, anything else to whoever asked for it."""
        try:
            message = decode_message(data)
        except MalformedPacket:
            self.drops[DropReason.MALFORMED_STUN] += 1
            return
        owners = self.peers
        if message.message_class is MessageClass.REQUEST:
            ufrag = (message.get(USERNAME) or "").partition(":")[0]
            # a request for nobody still deserves its error response, from one of us
            owners = [peer for peer in owners if peer.agent.local_credentials.ufrag == ufrag] or owners[:1]
        for peer in owners:
            peer.receive_stun(data, source, local, now)

    def _receive_handshake(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Give an initiation to the peer that is known to be at `source`, an answer to whoever asked."""
        if data[0] == MessageType.INITIATION:
            owners = [peer for peer in self._peers.values() if peer.knows(source)]
        else:
            link = self.indices.find(peek_index(data)) if len(data) >= 4 else None
            owners = [self._peers[link.name]] if link is not None else []
        for peer in owners:
            peer.receive_handshake(data, source, local, now)
        if not owners:
            self.drops[DropReason.UNKNOWN_HANDSHAKE] += 1
