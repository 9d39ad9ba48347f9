"""What `p2ptun netcheck` does: looks at this machine's addresses, the NATs before them, and the servers it was given.

Everything runs at once and is over in five seconds. Only what would make bindings of its own over UDP waits a moment:
it would disturb the order in which a NAT's ports are seen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from p2ptun.daemon.exploration import Vantage, choose_vantage, explore, route_guard
from p2ptun.daemon.group import single_error
from p2ptun.daemon.reachability import Way, reach
from p2ptun.daemon.relay_trial import RelayResult, RelayTrial
from p2ptun.daemon.turn_credentials import Issued, TurnCredentials
from p2ptun.errors import DeviceError
from p2ptun.io.address import LocalAddress
from p2ptun.io.guard import RouteGuard
from p2ptun.io.monitor import read_network
from p2ptun.io.network import Network
from p2ptun.io.resolver import ResolutionError, resolve
from p2ptun.io.tls import Trust
from p2ptun.nat.behavior import NatBehavior
from p2ptun.nat.discovery import MAX_SERVERS
from p2ptun.nat.event import DiscoveryEvent, ServerAnswered
from p2ptun.stun.uri import DEFAULT_SECURE_PORT, StunUri
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, Transport

NAME_PATIENCE: Final = 1.5  # seconds for names
UDP_DELAY: Final = 0.75  # seconds until bindings that no discovery makes may be made
PATIENCE: Final = 4.0  # seconds for everything: with the start of the program, a person waits for five


@dataclass(frozen=True, slots=True)
class NetcheckOptions:
    """What the person asked for."""

    stun: tuple[StunUri, ...] = ()
    turn: tuple[StunUri, ...] = ()
    credentials: TurnCredentials | None = None
    ca_file: Path | None = None


@dataclass(slots=True)
class ServerFindings:
    """One server as it was named.

    Attributes:
        uri: As the person wrote it.
        problem: Why its name has no address.
        ways: Its transport addresses, each tried.
        has_second_address: Whether it helps with the tests of RFC 5780; None when it didn't answer over UDP.
        relay: What came of asking for an address; None when it wasn't asked.
        issued: The credential that it was shown.
    """

    uri: StunUri
    problem: ResolutionError | None = None
    ways: list[Way] = field(default_factory=list)
    has_second_address: bool | None = None
    relay: RelayResult | None = None
    issued: Issued | None = None

    @property
    def is_reached(self) -> bool:
        """Tell whether it answered over any transport."""
        return any(way.time is not None for way in self.ways)

    def reached_over(self, transport: Transport) -> bool | None:
        """Tell whether it answered over this transport; None when that wasn't tried."""
        tried = [way for way in self.ways if way.server.endpoint.transport is transport]
        return any(way.time is not None for way in tried) if tried else None


@dataclass(slots=True)
class Findings:
    """All that was found.

    Attributes:
        addresses: Those of this machine that a tunnel would use.
        behaviors: What is before each address that a server was asked from.
        servers: As they were named.
        vantages: From where each server was asked.
        problems: Why an address couldn't be asked from.
        took: Seconds.
    """

    addresses: tuple[LocalAddress, ...] = ()
    behaviors: list[tuple[Vantage, NatBehavior]] = field(default_factory=list)
    servers: list[ServerFindings] = field(default_factory=list)
    vantages: dict[Endpoint, Vantage] = field(default_factory=dict)
    problems: list[DeviceError] = field(default_factory=list)
    took: float = 0.0

    @property
    def best_server(self) -> tuple[Vantage, Endpoint] | None:
        """Choose a server that can measure lifetimes, one with two addresses first, and from where to ask it."""
        for server in sorted(self.servers, key=lambda each: not each.has_second_address):
            for way in server.ways:
                if way.mapped is not None and way.server.endpoint.transport is Transport.UDP:
                    return self.vantages[way.server.endpoint], way.server.endpoint
        return None


