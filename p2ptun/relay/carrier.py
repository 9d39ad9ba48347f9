"""Moves data one datagram at a time, with every check: what the fast path doesn't do, or doesn't find.

Nothing here is authenticated beyond its 5-tuple: RFC 8656 11 and 12 have it so. What isn't relayed is counted.
"""

from __future__ import annotations

from typing import Final

from p2ptun.errors import MalformedPacket
from p2ptun.relay.allocation import Allocation, Relay
from p2ptun.relay.event import DropReason
from p2ptun.relay.outbox import Outbox
from p2ptun.relay.registry import Registry
from p2ptun.stun.attribute import DATA, DONT_FRAGMENT, XOR_PEER_ADDRESS, AttributeValue
from p2ptun.stun.message import Message, MessageClass, Method, encode_message, new_transaction_id
from p2ptun.stun.turn import decode_channel_data, encode_channel_data
from p2ptun.types import Endpoint, Transmit, Transport

LONGEST_DATAGRAM: Final = 65_507  # bytes of payload of a UDP datagram over IPv4
LONGEST_DATA: Final = 65_400  # bytes in an indication: what fits such a datagram, and a STUN message, with headers


class Carrier:
    """Carries data between clients and peers."""

    __slots__ = ("_outbox", "_random_bytes", "_registry")

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._outbox: Outbox = registry.means.outbox
        self._random_bytes = registry.means.random_bytes

    def receive_indication(self, message: Message, client: Endpoint, local: Endpoint, now: float) -> None:
        """Take an indication from a client; only Send has a meaning (RFC 8656 11.2)."""
        if message.method is not Method.SEND:
            self._outbox.drop(DropReason.INDICATION)
            return
        allocation = self._registry.find(client, local)
        peer, data = message.get(XOR_PEER_ADDRESS), message.get(DATA)
        if allocation is None:
            self._outbox.drop(DropReason.NO_ALLOCATION)
        elif message.unknown_required or message.get(DONT_FRAGMENT) is not None:
            self._outbox.drop(DropReason.UNKNOWN_ATTRIBUTE)
        elif peer is None or data is None:
            self._outbox.drop(DropReason.MALFORMED)
        else:
            self._send(allocation, peer, data, now)

    def receive_channel_data(self, data: bytes, client: Endpoint, local: Endpoint, now: float) -> None:
        """Take ChannelData from a client (RFC 8656 12.6)."""
        try:
            number, payload = decode_channel_data(data)
        except MalformedPacket:
            self._outbox.drop(DropReason.MALFORMED)
            return
        allocation = self._registry.find(client, local)
        if allocation is None:
            self._outbox.drop(DropReason.NO_ALLOCATION)
            return
        channel = allocation.channels.get(number)
        if channel is None or channel.expires_at <= now:
            self._outbox.drop(DropReason.NO_CHANNEL)
            return
        self._send(allocation, channel.peer, payload, now)

    def receive_relayed(self, data: bytes, peer: Endpoint, relayed: Endpoint, now: float) -> None:
        """Take a datagram from a peer (RFC 8656 11.3, 12.7)."""
        relay = self._permitted(relayed, peer, now)
        if relay is None:
            return
        allocation = relay.allocation
        channel = allocation.numbers.get(peer)
        is_bound = channel is not None and now < channel.expires_at
        if len(data) > LONGEST_DATA:
            self._outbox.drop(DropReason.TOO_LARGE)
        elif not allocation.meter.count(1, len(data), now):
            self._outbox.drop(DropReason.BANDWIDTH)
        elif channel is not None and is_bound:
            is_padded = allocation.client.transport is not Transport.UDP
            frame = encode_channel_data(channel.number, data, is_padded)
            self._outbox.transmits.append(Transmit(frame, allocation.local, allocation.client))
        else:
            self._indicate(allocation, (XOR_PEER_ADDRESS, peer), (DATA, data))

    def _permitted(self, relayed: Endpoint, peer: Endpoint, now: float) -> Relay | None:
        """Find the relay that hears `peer`, or count why there is none."""
        relay = self._registry.relays.get(relayed)
        if relay is None:
            self._outbox.drop(DropReason.NO_ALLOCATION)
        elif not relay.allocation.has_permission(peer.address, now):
            self._outbox.drop(DropReason.NO_PERMISSION)
        elif not self._registry.means.guard.may_be_heard(peer, self._registry.relays):
            self._outbox.drop(DropReason.FORBIDDEN_PEER)
        else:
            return relay
        return None

    def _send(self, allocation: Allocation, peer: Endpoint, data: bytes, now: float) -> None:
        if not allocation.has_permission(peer.address, now):
            self._outbox.drop(DropReason.NO_PERMISSION)
        elif not self._registry.means.guard.allows_port(peer, self._registry.relays):
            self._outbox.drop(DropReason.FORBIDDEN_PEER)
        elif len(data) > LONGEST_DATAGRAM:
            self._outbox.drop(DropReason.TOO_LARGE)
        elif not allocation.meter.count(1, len(data), now):
            self._outbox.drop(DropReason.BANDWIDTH)
        else:
            relayed = allocation.relays[peer.address.version].relayed
            self._outbox.transmits.append(Transmit(data, relayed, peer))

    def _indicate(self, allocation: Allocation, *attributes: AttributeValue) -> None:
        transaction_id = new_transaction_id(self._random_bytes)
        message = Message(Method.DATA, MessageClass.INDICATION, transaction_id, attributes)
        payload = encode_message(message, fingerprint=False)
        self._outbox.transmits.append(Transmit(payload, allocation.local, allocation.client))
