"""The configuration of a tunnel between machines that know each other: `/etc/p2ptun/NAME.toml`.

`read_config` reads and checks all of it, the files that it names included, before anything is opened: what it returns
is right in itself, and only the machine and the network can still object. `examples/home.toml` shows every key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Final

import msgspec

from p2ptun.daemon.agreement import is_catch_all, overlaps
from p2ptun.daemon.authority import check_authorities
from p2ptun.daemon.options import MAX_MTU, MIN_MTU
from p2ptun.daemon.secret import MAX_SIZE, read_private
from p2ptun.daemon.toml import read_toml
from p2ptun.daemon.turn_credentials import TurnCredentials, password_credentials, read_credentials
from p2ptun.errors import ConfigError, DeviceError
from p2ptun.ice.config import PathPolicy
from p2ptun.io.tun import check_name
from p2ptun.noise.keypair import KeyPair, decode_key
from p2ptun.stun.trust import Scope, scope_of
from p2ptun.stun.uri import Scheme, StunUri, parse_uri
from p2ptun.types import IPInterface, IPNetwork, Transport, unmapped

DIRECTORY: Final = Path("/etc/p2ptun")
SUFFIX: Final = ".toml"

MAX_PEER_NAME: Final = 63
_PEER_NAME = re.compile(rf"[a-z0-9][a-z0-9.-]{{0,{MAX_PEER_NAME - 1}}}")
_KEY_REMEDY = "Make one: umask 077; p2ptun genkey > FILE"
_PSK_REMEDY = "Make one for both sides: umask 077; p2ptun genpsk > FILE"


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """A relay, and what it lets us in for; None for one that lets in anybody."""

    uri: StunUri
    credentials: TurnCredentials | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class IceConfig:
    """How paths are found. `hides_addresses`, `maps_ports`, `hard_nat`: as in `AdhocOptions`."""

    stun: tuple[StunUri, ...] = ()
    turn: tuple[RelayConfig, ...] = ()
    hides_addresses: bool = False
    maps_ports: bool = True
    hard_nat: bool = True


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """The other side: `psk` is None where there is none, `allowed_ips` what may come from it and goes to it."""

    name: str
    public_key: bytes
    allowed_ips: tuple[IPNetwork, ...]
    psk: bytes | None = field(default=None, repr=False)
    path: PathPolicy = PathPolicy.ANY


@dataclass(frozen=True, slots=True)
class TunnelConfig:
    """One tunnel. `name` is the interface's; `mtu` is None where it is to be chosen."""

    path: Path
    name: str
    addresses: tuple[IPInterface, ...]
    keys: KeyPair
    mtu: int | None
    rendezvous: tuple[str, ...]
    ca_file: Path | None
    ice: IceConfig
    peer: PeerConfig


class _Interface(msgspec.Struct, frozen=True):
    address: list[str]
    private_key_file: str
    mtu: int | str = "auto"


class _Rendezvous(msgspec.Struct, frozen=True):
    url: list[str]
    ca_file: str = ""


class _Relay(msgspec.Struct, frozen=True):
    uri: str
    username: str = ""
    credential_file: str = ""


class _Ice(msgspec.Struct, frozen=True):
    stun: list[str] = []
    turn: list[_Relay] = []
    mdns: bool = False
    port_mapping: bool = True
    hard_nat: bool = True


class _Peer(msgspec.Struct, frozen=True):
    name: str
    public_key: str
    allowed_ips: list[str]
    preshared_key_file: str = ""
    path: str = PathPolicy.ANY.value


class _File(msgspec.Struct, frozen=True):
    interface: _Interface
    rendezvous: _Rendezvous
    peer: list[_Peer]
    ice: _Ice = _Ice()


def config_path(name: str, directory: Path) -> Path:
    """Tell where the configuration of the tunnel NAME is.

    Raises:
        ConfigError: If that can't be a tunnel's name: it is the interface's as well.
    """
    try:
        check_name(name)
    except DeviceError as error:
        remedy = "Choose 1 to 15 letters, digits, dots, dashes or underscores."
        raise ConfigError("", "NAME", f"{name!r} can't be the name of an interface", remedy) from error
    return directory / f"{name}{SUFFIX}"


