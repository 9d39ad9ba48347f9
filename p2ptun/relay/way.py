"""The ways of bound channels: what the fast path looks up for every batch (RFC 8656 12.6, 12.7)."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.relay.meter import Meter
from p2ptun.types import Endpoint


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
