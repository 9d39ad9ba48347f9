"""The document of `p2ptun netcheck --json`.

Fields are only ever added under one `schema_version`. `p2ptun/cli/netcheck.schema.json` is its schema.
"""

from __future__ import annotations

import msgspec

from p2ptun.daemon.event import milliseconds
from p2ptun.daemon.exploration import Vantage
from p2ptun.daemon.netcheck import Findings, ServerFindings
from p2ptun.daemon.netcheck_advice import meaning, warnings
from p2ptun.daemon.reachability import Way
from p2ptun.daemon.relay_trial import RelayResult
from p2ptun.daemon.status import Health
from p2ptun.nat.behavior import Lifetime, NatBehavior

SCHEMA_VERSION = 1


class AddressDocument(msgspec.Struct, frozen=True):
    """An address of this machine that a tunnel would use."""

    address: str
    interface: str


class PortsDocument(msgspec.Struct, frozen=True):
    """How ports of new bindings follow each other: preserving, sequential or random."""

    allocation: str
    delta: int | None
    is_consistent: bool


class LifetimeDocument(msgspec.Struct, frozen=True):
    """How long a binding lives without traffic, in seconds."""

    at_least_s: float
    at_most_s: float | None


class NatDocument(msgspec.Struct, frozen=True):
    """What is between one local address and the internet, in the words of RFC 4787; None where it isn't known."""

    family: str
    local: str
    interface: str
    public: list[str]
    has_nat: bool | None
    mapping: str | None
    filtering: str | None
    ports: PortsDocument | None
    preserves_port: bool | None
    hairpins: bool | None
    sends_fragments: bool | None
    receives_fragments: bool | None
    lifetime: LifetimeDocument | None
    meaning: list[str]


class WayDocument(msgspec.Struct, frozen=True):
    """A server at one transport address; `time_ms` includes all handshakes and is None when it didn't answer."""

    transport: str
    address: str
    port: int
    time_ms: float | None
    mapped: str | None
    problem: str | None


class RelayDocument(msgspec.Struct, frozen=True):
    """What came of asking for an address on a relay."""

    works: bool
    relayed: list[str]
    time_ms: float | None
    problem: str | None


class ServerDocument(msgspec.Struct, frozen=True):
    """One server as it was named."""

    uri: str
    problem: str | None
    has_second_address: bool | None
    ways: list[WayDocument]
    relay: RelayDocument | None


class NetcheckDocument(msgspec.Struct, frozen=True):
    """All of it."""

    schema_version: int
    addresses: list[AddressDocument]
    nat: list[NatDocument]
    servers: list[ServerDocument]
    warnings: list[Health]
    took_ms: float | None


def describe(findings: Findings) -> NetcheckDocument:
    """Write the document."""
    return NetcheckDocument(
        schema_version=SCHEMA_VERSION,
        addresses=[AddressDocument(str(each.address), each.interface) for each in findings.addresses],
        nat=[_nat(vantage, behavior) for vantage, behavior in findings.behaviors],
        servers=[_server(each) for each in findings.servers],
        warnings=warnings(findings),
        took_ms=milliseconds(findings.took),
    )


def describe_lifetime(lifetime: Lifetime | None) -> LifetimeDocument | None:
    """Write a lifetime."""
    return None if lifetime is None else LifetimeDocument(lifetime.at_least, lifetime.at_most)


def _nat(vantage: Vantage, behavior: NatBehavior) -> NatDocument:
    ports = behavior.allocation
    return NatDocument(
        family=f"ipv{vantage.address.version}",
        local=str(vantage.address),
        interface=vantage.interface,
        public=[str(each) for each in behavior.public],
        has_nat=behavior.has_nat,
        mapping=behavior.mapping and behavior.mapping.value,
        filtering=behavior.filtering and behavior.filtering.value,
        ports=None if ports is None else PortsDocument(ports.kind.value, ports.delta, ports.is_consistent),
        preserves_port=behavior.preserves_port,
        hairpins=behavior.hairpins,
        sends_fragments=behavior.sends_fragments,
        receives_fragments=behavior.receives_fragments,
        lifetime=describe_lifetime(behavior.lifetime),
        meaning=meaning(behavior),
    )


def _server(server: ServerFindings) -> ServerDocument:
    return ServerDocument(
        uri=str(server.uri),
        problem=None if server.problem is None else str(server.problem),
        has_second_address=server.has_second_address,
        ways=[_way(way) for way in server.ways],
        relay=None if server.relay is None else _relay(server.relay),
    )


def _relay(relay: RelayResult) -> RelayDocument:
    relayed = [str(each) for each in relay.relayed]
    return RelayDocument(bool(relayed), relayed, milliseconds(relay.time), relay.problem or None)


def _way(way: Way) -> WayDocument:
    endpoint = way.server.endpoint
    problem = None
    if way.time is None:
        problem = way.detail or ("no answer" if way.problem is None else way.problem.value)
    return WayDocument(
        transport=endpoint.transport.value,
        address=str(endpoint.address),
        port=endpoint.port,
        time_ms=milliseconds(way.time),
        mapped=None if way.mapped is None else str(way.mapped),
        problem=problem,
    )