def check_peer_name(name: str, key: str) -> str:
    """Return the name if a peer can be called that. Raises ConfigError; `key` names the setting."""
    if not _PEER_NAME.fullmatch(name):
        problem = f"{name[:MAX_PEER_NAME]!r} can't be a name"
        raise ConfigError("", key, problem, "Choose small letters, digits, dots and dashes.")
    return name


def read_config(path: Path) -> TunnelConfig:
    """Read and check a configuration and the files that it names. Raises ConfigError with file, key and remedy."""
    document = read_toml(path, _File)
    try:
        return _checked(document, path)
    except ConfigError as error:
        raise ConfigError(str(path), error.key, error.problem, error.remedy) from error


def _checked(document: _File, path: Path) -> TunnelConfig:
    """Check what the types don't say. Raises ConfigError without the file."""
    name = path.stem
    config_path(name, path.parent)
    base, interface = path.parent, document.interface
    addresses = tuple(_address(each) for each in interface.address)
    if not addresses:
        raise ConfigError("", "interface.address", "there is none", 'Write one: address = ["10.77.0.1/24"]')
    keys = KeyPair.of_private(_read_key(base / interface.private_key_file, "interface.private_key_file", _KEY_REMEDY))
    peer = _peer(document.peer, base)
    if peer.public_key == keys.public:
        problem = "this is this machine's own key"
        raise ConfigError("", "peer.public_key", problem, "Write the other side's: it prints it with p2ptun pubkey.")
    _check_own_addresses(addresses, peer.allowed_ips)
    return TunnelConfig(
        path=path,
        name=name,
        addresses=addresses,
        keys=keys,
        mtu=_mtu(interface.mtu),
        rendezvous=check_urls(document.rendezvous.url, "rendezvous.url"),
        ca_file=_certificates(document.rendezvous.ca_file, base),
        ice=_ice(document.ice, base, peer.path),
        peer=peer,
    )


# [interface]


def _address(text: str) -> IPInterface:
    try:
        address = ip_interface(text)
    except ValueError as error:
        raise ConfigError("", "interface.address", str(error), "Write it as in 10.77.0.1/24 or fd77::1/64.") from error
    if unmapped(address.ip) != address.ip or scope_of(address.ip) not in (Scope.PRIVATE, Scope.PUBLIC):
        problem = f"{address} can't be the address of an interface"
        raise ConfigError("", "interface.address", problem, "Write a private one, such as 10.77.0.1/24.")
    return address


def _mtu(mtu: int | str) -> int | None:
    if mtu == "auto":
        return None
    if isinstance(mtu, str) or not MIN_MTU <= mtu <= MAX_MTU:
        raise ConfigError("", "interface.mtu", f"{mtu!r} is none", f'Write {MIN_MTU} to {MAX_MTU}, or "auto".')
    return mtu


def _read_key(path: Path, key: str, remedy: str) -> bytes:
    text = read_private(path, key, MAX_SIZE, remedy)
    return decode_key(text.decode("ascii", "replace"), where="", key=f"{key} {path}")


def _check_own_addresses(addresses: Iterable[IPInterface], allowed: Sequence[IPNetwork]) -> None:
    """Refuse to send what is for this machine to the other side."""
    for address in addresses:
        if overlaps(ip_network(address.ip), allowed):
            problem = f"{address.ip} is this machine's own address"
            raise ConfigError(
                "", "peer.allowed_ips", problem, "Write the other side's addresses, and what is behind it."
            )


# [rendezvous]


def check_urls(urls: Sequence[str], key: str) -> tuple[str, ...]:
    """Check where two machines are to find each other. Raises ConfigError; `key` names the setting."""
    if not urls:
        raise ConfigError("", key, "there is none", 'Write one: url = ["https://rv.example.net"]')
    for url in urls:
        if url.partition(":")[0].lower() == "paste":
            problem = "people who carry blobs can't bring together what runs by itself"
            raise ConfigError("", key, problem, "Write the URL of a server that runs p2ptun serve.")
        if ":" not in url:
            problem = f"{url!r} is no URL"
            raise ConfigError("", key, problem, "Write it as in https://rv.example.net")
    return tuple(dict.fromkeys(urls))


