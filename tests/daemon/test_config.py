"""Configuration files: what is right is read whole, what is wrong is told with file, key and remedy."""

from __future__ import annotations

import base64
import re
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from p2ptun.daemon.config import config_path, read_config
from p2ptun.daemon.turn_credentials import Login, SharedSecret
from p2ptun.errors import ConfigError
from p2ptun.ice.config import PathPolicy
from p2ptun.noise.keypair import KeyPair, encode_key
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.uri import parse_uri
from tests.server.serving import make_certificate

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "home.toml"
OWN = KeyPair.of_private(bytes(range(32)))
PSK = bytes(range(32, 64))
SMALL = """
[interface]
address = ["10.77.0.1/24"]
private_key_file = "home.key"
[rendezvous]
url = ["https://rv.example.net"]
[[peer]]
name = "nas"
public_key = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
allowed_ips = ["10.77.0.2/32"]
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the files that the example names."""
    write(tmp_path / "home.key", encode_key(OWN.private) + "\n")
    write(tmp_path / "home.psk", encode_key(PSK) + "\n")
    write(tmp_path / "home.turn", 'secret = "a secret"\n')
    write(tmp_path / "home.password", "a password\n")
    return tmp_path


def refused(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert caught.value.remedy
    assert caught.value.where == str(path)
    return caught.value


def test_the_example_says_everything(directory: Path) -> None:
    config = read_config(write(directory / "home.toml", EXAMPLE.read_text()))
    assert (config.name, config.mtu, config.rendezvous) == ("home", None, ("https://rv.example.net",))
    assert config.addresses == (ip_interface("10.77.0.1/24"), ip_interface("fd77::1/64"))
    assert (config.keys.public, config.ca_file) == (OWN.public, None)
    assert config.ice.stun == (parse_uri("stun:rv.example.net"),)
    assert (config.ice.hides_addresses, config.ice.maps_ports, config.ice.hard_nat) == (False, True, True)
    first, second = config.ice.turn
    assert first.uri == parse_uri("turn:rv.example.net")
    assert first.credentials is not None
    assert first.credentials.given == SharedSecret("a secret")
    assert second.credentials is not None
    assert second.credentials.given == Login(LongTermCredential("alice", "a password"))
    peer = config.peer
    assert (peer.name, peer.psk, peer.path) == ("nas", PSK, PathPolicy.ANY)
    assert base64.b64encode(peer.public_key) == b"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
    assert peer.allowed_ips == tuple(map(ip_network, ("10.77.0.2/32", "fd77::2/128", "192.168.1.0/24")))


def test_the_example_shows_every_key_and_explains_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    keys = re.compile(r"(?:# )?([a-z_]+) = ")
    shown = {found[1] for line in lines if (found := keys.match(line))}
    assert shown == {
        *("address", "private_key_file", "mtu", "url", "ca_file", "stun", "turn", "mdns", "port_mapping", "hard_nat"),
        *("name", "public_key", "preshared_key_file", "allowed_ips", "path"),
    }
    assert all(lines[number - 1].startswith("#") for number, line in enumerate(lines) if keys.match(line))


def test_little_is_enough(directory: Path) -> None:
    config = read_config(write(directory / "home.toml", SMALL))
    assert (config.ice.stun, config.ice.turn, config.ice.hides_addresses) == ((), (), False)
    assert (config.peer.psk, config.peer.path, config.mtu) == (None, PathPolicy.ANY, None)


@pytest.mark.parametrize("mtu", [576, 1400, 65461])
def test_an_mtu_may_be_chosen(directory: Path, mtu: int) -> None:
    text = SMALL.replace('"home.key"', f'"home.key"\nmtu = {mtu}')
    assert read_config(write(directory / "home.toml", text)).mtu == mtu


def test_secrets_do_not_show(directory: Path) -> None:
    shown = repr(read_config(write(directory / "home.toml", EXAMPLE.read_text())))
    for secret in (encode_key(OWN.private), repr(OWN.private), repr(PSK), "a secret", "a password"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("old", "new", "key", "problem", "remedy"),
    [
        ("address =", "adress =", "interface.adress", "unknown", "Write address instead."),
        ("[[peer]]", "[[peers]]", "peers", "unknown", "Write peer instead."),
        ('name = "nas"', 'name = "nas"\nendpoint = "x"', "peer.endpoint", "unknown", "name, public_key, allowed_ips"),
        ('"nas"', '"nas"\n"a\\u001bb" = 1', "peer.'a\\x1bb'", "unknown", "Known here"),
        ("[rendezvous]", '[ice]\nturn = [{url = "turn:a"}]\n[rendezvous]', "ice.turn.url", "unknown", "Write uri"),
        ('name = "nas"', "name = 7", "peer[0].name", "this is a whole number", "Write text in quotes."),
        ('["10.77.0.1/24"]', '"10.77.0.1/24"', "interface.address", "this is text", "a list in brackets"),
        ('["10.77.0.1/24"]', "[10]", "interface.address[0]", "this is a whole number", "Write text"),
        ('private_key_file = "home.key"', "", "interface.private_key_file", "missing", "Write it"),
        ('[rendezvous]\nurl = ["https://rv.example.net"]', "", "rendezvous", "missing", "Write it"),
        ("[interface]", "rendezvous = 1\n[interface]", "file", "no TOML", "Write lines"),
        ("[interface]", "mtu = 1\n[interface]", "mtu", "unknown", "interface"),
        ('"home.key"', '"home.key"\nmtu = 100', "interface.mtu", "100 is none", "576 to"),
        ('"home.key"', '"home.key"\nmtu = "big"', "interface.mtu", "'big' is none", "auto"),
        ('"10.77.0.1/24"', "", "interface.address", "none", "10.77.0.1/24"),
        ('"10.77.0.1/24"', '"10.77.0.300"', "interface.address", "10.77.0.300", "10.77.0.1/24"),
        ('"10.77.0.1/24"', '"127.0.0.1/8"', "interface.address", "can't be", "private"),
        ('"10.77.0.1/24"', '"::ffff:10.0.0.1/128"', "interface.address", "can't be", "private"),
        ('"https://rv.example.net"', "", "rendezvous.url", "none", "https://"),
        ('"https://rv.example.net"', '"paste"', "rendezvous.url", "people", "p2ptun serve"),
        ('"https://rv.example.net"', '"rv.example.net"', "rendezvous.url", "no URL", "https://"),
        ('["https://rv.example.net"]', '["https://a"]\nca_file = "no.pem"', "rendezvous.ca_file", "No such", "PEM"),
        (
            '["https://rv.example.net"]',
            '["https://a"]\nca_file = "home.key"',
            "rendezvous.ca_file",
            "there is no",
            "PEM",
        ),
        ("[rendezvous]", '[ice]\nstun = ["turn:a"]\n[rendezvous]', "ice.stun", "no STUN server", "stun:HOST"),
        ("[rendezvous]", '[ice]\nstun = ["a"]\n[rendezvous]', "ice.stun", "a", "stun"),
        ("[rendezvous]", '[ice]\nturn = [{uri = "stun:a"}]\n[rendezvous]', "ice.turn.uri", "no relay", "turn:HOST"),
        (
            "[rendezvous]",
            '[ice]\nturn = [{uri = "turn:a", username = "b"}]\n[rendezvous]',
            *("ice.turn.credential_file", "without a password", "file"),
        ),
        (
            "[rendezvous]",
            '[ice]\nturn = [{uri = "turn:a", credential_file = "home.psk"}]\n[rendezvous]',
            *("ice.turn.credential_file", "no TOML", "username"),
        ),
        ('"nas"', '"NAS!"', "peer.name", "can't be a name", "small letters"),
        ('"hSDw', '"xhSDw', "peer.public_key", "no key", "Copy it again"),
        ("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", encode_key(OWN.public), "peer.public_key", "own", "other"),
        ('"10.77.0.2/32"', "", "peer.allowed_ips", "none", "addresses"),
        ('"10.77.0.2/32"', '"10.77.0.2/24"', "peer.allowed_ips", "host bits", "10.77.0.2/32"),
        ('"10.77.0.2/32"', '"somewhere"', "peer.allowed_ips", "somewhere", "10.77.0.2/32"),
        ('"10.77.0.2/32"', '"10.77.0.0/24"', "peer.allowed_ips", "own address", "other side's"),
        ('"10.77.0.2/32"', '"0.0.0.0/0"', "peer.allowed_ips", "into the tunnel", "behind the other side"),
        ('"10.77.0.2/32"', '"128.0.0.0/1"', "peer.allowed_ips", "into the tunnel", "behind the other side"),
        ('"10.77.0.2/32"', '"224.0.0.0/8"', "peer.allowed_ips", "can't be behind", "machines"),
        ('"10.77.0.2/32"', '"::ffff:10.0.0.0/112"', "peer.allowed_ips", "can't be behind", "machines"),
        ('"10.77.0.2/32"]', '"10.77.0.2/32"]\npath = "best"', "peer.path", "'best' is unknown", "any, direct, relay"),
        ('"10.77.0.2/32"]', '"10.77.0.2/32"]\npath = "relay"', "peer.path", "no relay is named", "turn under [ice]"),
        (
            '"10.77.0.2/32"]',
            '"10.77.0.2/32"]\npreshared_key_file = "x"',
            "peer.preshared_key_file",
            "No such",
            "genpsk",
        ),
        ("home.key", "absent", "interface.private_key_file", "No such file", "genkey"),
    ],
)
def test_what_is_wrong_is_told(directory: Path, old: str, new: str, key: str, problem: str, remedy: str) -> None:
    assert old in SMALL
    error = refused(write(directory / "home.toml", SMALL.replace(old, new)))
    assert error.key.startswith(key), error
    assert problem in error.problem, error
    assert remedy in error.remedy, error.remedy


def test_two_peers_are_one_too_many_and_none_too_few(directory: Path) -> None:
    end = SMALL.index("[[peer]]")
    error = refused(write(directory / "home.toml", SMALL + SMALL[end:]))
    assert (error.key, error.problem) == ("peer", "there are 2, and this version joins two machines")
    error = refused(write(directory / "home.toml", "peer = []\n" + SMALL[:end]))
    assert (error.key, error.problem) == ("peer", "there is none")


@pytest.mark.parametrize("name", ["home.key", "home.psk", "home.turn", "home.password"])
def test_a_secret_that_others_can_read_is_refused(directory: Path, name: str) -> None:
    (directory / name).chmod(0o640)
    error = refused(write(directory / "home.toml", EXAMPLE.read_text()))
    assert error.problem == f"others can read {directory / name}"
    assert error.remedy == f"Run: chmod 600 {directory / name}"


@pytest.mark.parametrize("name", ["home.key", "home.psk"])
def test_what_is_no_key_is_refused_without_being_shown(directory: Path, name: str) -> None:
    (directory / name).write_text("secretsecretsecret")
    error = refused(write(directory / "home.toml", EXAMPLE.read_text()))
    assert str(directory / name) in error.key
    assert "secretsecret" not in str(error) + error.remedy


def test_an_empty_password_is_refused(directory: Path) -> None:
    (directory / "home.password").write_text("\n")
    assert "is empty" in refused(write(directory / "home.toml", EXAMPLE.read_text())).problem


def test_what_is_no_toml_is_refused(directory: Path) -> None:
    path = directory / "home.toml"
    assert "this is no TOML" in refused(write(path, "address = [")).problem
    path.write_bytes(b'name = "\xff"')
    assert refused(path).problem == "byte 9 is no UTF-8"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    assert "more than" in refused(path).problem
    path.unlink()
    assert refused(path).problem == "No such file or directory"


@pytest.mark.parametrize("name", ["", "a/b", "../x", "sixteen-letters-", "all", "a b"])
def test_what_can_not_name_an_interface_names_no_tunnel(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NAME"):
        config_path(name, tmp_path)
    assert config_path("home", tmp_path) == tmp_path / "home.toml"


def test_relays_that_let_in_anybody_need_no_credentials(directory: Path) -> None:
    text = SMALL.replace("[rendezvous]", '[ice]\nturn = [{uri = "turn:a"}]\n[rendezvous]')
    (relay,) = read_config(write(directory / "home.toml", text + 'path = "relay"')).ice.turn
    assert (relay.uri, relay.credentials) == (parse_uri("turn:a"), None)


def test_certificates_are_found_beside_the_file(directory: Path) -> None:
    make_certificate(directory, "rv")
    text = SMALL.replace('net"]', 'net"]\nca_file = "rv.crt"')
    assert read_config(write(directory / "home.toml", text)).ca_file == directory / "rv.crt"
