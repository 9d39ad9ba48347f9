"""Channels (RFC 8656 12)."""

from __future__ import annotations

from typing import NamedTuple

from p2ptun.types import Endpoint


class Channel(NamedTuple):
    """How data for one peer leaves on the hot path: in ChannelData frames `number (2) | length (2) | payload`.

    Attributes:
        token: The socket that they leave from.
        server: Where they go.
        is_padded: Whether frames are padded to a multiple of 4 bytes, as on every stream (RFC 8656 12.5).
    """

    number: int
    token: Endpoint
    server: Endpoint
    is_padded: bool
