"""The kinds of candidates (RFC 8445 4, RFC 6544 4.5)."""

from __future__ import annotations

from enum import Enum


class CandidateType(Enum):
    """How a candidate was learnt. The value is its name in signalling (RFC 8839 5.1)."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"


class TcpType(Enum):
    """Which side of a TCP candidate opens the connection (RFC 6544 4.5)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    SIMULTANEOUS_OPEN = "so"
