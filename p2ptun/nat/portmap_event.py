"""What a port mapper tells its owner, and why (values only)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from p2ptun.types import Endpoint


class Protocol(Enum):
    """How a gateway is asked."""

    PCP = "PCP"  # RFC 6887
    NAT_PMP = "NAT-PMP"  # RFC 6886


class Problem(Enum):
    """Why a gateway maps a port not at all, or not so that it helps. The values are for people."""

    SILENT = "the router doesn't answer requests for port mappings"
    NOT_OFFERED = "the router offers no port mapping by PCP or NAT-PMP"
    UNSUPPORTED = "the router speaks no version of PCP or NAT-PMP that is known here"
    NOT_AUTHORIZED = "port mapping is switched off in the router, or not allowed to this machine"
    NETWORK_FAILURE = "the router isn't connected to the internet at the moment"
    NO_RESOURCES = "the router has no room for another mapping"
    QUOTA_EXCEEDED = "the router grants this machine no further mapping"
    NO_EXTERNAL_PORT = "the router can't give the port outside that was asked for, nor another one"
    ADDRESS_MISMATCH = "another NAT stands between this machine and the router"
    BEHIND_ANOTHER_NAT = "the router is itself behind a NAT: its address outside is private"
    NO_EXTERNAL_ADDRESS = "the router names no address outside"
    SHORT_LEASE = "the router grants mappings for a few seconds only"
    REFUSED = "the router refuses to map ports"


class LossReason(Enum):
    """Why a mapping that was there isn't any more."""

    EXPIRED = "not renewed in time"
    CHANGED = "the router gave another one"


class DropReason(Enum):
    """Why a datagram was dropped. Counted in `PortMapper.drops`."""

    FOREIGN_SOURCE = "not from the router"
    MALFORMED = "malformed"
    NOT_ASKED_FOR = "not asked for"


@dataclass(frozen=True, slots=True)
class PortMapped:
    """The gateway forwards `external` to our port, for so many seconds and as long as it is renewed.

    Without address translation, in IPv6, `external` is our own address: a hole in the gateway's firewall.
    """

    port: int
    external: Endpoint
    lifetime: float
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class PortUnmapped:
    """It doesn't any more."""

    port: int
    external: Endpoint
    reason: LossReason


@dataclass(frozen=True, slots=True)
class PortRefused:
    """It doesn't, and why. It is asked again later; the same problem is told once.

    BEHIND_ANOTHER_NAT: it forwards `external`, a private address. The mapping is kept, for through a hole in the inner
    NAT whatever passes the outer one gets in; but it is no place to send to from everywhere.
    """

    port: int
    problem: Problem
    external: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class GatewayRestarted:
    """The gateway has lost its mappings; they are being renewed."""


PortMapEvent: TypeAlias = PortMapped | PortUnmapped | PortRefused | GatewayRestarted
