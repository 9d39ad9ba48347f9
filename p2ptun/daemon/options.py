"""What a person asked of an ad hoc tunnel."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from p2ptun.aead.algorithm import Algorithm
from p2ptun.signal.description import Kind
from p2ptun.stun.uri import StunUri
from p2ptun.tunnel.timing import REKEY_INTERVAL
from p2ptun.types import IPInterface, IPNetwork


class Side(Enum):
    """Who begins."""

    SHARE = "share"
    JOIN = "join"

    @property
    def kind(self) -> Kind:
        """What this side sends."""
        return Kind.OFFER if self is Side.SHARE else Kind.ANSWER


@dataclass(frozen=True, slots=True)
class AdhocOptions:
    """What the person asked for; None and empty mean "decide for me". Times are in seconds.

    `hides_addresses`: names stand for this machine's addresses in all that the other side is told.
    """

    name: str | None = None
    addresses: tuple[IPInterface, ...] = ()
    routes: tuple[IPNetwork, ...] = ()
    stun: tuple[StunUri, ...] = ()
    hides_addresses: bool = False
    psk: bytes | None = field(default=None, repr=False)
    mtu: int | None = None
    algorithms: tuple[Algorithm, ...] = ()
    rekey_interval: float = REKEY_INTERVAL
    timeout: float | None = None
    is_interactive: bool = False
