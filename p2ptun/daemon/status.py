"""The status document: `p2ptun status --json`, and what the control socket answers.

Fields are only ever added under one `schema_version`. `p2ptun/cli/status.schema.json` is its schema.
"""

from __future__ import annotations

import msgspec

from p2ptun.daemon.event import PathEnd, milliseconds, path_end, server_text
from p2ptun.node.path import Path
from p2ptun.turn.server import Server

SCHEMA_VERSION = 1


class InterfaceStatus(msgspec.Struct, frozen=True):
    """The TUN device and who we are on it."""

    name: str
    addresses: list[str]
    mtu: int
    public_key: str
    uptime_s: float


class NatStatus(msgspec.Struct, frozen=True):
    """What is known of the NAT in front of us, in the words of RFC 4787; None while it isn't known."""

    mapping: str | None = None
    filtering: str | None = None


class PathStatus(msgspec.Struct, frozen=True):
    """The path that traffic takes. `server` is the relay of ours on it, `name:port`, and what we speak to it."""

    kind: str
    local: PathEnd
    remote: PathEnd
    rtt_ms: float | None
    mtu: int
    server: str | None = None
    server_transport: str | None = None


class RelayStatus(msgspec.Struct, frozen=True):
    """An allocation on a relay: `server` (`name:port`), and the addresses there that are ours."""

    server: str
    transport: str
    addresses: list[str]
    state: str
    rtt_ms: float | None
    expires_s: float | None
    problem: str | None


class IceStatus(msgspec.Struct, frozen=True):
    """Where connectivity checks stand."""

    role: str
    pairs: int
    generation: int
    checks_done: int
    checks_total: int


class PeerStatus(msgspec.Struct, frozen=True):
    """One peer. Times are ages in seconds; `drops` counts what was thrown away, by `layer: reason`."""

    name: str
    public_key: str
    allowed_ips: list[str]
    state: str
    reason: str | None
    path: PathStatus | None
    standby_path: PathStatus | None
    aead: str | None
    quantum_resistant: bool
    last_handshake_s: float | None
    tx_bytes: int
    rx_bytes: int
    tx_packets: int
    rx_packets: int
    drops: dict[str, int]
    ice: IceStatus
    next_timer: str | None


class Health(msgspec.Struct, frozen=True):
    """Something that deserves a person's attention."""

    id: str
    message: str
    remedy: str


class Status(msgspec.Struct, frozen=True):
    """One tunnel: its interface, its peers, its health; `drops` counts what concerns no single peer, by reason."""

    schema_version: int
    interface: InterfaceStatus
    nat: NatStatus
    peers: list[PeerStatus]
    health: list[Health]
    drops: dict[str, int]
    relays: list[RelayStatus] = []


def path_status(path: Path | None, mtu: int, server: Server | None = None) -> PathStatus | None:
    """Describe a path over our relay `server`, or none; None where there is no path."""
    if path is None:
        return None
    return PathStatus(
        kind=path.kind.value,
        local=path_end(path.local, path.local.endpoint),
        remote=path_end(path.remote, path.destination),
        rtt_ms=milliseconds(path.rtt),
        mtu=mtu,
        server=None if server is None else server_text(server),
        server_transport=None if server is None else server.endpoint.transport.value,
    )
