"""What the server core wants of whoever owns the sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class OpenRelay:
    """Bind a UDP socket to exactly `relayed`, then call `Server.relay_opened` or `Server.relay_refused`, always one.

    A refusal isn't the end: another order with another port may follow.
    """

    order_id: int
    relayed: Endpoint


@dataclass(frozen=True, slots=True)
class CloseRelay:
    """Close the socket bound to `relayed`. An order to open the same one may come right behind it."""

    relayed: Endpoint


Order: TypeAlias = OpenRelay | CloseRelay
