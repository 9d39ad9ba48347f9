"""The servers that people write down: `stun:`, `stuns:` (RFC 7064), `turn:`, `turns:` (RFC 7065).

::

    stun:host            stun:192.0.2.1:3478          stuns:[2001:db8::1]:5349
    turn:host            turn:host:443?transport=tcp  turns:host
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NoReturn

from p2ptun.errors import ConfigError
from p2ptun.types import IPAddress, Transport, unmapped

DEFAULT_PORT: Final = 3478  # RFC 8489 8
DEFAULT_SECURE_PORT: Final = 5349  # RFC 8489 8
MAX_QUOTED: Final = 100  # characters of a bad URI that an error repeats: enough to find it, too few to flood a terminal

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?![0-9]+\Z)(.*)", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([^:]*))?")
_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_NUMERIC: Final = re.compile(r"[0-9.]+")


class Scheme(Enum):
    """The four schemes."""

    STUN = "stun"
    STUNS = "stuns"
    TURN = "turn"
    TURNS = "turns"

    @property
    def is_secure(self) -> bool:
        """Tell whether TLS wraps it."""
        return self in (Scheme.STUNS, Scheme.TURNS)

    @property
    def is_turn(self) -> bool:
        """Tell whether it names a relay."""
        return self in (Scheme.TURN, Scheme.TURNS)


@dataclass(frozen=True, slots=True)
class StunUri:
    """A server as it was written.

    `host` is a name in lower case or an IP address in its canonical form, without brackets. `port` and `transport` are
    None where the URI leaves them open: then DNS SRV may fill them in (RFC 5928, RFC 8489 8), and without it
    `port_or_default` and `transport_or_default` hold.
    """

    scheme: Scheme
    host: str
    port: int | None = None
    transport: Transport | None = None

    @property
    def is_secure(self) -> bool:
        """Tell whether TLS wraps it."""
        return self.scheme.is_secure

    @property
    def address(self) -> IPAddress | None:
        """The host as an address; None when it is a name that has to be resolved."""
        return _parse_address(self.host)

    @property
    def port_or_default(self) -> int:
        """The port to use when DNS has nothing to say about it."""
        if self.port is not None:
            return self.port
        return DEFAULT_SECURE_PORT if self.is_secure else DEFAULT_PORT

    @property
    def transport_or_default(self) -> Transport:
        """The transport to try first."""
        if self.transport is not None:
            return self.transport
        return Transport.TLS if self.is_secure else Transport.UDP

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        written = Transport.TCP if self.transport is Transport.TLS else self.transport
        query = "" if written is None else f"?transport={written.value}"
        return f"{self.scheme.value}:{host}{port}{query}"


def parse_uri(text: str, where: str = "", key: str = "server") -> StunUri:
    """Read a `stun:`, `stuns:`, `turn:` or `turns:` URI.

    `where` and `key` name the file and key, or the option, for the person who will read the error.

    Raises:
        ConfigError: it is none; one sentence says why, the remedy how to write it.
    """
    return _Parser(text, where, key).parse()


class _Parser:
    """One URI being read; carries what an error has to name."""

    __slots__ = ("_key", "_text", "_where")

    def __init__(self, text: str, where: str, key: str) -> None:
        self._text = text
        self._where = where
        self._key = key

    def parse(self) -> StunUri:
        match = _SCHEME.fullmatch(self._text)
        if match is None:
            self._fail("has no scheme", "Write stun:HOST[:PORT] or turn:HOST[:PORT].")
        try:
            scheme = Scheme(match[1].lower())
        except ValueError:
            self._fail(f"has the scheme {_quoted(match[1])}", "Use one of stun:, stuns:, turn: and turns:.")
        rest = match[2]
        if "@" in rest:
            self._fail("holds a user name", "Give user name and password by their own options, and only the host here.")
        if rest.startswith("//"):
            written = _quoted(f"{scheme.value}:{rest.lstrip('/')}")
            self._fail("has two slashes, which these URIs don't", f"Write {written}.")
        authority, question, query = rest.partition("?")
        transport = self._parse_query(scheme, query) if question else None
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            self._fail("has a host that can't be read", "Write an IPv6 address in brackets: stun:[2001:db8::1]:3478.")
        return StunUri(scheme, self._parse_host(match[1]), self._parse_port(match[2]), transport)

    def _parse_query(self, scheme: Scheme, query: str) -> Transport:
        if not scheme.is_turn:
            self._fail(f"has a parameter, which {scheme.value}: doesn't take", "Leave out what follows the '?'.")
        name, _, value = query.partition("=")
        if name.lower() != "transport" or value.lower() not in ("udp", "tcp"):
            self._fail(
                f"has the parameter {_quoted(query)}", "Write ?transport=udp or ?transport=tcp, or leave it out."
            )
        if not scheme.is_secure:
            return Transport(value.lower())
        if value.lower() == "udp":
            self._fail("asks for DTLS, which p2ptun doesn't speak", "Write ?transport=tcp for TLS, or use turn:.")
        return Transport.TLS

    def _parse_host(self, host: str) -> str:
        if host.startswith("["):
            address = _parse_address(host[1:-1])
            if not isinstance(address, IPv6Address) or "%" in host:
                self._fail(
                    f"has {_quoted(host)}, which is no IPv6 address", "Write it like [2001:db8::1], without a zone."
                )
            return str(unmapped(address))
        if not host:
            self._fail("has no host", "Write the server's name or address after the scheme.")
        if _NUMERIC.fullmatch(host) and _parse_address(host) is None:
            self._fail(
                f"has {_quoted(host)}, which is no IPv4 address", "Write four numbers up to 255 with dots between."
            )
        if not _NAME.fullmatch(host) or len(host) > 254:
            self._fail(
                f"has the host {_quoted(host)}, which is no DNS name", "Write letters, digits, hyphens and dots only."
            )
        return host.lower()

    def _parse_port(self, port: str | None) -> int | None:
        if port is None:
            return None
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535):
            self._fail(f"has the port {_quoted(port)}", "Write a port from 1 to 65535, or leave it out.")
        return int(port)

    def _fail(self, problem: str, remedy: str) -> NoReturn:
        # Who writes user:password@host gets neither shown.
        _, at, host = self._text.rpartition("@")
        shown = f"...@{host}" if at else host
        raise ConfigError(self._where, self._key, f"{_quoted(shown)} {problem}", remedy)


def _quoted(text: str) -> str:
    return repr(text[:MAX_QUOTED])


def _parse_address(host: str) -> IPAddress | None:
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return None
