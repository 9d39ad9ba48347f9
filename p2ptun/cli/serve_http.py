"""The options of `p2ptun serve` that are about rooms over HTTP."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_network

import click

from p2ptun.cli.option import Decorator, parse
from p2ptun.errors import ConfigError
from p2ptun.server.http.options import HttpLimits, HttpOptions
from p2ptun.stun.uri import StunUri, parse_uri
from p2ptun.types import Endpoint

DEFAULT_HTTP_PORT = 8080
DEFAULT_HTTPS_PORT = 443

_COUNT = click.IntRange(min=1)
_DEFAULT = HttpLimits()

LISTENING: list[Decorator] = [
    click.option("--listen", metavar="ADDR[:PORT]", multiple=True,
                 help="Serve rooms over HTTP here; may be repeated. Port 8080 by itself."),
    click.option("--https-listen", metavar="ADDR[:PORT]", multiple=True,
                 help="Serve them over HTTPS, with --tls-cert; may be repeated. Port 443 by itself."),
    click.option("--store", metavar="STORE",
                 help="Keep rooms here: memory, sqlite:FILE or redis://HOST:PORT.  [default: memory]"),
    click.option("--trusted-proxy", "trusted_proxies", metavar="CIDR", multiple=True,
                 help="Believe what a proxy with this address says about who its clients are; may be repeated."),
    click.option("--public-name", metavar="HOST",
                 help="How clients call this machine: in STUN and TURN servers that they are told, and on the page."),
    click.option("--announce", metavar="URI", multiple=True,
                 help="Tell clients of this STUN or TURN server, too; may be repeated. TURN needs its --secret-file."),
]  # fmt: skip

LIMITS: list[Decorator] = [
    click.option("--max-connections", metavar="N", type=_COUNT, default=_DEFAULT.connections, show_default=True,
                 help="HTTP connections in all."),
    click.option("--address-connections", metavar="N", type=_COUNT, default=_DEFAULT.address_connections,
                 show_default=True, help="HTTP connections of one client address."),
    click.option("--address-requests", metavar="N", type=_COUNT, default=_DEFAULT.address_requests, show_default=True,
                 help="HTTP requests of one client address in a minute."),
    click.option("--address-entries", metavar="N", type=_COUNT, default=_DEFAULT.address_entries, show_default=True,
                 help="Rooms that one client address may open or join in a minute."),
    click.option("--address-rooms", metavar="N", type=_COUNT, default=_DEFAULT.address_rooms, show_default=True,
                 help="Rooms that one client address may have open at a time."),
]  # fmt: skip


def http_options(
    listen: tuple[Endpoint, ...],
    https_listen: tuple[Endpoint, ...],
    secret: str,
    *,
    store: str | None,
    trusted_proxies: tuple[str, ...],
    public_name: str | None,
    announce: tuple[str, ...],
    limits: HttpLimits,
) -> HttpOptions | None:
    """Check the options; None when no rooms are served.

    Raises:
        ConfigError: Naming the option, the problem and the remedy.
    """
    if not listen + https_listen:
        _refuse_idle(store=store, trusted_proxy=trusted_proxies, public_name=public_name, announce=announce)
        return None
    servers = tuple(parse_uri(each, key="--announce") for each in announce)
    if not secret and any(each.scheme.is_turn for each in servers):
        problem = "nobody could use the relay without credentials"
        raise ConfigError("", "--announce", problem, "Give --secret-file FILE, the secret that the relay has, too.")
    return HttpOptions(
        listen=listen,
        https_listen=https_listen,
        store=store or "memory",
        trusted_proxies=tuple(parse(ip_network, "--trusted-proxy", each, "127.0.0.1/32") for each in trusted_proxies),
        public_name=_host(public_name),
        announce=servers,
        secret=secret,
        limits=limits,
    )


def http_limits(
    max_connections: int, address_connections: int, address_requests: int, address_entries: int, address_rooms: int
) -> HttpLimits:
    """Gather the limits."""
    return HttpLimits(
        connections=max_connections,
        address_connections=address_connections,
        address_requests=address_requests,
        address_entries=address_entries,
        address_rooms=address_rooms,
    )


def announces_relay(announce: tuple[str, ...]) -> bool:
    """Tell whether there is another's relay, for which a secret makes sense."""
    return any(parse_uri(each, key="--announce").scheme.is_turn for each in announce)


def _refuse_idle(**options: object) -> None:
    for name, value in options.items():
        if value:
            option = "--" + name.replace("_", "-")
            raise ConfigError("", option, "no rooms are served", "Add --listen ADDR:PORT, or leave it out.")


def _host(name: str | None) -> str:
    """Read a name, or an address without brackets."""
    if name is None:
        return ""
    uri: StunUri | None = None
    with suppress(ConfigError):
        uri = parse_uri(f"stun:[{name}]" if ":" in name else f"stun:{name}")
    if uri is None or uri.port is not None:
        raise ConfigError(
            "", "--public-name", f"{name[:100]!r} is no name of a machine", "Write it as in rv.example.net"
        )
    return uri.host
