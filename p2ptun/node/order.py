"""What a node wants of whoever owns the sockets, besides what relays want (`turn.order`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from p2ptun.turn import order as turn
from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class OpenSpares:
    """Open `count` more UDP sockets on the address of `base`, each on a port of its own, for a peer's port search.

    Tell each by `Node.add_spare_address`. Those that can't be opened are passed over.
    """

    peer: str
    base: Endpoint
    count: int


@dataclass(frozen=True, slots=True)
class CloseSpares:
    """Close these of them, as `Node.remove_local_address` has been told already."""

    bases: tuple[Endpoint, ...]


Order: TypeAlias = turn.Order | OpenSpares | CloseSpares
