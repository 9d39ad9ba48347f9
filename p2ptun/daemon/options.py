"""What a person asked of an ad hoc tunnel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Final

from p2ptun.aead.algorithm import Algorithm
from p2ptun.daemon.turn_credentials import TurnCredentials
from p2ptun.ice.config import PathPolicy
from p2ptun.signal.code import Code
from p2ptun.signal.description import Kind
from p2ptun.stun.uri import StunUri
from p2ptun.tunnel.timing import REKEY_INTERVAL
from p2ptun.types import IPInterface, IPNetwork, Transport

MIN_MTU: Final = 576  # RFC 791 3.1: what every host takes in
MAX_MTU: Final = 65461
"""With 46 bytes of our own it is what a UDP datagram over IPv4 can hold at most."""


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
    `maps_ports`: the router is asked to forward the ports of this side's sockets. `hard_nat`: this side takes part in a
    search for ports where the NATs let no direct path come up by itself.
    `relay_credentials`: those of single relays, by host, where they aren't `turn_credentials`.
    `ca_file`: who else may vouch for a server's name, in PEM, besides those whom this machine trusts anyway.
    `rendezvous`: where the two sides meet. `code`: what the person was told of the other side's room. `verifies`: a
    person compares words with the other side before anything is carried.
    """

    name: str | None = None
    addresses: tuple[IPInterface, ...] = ()
    routes: tuple[IPNetwork, ...] = ()
    stun: tuple[StunUri, ...] = ()
    turn: tuple[StunUri, ...] = ()
    turn_credentials: TurnCredentials | None = field(default=None, repr=False)
    relay_credentials: Mapping[str, TurnCredentials] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    path_policy: PathPolicy = PathPolicy.ANY
    hides_addresses: bool = False
    maps_ports: bool = True
    hard_nat: bool = True
    psk: bytes | None = field(default=None, repr=False)
    mtu: int | None = None
    algorithms: tuple[Algorithm, ...] = ()
    rekey_interval: float = REKEY_INTERVAL
    timeout: float | None = None
    is_interactive: bool = False
    rendezvous: tuple[str, ...] = ("paste",)
    code: Code | None = field(default=None, repr=False)
    verifies: bool = False

    def offered(self, uris: Iterable[StunUri]) -> AdhocOptions:
        """Return the same wishes with these servers in place of those that the person named."""
        listed = tuple(uris)
        turn = tuple(uri for uri in listed if uri.scheme.is_turn)
        return replace(self, stun=tuple(uri for uri in listed if uri not in turn), turn=turn)

    def credentials_for(self, host: str) -> TurnCredentials | None:
        """Find what the person gave for the relay of that name."""
        return self.relay_credentials.get(host, self.turn_credentials)

    @property
    def relays(self) -> tuple[StunUri, ...]:
        """The relays to ask for an address."""
        return () if self.path_policy is PathPolicy.DIRECT else self.turn

    @property
    def wants_mapping(self) -> bool:
        """Whether the router is to forward ports: who wants relayed paths only is to be found at the relay."""
        return self.maps_ports and self.path_policy is not PathPolicy.RELAY

    @property
    def reflectors(self) -> tuple[StunUri, ...]:
        """The servers to ask over UDP what this side looks like from outside: a relay tells that as well.

        Who wants relayed paths only tells nobody, and needs to know nothing.
        """
        if self.path_policy is PathPolicy.RELAY:
            return ()
        return self.stun + tuple(uri for uri in self.turn if uri.transport_or_default is Transport.UDP)
