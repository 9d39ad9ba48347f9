"""The links that names live on, and the sockets there: one for IPv4, one for IPv6 (RFC 6762 3, 15)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2ptun.types import Endpoint

MDNS_PORT: Final = 5353  # RFC 6762 3
GROUP_V4: Final = Endpoint.of("224.0.0.251", MDNS_PORT)  # RFC 6762 3
GROUP_V6: Final = Endpoint.of("ff02::fb", MDNS_PORT)


@dataclass(frozen=True, slots=True)
class Local:
    """One socket. `is_shared`: another program has port 5353 too, and might get what is sent to this host alone."""

    link: str
    is_shared: bool


class Locals:
    """The sockets by the endpoint that stands for each: an address of the link, and port 5353."""

    def __init__(self) -> None:
        self._locals: dict[Endpoint, Local] = {}

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._locals)

    def __contains__(self, local: Endpoint) -> bool:
        return local in self._locals

    def add(self, local: Endpoint, link: str, is_shared: bool) -> None:
        """Take a socket in."""
        self._locals[local] = Local(link, is_shared)

    def remove(self, local: Endpoint) -> None:
        """Forget a socket; harmless when it isn't there."""
        self._locals.pop(local, None)

    def link_of(self, local: Endpoint) -> str:
        """Name the link of a socket."""
        return self._locals[local].link

    def is_shared(self, local: Endpoint) -> bool:
        """Tell whether what is sent to this socket's address might reach another program."""
        return self._locals[local].is_shared

    def of_link(self, link: str) -> list[Endpoint]:
        """List the sockets on a link."""
        return [local for local, each in self._locals.items() if each.link == link]


def group_of(local: Endpoint) -> Endpoint:
    """Give the multicast group that a socket sends to."""
    return GROUP_V4 if local.address.version == 4 else GROUP_V6
