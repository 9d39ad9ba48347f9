"""A node whose every datagram is held against the rules, as the wire shows it and not as the agent says."""

from __future__ import annotations

from collections import deque

from p2ptun.ice.config import CONSENT_TIMEOUT, AgentConfig
from p2ptun.ice.pacer import MIN_PACE
from p2ptun.node.demux import TUNNEL_FIRST, TUNNEL_LAST
from p2ptun.stun.attribute import DATA, XOR_PEER_ADDRESS
from p2ptun.stun.message import Method, decode_message, is_stun
from p2ptun.stun.turn import is_channel_data
from p2ptun.types import Endpoint, Transmit

from .host import is_check
from .network import Network
from .node import NodeHost

PROBES_AT_MOST = round(1 / MIN_PACE) + 10
"""In a second: some leave together, and who gets one answers at once."""

MAX_TOKENS = 8  # two servers, each with what serves, what retires and what is being tried


class WatchedHost(NodeHost):
    """Sends data only where consent is fresh (RFC 7675 5.1), over a relay too, and probes of a search at their pace."""

    def __init__(self, network: Network, name: str, *sockets: str, config: AgentConfig | None = None) -> None:
        self.confirmed: dict[tuple[Endpoint, Endpoint], float] = {}
        self.told: set[Endpoint] = set()
        self.probed: deque[float] = deque()
        super().__init__(network, name, *sockets, config=config)

    def receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Note answers to checks."""
        inner, peer = self._unwrapped(data, local, source)
        if inner[:2] == b"\x01\x01":
            self.confirmed[local, peer] = now
        super().receive(data, source, local, now)

    def next_transmit(self) -> Transmit | None:
        """Look at what goes out."""
        packet = super().next_transmit()
        if packet is not None and self.network.has_socket(self, packet.source):  # else it never leaves
            inner, peer = self._unwrapped(packet.payload, packet.source, packet.destination)
            if inner and TUNNEL_FIRST <= inner[0] <= TUNNEL_LAST:
                self._look_at_consent(packet.source, peer)
            elif is_check(inner):
                self._look_at_pace(packet.source, peer)
        assert len(self.ordered.tokens) <= MAX_TOKENS, f"{self.name} has sockets {self.ordered.tokens}"
        return packet

    def _unwrapped(self, data: bytes, local: Endpoint, remote: Endpoint) -> tuple[bytes, Endpoint]:
        """Give what a peer sends or gets, and who that is, whether or not a relay stands between."""
        token = self.ordered.name_of(local)
        if token == local:
            return data, remote
        if is_channel_data(data):
            parcel = self.node.relays.locate(data, 0, len(data), token)
            return (b"", remote) if parcel is None else (data[parcel.start : parcel.end], parcel.peer)
        message = decode_message(data) if is_stun(data) else None
        if message is None or message.method not in (Method.SEND, Method.DATA):
            return b"", remote
        return message.get(DATA) or b"", message.get(XOR_PEER_ADDRESS) or remote

    def _look_at_consent(self, local: Endpoint, peer: Endpoint) -> None:
        age = self.now - self.confirmed.get((local, peer), -CONSENT_TIMEOUT)
        assert age <= CONSENT_TIMEOUT, f"{self.name} sends to {peer} with a consent {age:.1f} s old"

    def _look_at_pace(self, local: Endpoint, destination: Endpoint) -> None:
        """Count what goes to where nobody has said to be, or comes from a socket that was made for a search."""
        if destination not in self.told:
            for peer in self.node.peers:
                self.told.update(each.endpoint for each in peer.agent.remote_candidates)
        if destination in self.told and local not in self.ordered.spares:
            return
        self.probed.append(self.now)
        while self.probed[0] <= self.now - 1.0:
            self.probed.popleft()
        assert len(self.probed) <= PROBES_AT_MOST, f"{self.name} sends {len(self.probed)} probes in a second"
