"""ChannelData frames: `number (2) | length (2) | payload | padding to 4 on streams` (RFC 8656 12.4, 12.5)."""

from __future__ import annotations

from typing import NamedTuple

from p2ptun.types import Endpoint


class Parcel(NamedTuple):
    """Where in a buffer a peer's payload lies, who sent it, and to which address of ours."""

    start: int
    end: int
    peer: Endpoint
    relayed: Endpoint
