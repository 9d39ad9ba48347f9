"""What whoever runs a server decides: which addresses it relays from, to whom, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.errors import ConfigError
from p2ptun.types import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything a server gives. Every default is our choice.

    Attributes:
        allocations: Allocations in all, reserved ports included. A request beyond gets 508.
        user_allocations: Those of one user name, or of one label of time-limited ones. A request beyond gets 486.
        address_allocations: Those of one client address: an IPv4 address, an IPv6 /56. A request beyond gets 486.
        permissions: Peer addresses of one allocation. A request beyond gets 508.
        channels: Channels of one allocation, those that still cool down included. A request beyond gets 508.
        lifetime: The longest lifetime that is granted, in seconds (RFC 8656 7.2 recommends an hour).
        allocation_rate: Bytes a second that one allocation may relay, both ways together; 0 for no cap.
        total_rate: Bytes a second that all of them may relay, both ways together; 0 for no cap.
        unauthenticated_rate: Bytes a second by which answers to one address (IPv4, or IPv6 /56) may be longer than its
            requests, over UDP and before it has proved who it is. Sources are forged: so much more than the attacker
            sends himself does a victim of reflection get from us at most.
        unauthenticated_burst: The same at once.
    """

    allocations: int = 4096
    user_allocations: int = 32
    address_allocations: int = 256
    permissions: int = 256
    channels: int = 256
    lifetime: int = 3600
    allocation_rate: int = 0
    total_rate: int = 0
    unauthenticated_rate: int = 2048
    unauthenticated_burst: int = 16_384


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """A server's configuration.

    Attributes:
        realm: The realm of the long-term credentials; people see it when they are asked for a password.
        relay_addresses: Addresses of this machine to relay from, IPv4 or IPv6 or both. Without any there is no TURN.
        lowest_port: The first port to relay from.
        highest_port: The last one.
        own_addresses: Every address of this machine, so that nobody reaches its other services through the relay;
            addresses of listeners and relays count as own ones without being named here.
        allowed_peers: Networks that the relay may reach although they are private, or this machine.
        refused_peers: Networks that it may not reach besides those that it never does; these win over `allowed_peers`.
        hides_usernames: Whether clients are asked to send USERHASH instead of their user name (RFC 8489 9.2). Only
            for credentials that are known beforehand: nobody finds a time-limited user name by its hash.
        port_key: 32 bytes at most, the same after a restart and known to nobody else: with it clients get the same
            ports again. Empty: random ports.
        limits: How much it gives.
    """

    realm: str = "p2ptun"
    relay_addresses: tuple[IPAddress, ...] = ()
    lowest_port: int = 49152  # RFC 8656 7.2: the Dynamic or Private Port range
    highest_port: int = 65535
    own_addresses: frozenset[IPAddress] = frozenset()
    allowed_peers: tuple[IPNetwork, ...] = ()
    refused_peers: tuple[IPNetwork, ...] = ()
    hides_usernames: bool = False
    port_key: bytes = field(default=b"", repr=False)
    limits: Limits = field(default=Limits())

    def __post_init__(self) -> None:
        """Raises ConfigError when there is no port to relay from."""
        if not 0 < self.lowest_port <= self.highest_port <= 65535:
            problem = f"{self.lowest_port}-{self.highest_port} is no range of ports"
            raise ConfigError("", "relay ports", problem, "Write two numbers from 1 to 65535, the lower one first.")
