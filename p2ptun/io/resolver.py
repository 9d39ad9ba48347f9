"""STUN and TURN servers by name: from a URI to transport addresses.

Two questions, two ways to ask. *Addresses* come from getaddrinfo (in a thread of trio's): every other program on the
machine uses it, so /etc/hosts, nsswitch.conf, mDNS and a company's split DNS give the same answer here. *SRV records*
(RFC 8489 8.1, RFC 5928) are beyond getaddrinfo; dnspython asks for them, and only when the URI names no port.
The NAPTR step of RFC 5928 is left out: it would only order the transports, and we want all of them.

`turn:` without a transport means UDP and, after it, TCP. RFC 5928 3 means UDP alone where DNS has no SRV records; but
relays are for networks that let little through, and nearly all of them listen on both. Where there are SRV records,
they decide, for each transport.

dnspython is imported on first use.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import trio

from p2ptun.errors import P2ptunError
from p2ptun.io.sockaddr import SockAddr, endpoint_of
from p2ptun.stun.uri import StunUri
from p2ptun.types import Endpoint, Transport, unmapped

RESOLVE_TIMEOUT: Final = 8.0  # seconds for everything: two tries of a usual resolv.conf
SERVICE_TIMEOUT: Final = 2.0  # seconds for SRV alone: some home routers never answer it
MAX_ENDPOINTS: Final = 8  # of one server and transport: each costs a transaction per local address
MAX_TARGETS: Final = 4  # SRV targets that are looked up

_SPELLING = "Check the spelling, or give the server's IP address."


class ResolutionError(P2ptunError):
    """A server's name has no address, or nobody says which. The tunnel works without that server."""


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    transports: tuple[Transport, ...]


async def resolve(uri: StunUri, nameservers: Sequence[Endpoint] = ()) -> list[Endpoint]:
    """Find the transport addresses of a server, best first, IPv4 and IPv6, one at least.

    Those of a relay have the transport to speak to it (UDP before TCP, MAX_ENDPOINTS of each); those of a STUN server
    are for UDP. `nameservers` are asked for SRV records in place of those in /etc/resolv.conf.

    Raises:
        ResolutionError: In one sentence; never anything else, whatever the name or the answers.
    """
    if uri.address is not None:
        return [Endpoint.of(uri.address, uri.port_or_default, transport) for transport in _transports_of(uri)]
    with trio.move_on_after(RESOLVE_TIMEOUT):
        return await _resolve_name(uri, nameservers)
    raise ResolutionError(
        f"No name server answered for {uri.host} within {RESOLVE_TIMEOUT:g} s.", "Check the network and DNS."
    )


async def _resolve_name(uri: StunUri, nameservers: Sequence[Endpoint]) -> list[Endpoint]:
    found: dict[Endpoint, None] = {}
    problem: ResolutionError | None = None
    for target in await _find_targets(uri, nameservers):
        try:
            found |= dict.fromkeys(await _addresses_of(target))
        except ResolutionError as error:
            problem = error
    if problem is not None and not found:
        raise problem
    by_transport = [[each for each in found if each.transport is transport] for transport in _transports_of(uri)]
    return [each for endpoints in by_transport for each in endpoints[:MAX_ENDPOINTS]]


def _transports_of(uri: StunUri) -> tuple[Transport, ...]:
    """List the transports that a URI asks for, best first."""
    if not uri.scheme.is_turn:
        return (Transport.UDP,)
    if uri.transport is None and not uri.is_secure:
        return Transport.UDP, Transport.TCP
    return (uri.transport_or_default,)


async def _find_targets(uri: StunUri, nameservers: Sequence[Endpoint]) -> list[_Target]:
    """Give the hosts that DNS names for the service, or else the host of the URI itself.

    Raises:
        ResolutionError: If DNS says that the service isn't offered.
    """
    itself = [_Target(uri.host, uri.port_or_default, _transports_of(uri))]
    if uri.port is not None:
        return itself
    answers: dict[Transport, list[_Target]] = {}
    with trio.move_on_after(SERVICE_TIMEOUT):
        async with trio.open_nursery() as nursery:
            for transport in _transports_of(uri):
                nursery.start_soon(_ask, uri, transport, nameservers, answers)
    if not answers:
        return itself
    offered = [target for targets in answers.values() for target in targets]
    if not offered:
        raise ResolutionError(f"{uri.host} says that it offers no {uri.scheme.value} service.", _SPELLING)
    return offered


async def _ask(
    uri: StunUri, transport: Transport, nameservers: Sequence[Endpoint], answers: dict[Transport, list[_Target]]
) -> None:
    """Ask for SRV records, and put them down in the order of RFC 2782; nothing when there are none or nobody answers.

    No target at all means that the service isn't offered.
    """
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException
    from dns.rdtypes.IN.SRV import SRV

    carrier = "tcp" if uri.is_secure or transport is not Transport.UDP else "udp"  # TLS too is announced under tcp
    service = f"_{uri.scheme.value}._{carrier}.{uri.host.rstrip('.')}."
    try:
        resolver = Resolver(configure=not nameservers)
        if nameservers:
            resolver.nameservers = [str(each.address) for each in nameservers]
            resolver.nameserver_ports = {str(each.address): each.port for each in nameservers}
        answer = await resolver.resolve(service, "SRV", search=False)
    except (DNSException, OSError, UnicodeError):
        return
    found = answer.rrset.processing_order() if answer.rrset is not None else []
    records = [record for record in found if isinstance(record, SRV)]
    if [record.target.to_text() for record in records] == ["."]:
        records = []
    elif not records:
        return
    answers[transport] = [
        _Target(record.target.to_text(omit_final_dot=True), record.port, (transport,))
        for record in records[:MAX_TARGETS]
    ]


async def _addresses_of(target: _Target) -> list[Endpoint]:
    try:
        answers = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise _translated(target.host, error) from error
    except (OSError, UnicodeError, ValueError) as error:
        raise ResolutionError(f"{target.host!r} can't be the name of a host.", _SPELLING) from error
    # the third shape that its type allows for is that of a Python without IPv6
    decoded = [endpoint_of(cast(SockAddr, sockaddr)) for *_, sockaddr in answers]
    found = dict.fromkeys(unmapped(each.address) for each in decoded)
    usable = [each for each in found if not (each.is_unspecified or each.is_multicast)]
    if not usable:
        raise ResolutionError(f"{target.host} has no address that a server can have.", _SPELLING)
    return [
        Endpoint(address, target.port, transport)
        for transport in target.transports
        for address in usable[:MAX_ENDPOINTS]
    ]


def _translated(host: str, error: socket.gaierror) -> ResolutionError:
    if error.errno == socket.EAI_AGAIN:
        return ResolutionError(f"No name server answered for {host}.", "Check the network and DNS.")
    return ResolutionError(f"There is no host named {host}.", _SPELLING)