class Netcheck:
    """One check, from names to findings."""

    def __init__(self, options: NetcheckOptions) -> None:
        self._options = options
        self._trust = Trust(options.ca_file)
        self._findings = Findings(servers=[ServerFindings(uri) for uri in (*options.stun, *options.turn)])
        self._deadline = 0.0

    async def run(self) -> Findings:
        """Check everything.

        Raises:
            DeviceError: If the network can't be read, or no socket be opened.
            ConfigError: If the file of certificates can't be used.
        """
        begins_at = trio.current_time()
        self._deadline = begins_at + PATIENCE
        network = await read_network()
        self._findings.addresses = network.candidates
        if self._options.ca_file is not None:
            await self._trust.context()
        with route_guard(network) as guard, single_error():
            async with trio.open_nursery() as nursery:
                for server in self._findings.servers:
                    nursery.start_soon(self._resolve, server, network, guard)
            async with trio.open_nursery() as nursery:
                self._start_all(nursery, network, guard)
        self._findings.took = trio.current_time() - begins_at
        return self._findings

    async def _resolve(self, server: ServerFindings, network: Network, guard: RouteGuard) -> None:
        """Find the addresses of a server, one of each family that this machine has, and list the ways to them."""
        try:
            with trio.move_on_after(NAME_PATIENCE) as scope:
                endpoints = await resolve(server.uri)
            if scope.cancelled_caught:
                raise ResolutionError(f"No name server answered for {server.uri.host}.", "Check the network and DNS.")
        except ResolutionError as error:
            server.problem = error
            return
        best = {(each.transport, each.address.version): each for each in reversed(_transports(server.uri, endpoints))}
        usable = [each for each in reversed(best.values()) if choose_vantage(network, guard, each) is not None]
        if not usable:
            version = endpoints[0].address.version
            server.problem = ResolutionError(
                f"This machine has no IPv{version} address, and {server.uri.host} no other one.",
                f"Connect it to a network with IPv{version}, or name another server.",
            )
        server.ways = [Way(Server(each, server.uri.host)) for each in usable]

    def _start_all(self, nursery: trio.Nursery, network: Network, guard: RouteGuard) -> None:
        groups: dict[Vantage, list[Endpoint]] = {}
        for server in self._findings.servers:
            for number, way in enumerate(server.ways):
                endpoint = way.server.endpoint
                vantage = choose_vantage(network, guard, endpoint)
                if vantage is None:
                    continue
                self._findings.vantages[endpoint] = vantage
                if endpoint.transport is Transport.UDP and _joins(groups.setdefault(vantage, []), endpoint):
                    continue
                nursery.start_soon(self._reach, server, number, vantage, guard)
            if server.uri.scheme.is_turn and server.ways and self._options.credentials is not None:
                nursery.start_soon(self._try_relay, server, network, guard)
        for vantage, endpoints in groups.items():
            nursery.start_soon(self._explore, vantage, guard, endpoints)

    async def _explore(self, vantage: Vantage, guard: RouteGuard, servers: Sequence[Endpoint]) -> None:
        if not servers:
            return
        try:
            behavior = await explore(vantage, guard, servers, self._handle)
        except DeviceError as error:  # the address went meanwhile; others may do
            self._findings.problems.append(error)
            return
        self._findings.behaviors.append((vantage, behavior))
        self._findings.behaviors.sort(key=lambda each: each[0].address.version)

    def _handle(self, event: DiscoveryEvent) -> None:
        if not isinstance(event, ServerAnswered):
            return
        for server in self._findings.servers:
            for number, way in enumerate(server.ways):
                if way.server.endpoint == event.server:
                    server.ways[number] = replace(way, time=event.rtt, mapped=event.mapped)
                    server.has_second_address = server.has_second_address or event.other is not None

    async def _reach(self, server: ServerFindings, number: int, vantage: Vantage, guard: RouteGuard) -> None:
        target = server.ways[number].server
        if target.endpoint.transport is Transport.UDP:
            await trio.sleep(UDP_DELAY)
        server.ways[number] = await reach(target, vantage.options(guard), self._trust, self._deadline)

    async def _try_relay(self, server: ServerFindings, network: Network, guard: RouteGuard) -> None:
        """Ask a relay for an address with the credentials that were given."""
        credentials = self._options.credentials
        if credentials is None:
            return
        await trio.sleep(UDP_DELAY)
        server.issued = credentials.issue(time.time())
        vantage = choose_vantage(network, guard, server.ways[0].server.endpoint)
        if vantage is not None:
            servers = [way.server for way in server.ways if _is_wanted(server.uri, way.server.endpoint)]
            trial = RelayTrial(servers, server.issued.credential, vantage.options(guard), self._trust)
            server.relay = await trial.run(self._deadline)


def _joins(group: list[Endpoint], endpoint: Endpoint) -> bool:
    """Add a server to those of a discovery, if there is room; tell whether it is among them."""
    if endpoint not in group and len(group) < MAX_SERVERS:
        group.append(endpoint)
    return endpoint in group


def _transports(uri: StunUri, found: Sequence[Endpoint]) -> list[Endpoint]:
    """List the transport addresses of a server to try: of all transports where the URI leaves that open."""
    if uri.is_secure:
        return [replace(each, transport=Transport.TLS) for each in found]
    if uri.transport is not None:
        return list(found)
    over_udp = [each for each in found if each.transport is Transport.UDP]
    over_tcp = [each for each in found if each.transport is Transport.TCP]
    over_tcp = over_tcp or [replace(each, transport=Transport.TCP) for each in over_udp]
    secure = [Endpoint(each.address, DEFAULT_SECURE_PORT, Transport.TLS) for each in over_tcp]
    return [*over_udp, *over_tcp, *(secure if uri.port is None else [])]


def _is_wanted(uri: StunUri, endpoint: Endpoint) -> bool:
    """Tell whether the URI itself names this transport: a tunnel uses no other one."""
    if uri.is_secure or uri.transport is not None:
        return endpoint.transport is uri.transport_or_default
    return endpoint.transport is not Transport.TLS
