"""The ways of bound channels: what the fast path looks up for every batch (RFC 8656 12.6, 12.7)."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.relay.allocation import Channel, FiveTuple, Relay
from p2ptun.relay.meter import Meter
from p2ptun.types import Endpoint, Transport


@dataclass(frozen=True, slots=True)
class Outward:
    """Where ChannelData from a client goes: its data leaves from `relayed` for `peer`."""

    relayed: Endpoint
    peer: Endpoint
    meter: Meter = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Inward:
    """Where a peer's datagram goes: to `client` from the listener `local`, as ChannelData `number`.

    `is_padded`: a stream, where the frame is filled up to a multiple of 4 bytes (RFC 8656 12.5).
    """

    client: Endpoint
    local: Endpoint
    number: int
    is_padded: bool
    meter: Meter = field(compare=False, repr=False)


class Ways:
    """Both ways of every channel that is bound, permitted, and leads somewhere that the relay reaches."""

    __slots__ = ("_inward", "_outward", "version")

    def __init__(self) -> None:
        self._outward: dict[FiveTuple, dict[int, Outward]] = {}
        self._inward: dict[Endpoint, dict[Endpoint, Inward]] = {}
        self.version = 0

    def __len__(self) -> int:
        return sum(map(len, self._inward.values()))

    def outward(self, client: Endpoint, local: Endpoint, number: int) -> Outward | None:
        """Look up by channel number."""
        numbers = self._outward.get((client, local))
        return None if numbers is None else numbers.get(number)

    def inward(self, relayed: Endpoint, peer: Endpoint) -> Inward | None:
        """Look up by peer."""
        peers = self._inward.get(relayed)
        return None if peers is None else peers.get(peer)

    def open(self, channel: Channel, relay: Relay) -> None:
        """Enter a channel; harmless when it is there."""
        allocation = channel.allocation
        numbers = self._outward.setdefault(allocation.five_tuple, {})
        if channel.number in numbers:
            return
        is_padded = allocation.client.transport is not Transport.UDP
        numbers[channel.number] = Outward(relay.relayed, channel.peer, allocation.meter)
        self._inward.setdefault(relay.relayed, {})[channel.peer] = Inward(
            allocation.client, allocation.local, channel.number, is_padded, allocation.meter
        )
        self.version += 1

    def close(self, channel: Channel) -> None:
        """Take a channel out; harmless when it isn't there."""
        five_tuple = channel.allocation.five_tuple
        numbers = self._outward.get(five_tuple, {})
        way = numbers.pop(channel.number, None)
        if way is None:
            return
        if not numbers:
            del self._outward[five_tuple]
        peers = self._inward[way.relayed]
        del peers[way.peer]
        if not peers:
            del self._inward[way.relayed]
        self.version += 1
