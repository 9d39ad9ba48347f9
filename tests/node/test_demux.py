"""RFC 7983 7, extended by the four datagrams of the tunnel."""

from __future__ import annotations

import pytest

from p2ptun.node.demux import DatagramKind, classify
from p2ptun.tunnel.wire import MessageType


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [
        (0, 3, DatagramKind.STUN),
        (4, 63, DatagramKind.UNKNOWN),
        (64, 79, DatagramKind.CHANNEL_DATA),
        (80, 0xD0, DatagramKind.UNKNOWN),
        (0xD1, 0xD4, DatagramKind.TUNNEL),
        (0xD5, 0xFF, DatagramKind.UNKNOWN),
    ],
)
def test_every_first_byte_has_a_kind(first: int, last: int, kind: DatagramKind) -> None:
    assert {classify(byte) for byte in range(first, last + 1)} == {kind}


def test_every_datagram_of_the_tunnel_is_one() -> None:
    assert all(classify(kind) is DatagramKind.TUNNEL for kind in MessageType)
