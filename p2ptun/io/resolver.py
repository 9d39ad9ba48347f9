"""STUN and TURN servers by name: from a URI to transport addresses.

Two questions, two ways to ask. *Addresses* come from getaddrinfo (in a thread of trio's): every other program on the
machine uses it, so /etc/hosts, nsswitch.conf, mDNS and a company's split DNS give the same answer here. *SRV records*
(RFC 8489 8.1, RFC 5928) are beyond getaddrinfo; dnspython asks for them, and only when the URI names no port.
The NAPTR step of RFC 5928 is left out: our URIs always settle the transport.

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
from p2ptun.types import Endpoint, Transport

RESOLVE_TIMEOUT: Final = 8.0  # seconds for everything: two tries of a usual resolv.conf
SERVICE_TIMEOUT: Final = 2.0  # seconds for SRV alone: some home routers never answer it
MAX_ENDPOINTS: Final = 8  # of one server: each costs a transaction per local address
MAX_TARGETS: Final = 4  # SRV targets that are looked up

_SPELLING = "Check the spelling, or give the server's IP address."


class ResolutionError(P2ptunError):
    """A server's name has no address, or nobody says which. The tunnel works without that server."""


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int


async def resolve(uri: StunUri, nameservers: Sequence[Endpoint] = ()) -> list[Endpoint]:
    """Find the transport addresses of a server, best first, IPv4 and IPv6, MAX_ENDPOINTS at most and one at least.

    `nameservers` are asked for SRV records in place of those in /etc/resolv.conf.

    Raises:
        ResolutionError: In one sentence; never anything else, whatever the name or the answers.
    """
    if uri.address is not None:
        return [Endpoint.of(uri.address, uri.port_or_default)]
    with trio.move_on_after(RESOLVE_TIMEOUT):
        return await _resolve_name(uri, nameservers)
    raise ResolutionError(
        f"No name server answered for {uri.host} within {RESOLVE_TIMEOUT:g} s.", "Check the network and DNS."
    )


async def _resolve_name(uri: StunUri, nameservers: Sequence[Endpoint]) -> list[Endpoint]:
    targets = [] if uri.port is not None else await _find_targets(uri, nameservers)
    if not targets:
        return await _addresses_of(_Target(uri.host, uri.port_or_default))
    found: dict[Endpoint, None] = {}
    problem: ResolutionError | None = None
    for target in targets:
        try:
            found |= dict.fromkeys(await _addresses_of(target))
        except ResolutionError as error:
            problem = error
    if problem is not None and not found:
        raise problem
    return list(found)[:MAX_ENDPOINTS]


async def _find_targets(uri: StunUri, nameservers: Sequence[Endpoint]) -> list[_Target]:
    """Ask for SRV records, in the order of RFC 2782; none when there are none or nobody answers.

    Raises:
        ResolutionError: If the one record says that the service isn't offered.
    """
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException
    from dns.rdtypes.IN.SRV import SRV

    carrier = "udp" if uri.transport_or_default is Transport.UDP else "tcp"  # TLS too is announced under tcp
    service = f"_{uri.scheme.value}._{carrier}.{uri.host.rstrip('.')}."
    records: list[SRV] = []
    with trio.move_on_after(SERVICE_TIMEOUT):
        try:
            resolver = Resolver(configure=not nameservers)
            if nameservers:
                resolver.nameservers = [str(each.address) for each in nameservers]
                resolver.nameserver_ports = {str(each.address): each.port for each in nameservers}
            answer = await resolver.resolve(service, "SRV", search=False)
            found = answer.rrset.processing_order() if answer.rrset is not None else []
            records = [record for record in found if isinstance(record, SRV)]
        except (DNSException, OSError, UnicodeError):
            return []
    if [record.target.to_text() for record in records] == ["."]:
        raise ResolutionError(f"{uri.host} says that it offers no {uri.scheme.value} service.", _SPELLING)
    return [_Target(record.target.to_text(omit_final_dot=True), record.port) for record in records[:MAX_TARGETS]]


async def _addresses_of(target: _Target) -> list[Endpoint]:
    try:
        answers = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise _translated(target.host, error) from error
    except (OSError, UnicodeError, ValueError) as error:
        raise ResolutionError(f"{target.host!r} can't be the name of a host.", _SPELLING) from error
    # the third shape that its type allows for is that of a Python without IPv6
    decoded = [endpoint_of(cast(SockAddr, sockaddr)) for *_, sockaddr in answers]
    found = dict.fromkeys(Endpoint.of(each.address, each.port) for each in decoded)
    usable = [each for each in found if not (each.address.is_unspecified or each.address.is_multicast)]
    if not usable:
        raise ResolutionError(f"{target.host} has no address that a server can have.", _SPELLING)
    return usable[:MAX_ENDPOINTS]


def _translated(host: str, error: socket.gaierror) -> ResolutionError:
    if error.errno == socket.EAI_AGAIN:
        return ResolutionError(f"No name server answered for {host}.", "Check the network and DNS.")
    return ResolutionError(f"There is no host named {host}.", _SPELLING)
