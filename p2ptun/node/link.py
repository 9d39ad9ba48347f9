"""A link: one peer's session with its data plane, apart from the way to the peer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from p2ptun.aead.algorithm import Algorithm, available_algorithms
from p2ptun.aead.buffer import Batch, Buffer
from p2ptun.dataplane.allowed import AllowedIPs
from p2ptun.dataplane.inbound import Inbound
from p2ptun.dataplane.outbound import FRAMING, MAX_PLAINTEXT, Outbound
from p2ptun.node.drop import DropReason, labelled
from p2ptun.noise.keypair import KeyPair
from p2ptun.tunnel.config import SessionConfig
from p2ptun.tunnel.control import CloseReason
from p2ptun.tunnel.index import IndexTable
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.psk import NO_PSK
from p2ptun.tunnel.session import Session
from p2ptun.tunnel.timing import REKEY_INTERVAL
from p2ptun.types import IPNetwork, RandomBytes

WAITING_SIZE = 1 << 16  # bytes of IP packets kept for a peer that isn't connected: a TCP handshake or two, a few pings
BATCH_SIZE = 1 << 18
"""Bytes that an owner hands over at once, at most: 64 packets or datagrams of 4 KiB each, fewer of larger ones."""

OVERHEAD = 64  # bytes, more than framing, header and tag add to a packet that has a datagram to itself
FLIGHT_SIZE = BATCH_SIZE + 64 * OVERHEAD  # bytes of a sealed batch


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a peer is, and what it may do.

    Attributes:
        public_key: Its static X25519 key, 32 bytes.
        allowed_ips: Networks it may send from; what goes there is sent to it (cryptokey routing).
        psk: 32 bytes as `mix_psks` makes them.
        is_quantum_resistant: Whether that comes from something that a quantum computer can't find out: a key that the
            two were given, or ML-KEM.
        algorithms: AEADs that we offer and accept, best first.
        rekey_interval: Seconds of use after which keys are renewed.
        context: What both sides must have been told alike; without that no session comes about.
    """

    public_key: bytes
    allowed_ips: tuple[IPNetwork, ...]
    psk: bytes = field(default=NO_PSK, repr=False)
    algorithms: tuple[Algorithm, ...] = field(default_factory=available_algorithms)
    rekey_interval: float = REKEY_INTERVAL
    context: bytes = b""
    is_quantum_resistant: bool = False


@dataclass(slots=True)
class Traffic:
    """What a peer's tunnel carried: IP packets and their bytes."""

    tx_packets: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    rx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Workspace:
    """Memory for sealing that all links of a node share: one seals at a time.

    Attributes:
        flights: Where batches are sealed, one behind the other. The owner clears it before it lets links seal.
        plain: Where `Outbound` puts plaintexts together.
    """

    flights: Batch = field(default_factory=lambda: Batch(FLIGHT_SIZE))
    plain: Buffer = field(default_factory=lambda: Buffer(MAX_PLAINTEXT))


class Link:
    """Seals packets for a peer and opens what it sent. Where datagrams go is its owner's business.

    Packets that come while there are no keys wait in a small bounded queue; the oldest stay, for a TCP handshake's
    first packet is worth more than its retransmissions.
    """

    def __init__(
        self,
        name: str,
        identity: Identity,
        static: KeyPair,
        mtu: int,
        allowed: AllowedIPs[str],
        indices: IndexTable[Link],
        random_bytes: RandomBytes,
        workspace: Workspace,
    ) -> None:
        """Make the link of the peer called `name`; `mtu` is the largest IP packet it carries.

        Raises:
            LocalProtocolError: If the identity is our own.
            AuthenticationFailed: If its public key is no key.
        """
        self.name = name
        self.identity = identity
        config = SessionConfig(
            static, identity.public_key, identity.psk, identity.algorithms, identity.rekey_interval, identity.context
        )
        self.session = Session(config, random_bytes, lambda: indices.claim(self), indices.release)
        self.traffic = Traffic()
        self.overflow = 0
        self._inbound = Inbound(allowed, name)
        self._outbound = Outbound(mtu + FRAMING, workspace.plain)
        self._flights = workspace.flights
        self._waiting: list[bytes] = []
        self._waiting_size = 0

    # Getters

    @property
    def drops(self) -> Counter[str]:
        """What was thrown away, by layer and reason."""
        return (
            labelled("data", self._inbound.drops + self._outbound.drops)
            + labelled("tunnel", self.session.refusals)
            + labelled("peer", Counter({DropReason.QUEUE_FULL: self.overflow}))
        )

    @property
    def has_waiting(self) -> bool:
        """Whether packets wait for keys or a path."""
        return bool(self._waiting)

    # Commands

    def hold(self, packets: Batch) -> None:
        """Keep packets until there are keys and a path; those that don't fit are dropped and counted."""
        for packet in packets:
            if self._waiting_size + len(packet) > WAITING_SIZE:
                self.overflow += 1
            else:
                self._waiting.append(bytes(packet))
                self._waiting_size += len(packet)

    def seal_waiting(self, now: float) -> Batch | None:
        """Seal what was held; None when nothing was, or there are no keys.

        That happens once a connection, so it has a batch of its own: what `seal` returned may still be on its way out.
        """
        keypair = self.session.sending
        if not self._waiting or keypair is None:
            return None
        packets = Batch(self._waiting_size)
        for packet in self._waiting:
            packets.append(packet)
        datagrams = Batch(self._waiting_size + len(packets) * OVERHEAD)
        self._waiting, self._waiting_size = [], 0
        return self._seal(packets, keypair, datagrams, now)

    def seal(self, packets: Batch, now: float) -> Batch | None:
        """Seal a batch of IP packets; None when there are no keys. It is good until the workspace is cleared."""
        keypair = self.session.sending
        return None if keypair is None else self._seal(packets, keypair, self._flights, now)

    def close(self, reason: CloseReason, now: float) -> None:
        """Say goodbye and wipe the keys."""
        self.session.close(reason, now)

    # Inputs

    def open(self, datagrams: Batch, span: tuple[int, int], keypair: Keypair, packets: Batch, now: float) -> bool:
        """Open one data datagram, adding its IP packets to `packets`; tell whether it was authentic and new."""
        before, controls = len(packets), list[bytes]()
        if not self._inbound.open(datagrams, span, keypair, packets, controls):
            return False
        new = packets.spans[before:]
        self.traffic.rx_packets += len(new)
        self.traffic.rx_bytes += sum(end - start for start, end in new)
        self.session.record_received(keypair, now)
        for control in controls:
            self.session.receive_control(control, now)
        return True

    def _seal(self, packets: Batch, keypair: Keypair, datagrams: Batch, now: float) -> Batch:
        """Seal `packets` behind what is in `datagrams`; return what that added."""
        before = len(datagrams)
        self.session.record_sent(self._outbound.seal(packets, keypair, datagrams), now)
        self.traffic.tx_packets += len(packets)
        self.traffic.tx_bytes += sum(end - start for start, end in packets.spans)
        return datagrams.share(datagrams.spans[before:])
