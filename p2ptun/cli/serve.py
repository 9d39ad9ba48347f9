"""`p2ptun serve`: rooms, STUN and TURN for others, on a machine that everybody can reach."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from hashlib import blake2s
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from p2ptun.cli.option import parse, with_options
from p2ptun.cli.serve_http import (
    DEFAULT_HTTP_PORT,
    DEFAULT_HTTPS_PORT,
    LIMITS,
    LISTENING,
    announces_relay,
    http_limits,
    http_options,
)
from p2ptun.cli.serve_story import ServeView
from p2ptun.daemon.group import single_error
from p2ptun.daemon.privilege import drop_privileges
from p2ptun.daemon.secret import MAX_SIZE, hide_memory, read_private
from p2ptun.errors import ConfigError, P2ptunError
from p2ptun.relay.config import Limits, ServerConfig
from p2ptun.server.event import ErrorEvent
from p2ptun.server.options import ServeOptions
from p2ptun.server.service import Service
from p2ptun.stun.credential import CredentialStore, StaticCredentials
from p2ptun.stun.ephemeral import CredentialChain, EphemeralCredentials
from p2ptun.stun.uri import DEFAULT_PORT, DEFAULT_SECURE_PORT
from p2ptun.types import Endpoint, IPAddress

LOWEST_PORT, HIGHEST_PORT = 1024, 65535  # of the relay: it opens them when the rights of root are given up
MAX_USERS_SIZE = 1 << 20

_COUNT = click.IntRange(min=1)
_RATE = click.IntRange(min=0)
_DEFAULT = Limits()

OPTIONS = [
    *LISTENING,
    click.option("--stun-listen", metavar="ADDR[:PORT]", multiple=True,
                 help="Serve STUN here, and TURN with --relay, over UDP and TCP; may be repeated. Port 3478 by itself. "
                 "Two addresses let clients find out how their NAT behaves (RFC 5780), on two ports each."),
    click.option("--tls-listen", metavar="ADDR[:PORT]", multiple=True,
                 help="Serve STUN and TURN over TLS; may be repeated. Port 5349 by itself; 443 passes most firewalls."),
    click.option("--tls-cert", type=click.Path(path_type=Path, dir_okay=False),
                 help="Certificate chain for TLS and HTTPS, PEM; read again on SIGHUP."),
    click.option("--tls-key", type=click.Path(path_type=Path, dir_okay=False), help="Its key, PEM."),
    click.option("--relay", is_flag=True, help="Relay traffic (TURN) for those who have credentials."),
    click.option("--relay-address", "relay_addresses", metavar="ADDR", multiple=True,
                 help="Relay from this address; may be repeated.  [default: those of --stun-listen]"),
    click.option("--relay-ports", metavar="LOW-HIGH", default="49152-65535", show_default=True,
                 help="Relay from these UDP ports."),
    click.option("--realm", default="p2ptun", show_default=True, help="Name of the realm that credentials are for."),
    click.option("--secret-file", type=click.Path(path_type=Path, dir_okay=False),
                 help="File with a secret: whoever has it makes time-limited credentials (`p2ptun genturn`)."),
    click.option("--users", type=click.Path(path_type=Path, dir_okay=False),
                 help='File with users, TOML: NAME = "PASSWORD".'),
    click.option("--allow-peer", "allowed_peers", metavar="CIDR", multiple=True,
                 help="Relay to this network although it is private, or this machine; may be repeated."),
    click.option("--max-allocations", metavar="N", type=_COUNT, default=_DEFAULT.allocations, show_default=True,
                 help="Allocations in all."),
    click.option("--user-quota", metavar="N", type=_COUNT, default=_DEFAULT.user_allocations, show_default=True,
                 help="Allocations of one user."),
    click.option("--address-quota", metavar="N", type=_COUNT, default=_DEFAULT.address_allocations, show_default=True,
                 help="Allocations of one client address."),
    click.option("--allocation-rate", metavar="BYTES", type=_RATE, default=_DEFAULT.allocation_rate, show_default=True,
                 help="What one allocation may relay in a second, both ways together; 0 for no cap."),
    click.option("--total-rate", metavar="BYTES", type=_RATE, default=_DEFAULT.total_rate, show_default=True,
                 help="What all of them may."),
    *LIMITS,
    click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines on stdout."),
]  # fmt: skip


@click.command(short_help="Serve rooms for codes, STUN, and with --relay TURN.")
@with_options(OPTIONS)
def serve(**options: object) -> int:
    """Serve rooms, in which two sides meet by a code; STUN; and with --relay TURN: until Ctrl-C."""
    return _run(options)


def _run(options: dict[str, Any]) -> int:
    view = ServeView(options.pop("as_json"))
    hide_memory()
    try:
        service = Service(_options(options), view.show, drop_privileges)
        with single_error():
            trio.run(service.run, strict_exception_groups=True)
    except P2ptunError as error:
        if view.is_json:
            view.show(ErrorEvent(str(error), error.remedy))
        raise
    return 0


def _options(given: dict[str, Any]) -> ServeOptions:
    """Check the options and build what the service takes.

    Raises:
        ConfigError: Naming the option, the problem and the remedy.
    """
    stun = _endpoints("--stun-listen", given["stun_listen"], DEFAULT_PORT)
    tls = _endpoints("--tls-listen", given["tls_listen"], DEFAULT_SECURE_PORT)
    listen = _endpoints("--listen", given["listen"], DEFAULT_HTTP_PORT)
    https = _endpoints("--https-listen", given["https_listen"], DEFAULT_HTTPS_PORT)
    if not stun + tls + listen + https:
        remedy = "Give --listen ADDR:PORT for rooms, --stun-listen ADDR for STUN, or both."
        raise ConfigError("", "--listen", "there is nothing to listen on", remedy)
    http = http_options(
        listen,
        https,
        _secret(given["secret_file"]) if given["secret_file"] else "",
        **{name: given[name] for name in ("store", "trusted_proxies", "public_name", "announce")},
        limits=http_limits(**{name: given[name] for name in _names(http_limits)}),
    )
    credentials = _relay_credentials(
        given["relay"], given["secret_file"], given["users"], given["realm"], announces_relay(given["announce"])
    )
    core = _core(stun + tls, **{name: given[name] for name in (*_names(_core), *_names(_limits)) if name in given})
    certificate = _certificate(tls, https, given["tls_cert"], given["tls_key"])
    return ServeOptions(stun, tls, certificate, credentials, core, http)


def _names(function: Callable[..., object]) -> list[str]:
    """Name the parameters of a function, which are named as options are."""
    return list(inspect.signature(function).parameters)


def _core(
    listening: tuple[Endpoint, ...],
    relay: bool,
    relay_addresses: tuple[str, ...],
    relay_ports: str,
    realm: str,
    secret_file: Path | None,
    users: Path | None,
    allowed_peers: tuple[str, ...],
    **limits: int,
) -> ServerConfig:
    low, high = _ports(relay_ports)
    return ServerConfig(
        realm=realm,
        relay_addresses=_relay_addresses(relay, relay_addresses, listening),
        lowest_port=low,
        highest_port=high,
        allowed_peers=tuple(parse(ip_network, "--allow-peer", each, "192.168.1.0/24") for each in allowed_peers),
        port_key=_port_key(secret_file, users),
        limits=_limits(**limits),
    )


def _limits(max_allocations: int, user_quota: int, address_quota: int, allocation_rate: int, total_rate: int) -> Limits:
    return Limits(
        allocations=max_allocations,
        user_allocations=user_quota,
        address_allocations=address_quota,
        allocation_rate=allocation_rate,
        total_rate=total_rate,
    )


def _endpoints(option: str, texts: tuple[str, ...], default_port: int) -> tuple[Endpoint, ...]:
    return tuple(_endpoint(option, each, default_port) for each in texts)


def _endpoint(option: str, text: str, default_port: int) -> Endpoint:
    """Read `192.0.2.1`, `192.0.2.1:3478`, `2001:db8::1` or `[2001:db8::1]:3478`."""
    address, port = text, str(default_port)
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else rest or (str(default_port) if bracket else "")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    example = f"192.0.2.1:{default_port} or [2001:db8::1]:{default_port}"
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= HIGHEST_PORT):
        raise ConfigError("", option, f"{text!r} has no port from 1 to {HIGHEST_PORT}", f"Write it as in {example}")
    return Endpoint.of(parse(ip_address, option, address, example), int(port))


def _ports(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    if dash and all(each.isascii() and each.isdecimal() for each in (low, high)):
        numbers = int(low), int(high)
        if LOWEST_PORT <= numbers[0] <= numbers[1] <= HIGHEST_PORT:
            return numbers
    problem = f"{text!r} is no range of ports from {LOWEST_PORT} to {HIGHEST_PORT}"
    raise ConfigError("", "--relay-ports", problem, "Write it as in 49152-65535")


def _relay_addresses(is_wanted: bool, named: tuple[str, ...], listening: tuple[Endpoint, ...]) -> tuple[IPAddress, ...]:
    if not is_wanted:
        if named:
            raise ConfigError("", "--relay-address", "nothing is relayed", "Add --relay, or leave it out.")
        return ()
    if not listening:
        raise ConfigError(
            "", "--relay", "nothing listens for it", "Add --stun-listen ADDR, this machine's public address."
        )
    chosen = [parse(ip_address, "--relay-address", each, "192.0.2.1 or 2001:db8::1") for each in named]
    chosen = chosen or [each.address for each in listening]
    if any(each.is_unspecified for each in chosen):
        problem = "peers have to be told one address of this machine"
        raise ConfigError("", "--relay-address", problem, "Give its public address.")
    return tuple(dict.fromkeys(chosen))


def _certificate(
    tls: tuple[Endpoint, ...], https: tuple[Endpoint, ...], certificate: Path | None, key: Path | None
) -> tuple[Path, Path] | None:
    if certificate and key and tls + https:
        return certificate, key
    if tls + https:
        option = "--tls-listen" if tls else "--https-listen"
        raise ConfigError("", option, "TLS needs a certificate", "Give --tls-cert FILE and --tls-key FILE.")
    if certificate or key:
        remedy = "Add --tls-listen or --https-listen ADDR:PORT, or leave it out."
        raise ConfigError("", "--tls-cert", "nothing listens for TLS", remedy)
    return None


def _relay_credentials(
    relay: bool, secret_file: Path | None, users: Path | None, realm: str, has_other_relay: bool
) -> CredentialStore | None:
    credentials = _credentials(secret_file, users, realm)
    if relay and credentials is None:
        remedy = "Say who may: --secret-file FILE, or --users FILE."
        raise ConfigError("", "--relay", "anybody could send through it", remedy)
    if not relay and (users or (secret_file and not has_other_relay)):
        option = "--secret-file" if secret_file else "--users"
        raise ConfigError("", option, "nothing is relayed", "Add --relay, or leave it out.")
    return credentials if relay else None


def _credentials(secret_file: Path | None, users: Path | None, realm: str) -> CredentialStore | None:
    stores: list[CredentialStore] = []
    if secret_file:
        stores.append(EphemeralCredentials(_secret(secret_file), time.time))
    if users:
        stores.append(StaticCredentials(_users(users), realm))
    return CredentialChain(*stores) if stores else None


def _secret(path: Path) -> str:
    remedy = "Make one: umask 077; p2ptun genpsk > FILE"
    try:
        secret = read_private(path, "--secret-file", MAX_SIZE, remedy).decode().strip()
    except UnicodeDecodeError:
        secret = ""
    if not secret:
        raise ConfigError("", "--secret-file", f"there is no secret in {path}", remedy)
    return secret


def _port_key(*files: Path | None) -> bytes:
    """Make of the secrets, which outlive the server, the key by which clients get the same ports from the next one."""
    known = [path.read_bytes() for path in files if path is not None]
    return blake2s(b"\0".join(known), person=b"p2ptun-p").digest() if known else b""


def _users(path: Path) -> dict[str, str]:
    remedy = 'Write a line for each: alice = "PASSWORD"'
    content = read_private(path, "--users", MAX_USERS_SIZE, remedy)
    try:
        users = msgspec.toml.decode(content, type=dict[str, str])
    except (msgspec.MsgspecError, ValueError):  # what it says may quote a password
        raise ConfigError("", "--users", f"{path} is no list of users", remedy) from None
    if not users or not all(name and password for name, password in users.items()):
        raise ConfigError("", "--users", f"{path} names no user, or one without a password", remedy)
    return users