def _certificates(name: str, base: Path) -> Path | None:
    if not name:
        return None
    check_authorities(base / name, "rendezvous.ca_file")
    return base / name


# [ice]


def _ice(ice: _Ice, base: Path, policy: PathPolicy) -> IceConfig:
    turn = tuple(_relay(each, base) for each in ice.turn)
    if policy is PathPolicy.RELAY and not turn:
        problem = 'it is "relay", and no relay is named'
        raise ConfigError("", "peer.path", problem, "Name one with turn under [ice].")
    return IceConfig(tuple(_stun(each) for each in ice.stun), turn, ice.mdns, ice.port_mapping, ice.hard_nat)


def _stun(text: str) -> StunUri:
    """Read a server that is asked over UDP: over anything else it would see another socket than the tunnel's."""
    uri = parse_uri(text, key="ice.stun")
    if uri.scheme is not Scheme.STUN or uri.transport not in (None, Transport.UDP):
        problem = f"{uri} is no STUN server that is asked over UDP"
        raise ConfigError("", "ice.stun", problem, "Write stun:HOST or stun:HOST:PORT.")
    return uri


def _relay(relay: _Relay, base: Path) -> RelayConfig:
    uri = parse_uri(relay.uri, key="ice.turn.uri")
    if not uri.scheme.is_turn:
        raise ConfigError("", "ice.turn.uri", f"{uri} names no relay", "Write turn:HOST or turns:HOST:PORT.")
    if not relay.credential_file:
        if relay.username:
            problem = "there is a user name without a password"
            raise ConfigError("", "ice.turn.credential_file", problem, "Write the name of a file that has it.")
        return RelayConfig(uri)
    path, key = base / relay.credential_file, "ice.turn.credential_file"
    if relay.username:
        return RelayConfig(uri, password_credentials(relay.username, path, key))
    try:
        return RelayConfig(uri, read_credentials(path))
    except ConfigError as error:
        raise ConfigError("", key, error.problem, error.remedy) from error


# [[peer]]


def _peer(peers: Sequence[_Peer], base: Path) -> PeerConfig:
    if len(peers) != 1:
        problem = f"there are {len(peers)}, and this version joins two machines" if peers else "there is none"
        remedy = "Give each its own file." if peers else "Write one, with name, public_key and allowed_ips."
        raise ConfigError("", "peer", problem, remedy)
    (peer,) = peers
    psk = peer.preshared_key_file
    return PeerConfig(
        name=check_peer_name(peer.name, "peer.name"),
        public_key=decode_key(peer.public_key, where="", key="peer.public_key"),
        allowed_ips=_allowed_ips(peer.allowed_ips),
        psk=_read_key(base / psk, "peer.preshared_key_file", _PSK_REMEDY) if psk else None,
        path=_policy(peer.path),
    )


def _policy(text: str) -> PathPolicy:
    try:
        return PathPolicy(text)
    except ValueError as error:
        names = ", ".join(each.value for each in PathPolicy)
        raise ConfigError("", "peer.path", f"{text!r} is unknown", f"Choose from: {names}.") from error


def _allowed_ips(texts: Sequence[str]) -> tuple[IPNetwork, ...]:
    if not texts:
        problem = "there is none, so nothing could pass"
        raise ConfigError("", "peer.allowed_ips", problem, "Write the other side's addresses in the tunnel.")
    return tuple(dict.fromkeys(_allowed(each) for each in texts))


def _allowed(text: str) -> IPNetwork:
    """Read a network that is led to the other side. Raises ConfigError, also for one that no tunnel may take."""
    key = "peer.allowed_ips"
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ConfigError("", key, str(error), "Write it as in 10.77.0.2/32 or 192.168.1.0/24.") from error
    if is_catch_all(network):
        problem = f"{network} would lead the tunnel's own datagrams into the tunnel"
        raise ConfigError("", key, problem, "Write the networks that are behind the other side.")
    first = network.network_address
    if unmapped(first) != first or scope_of(first) not in (Scope.PRIVATE, Scope.PUBLIC):
        raise ConfigError("", key, f"{network} can't be behind a tunnel", "Write addresses of machines.")
    return network
