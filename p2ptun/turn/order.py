"""What the client wants of whoever owns the sockets.

Each allocation has a socket of its own, which the core knows by a token: `Endpoint(0.0.0.0, number, transport)`. It is
the source of what the socket is to send, and the local end of what it has received.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from p2ptun.turn.server import Server
from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """Open a socket to a server; what fails is told by `record_send_error`."""

    token: Endpoint
    server: Server


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close a socket, after what was to be sent before this order has gone out."""

    token: Endpoint


Order: TypeAlias = OpenSocket | CloseSocket
