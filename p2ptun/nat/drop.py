"""Why a datagram is dropped while the NAT is being explored."""

from __future__ import annotations

from enum import Enum


class DropReason(Enum):
    """What was wrong with it."""

    MALFORMED = "malformed"
    UNKNOWN_SOCKET = "unknown socket"
    UNKNOWN_TRANSACTION = "answer to nothing we asked"
    UNEXPECTED_SOURCE = "answer from elsewhere"
    UNEXPECTED_SOCKET = "answer to another socket"
    UNUSABLE = "answer without a usable address"
