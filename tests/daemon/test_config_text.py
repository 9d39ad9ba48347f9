"""What pairing writes is what the daemon reads."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from p2ptun.daemon.config import read_config
from p2ptun.daemon.config_text import Pinned, config_text
from p2ptun.noise.keypair import KeyPair, encode_key
from tests.server.serving import make_certificate

OWN, OTHER = (KeyPair.of_private(bytes([number]) * 32) for number in (1, 2))
PINNED = Pinned(
    name="home",
    addresses=(ip_interface("10.77.3.0/31"), ip_interface("fd5c::2/127")),
    private_key_file="home.key",
    urls=("https://rv.example.net", "https://[2001:db8::1]:8443/a%20b"),
    peer_name="nas",
    public_key=OTHER.public,
    preshared_key_file="home.psk",
    allowed_ips=(ip_network("10.77.3.1/32"), ip_network("192.168.1.0/24")),
)


def write(directory: Path, pinned: Pinned) -> Path:
    for name, key in ((pinned.private_key_file, OWN.private), (pinned.preshared_key_file, bytes(range(32)))):
        path = directory / name
        path.touch(0o600)
        path.write_text(encode_key(key))
    path = directory / "home.toml"
    path.write_text(config_text(pinned))
    return path


def test_it_reads_as_it_was_meant(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, PINNED))
    assert (config.addresses, config.rendezvous) == (PINNED.addresses, PINNED.urls)
    assert (config.keys.public, config.peer.psk) == (OWN.public, bytes(range(32)))
    peer = config.peer
    assert (peer.name, peer.public_key, peer.allowed_ips) == ("nas", OTHER.public, PINNED.allowed_ips)
    assert config.ca_file is None


@pytest.mark.parametrize("name", ['a "key"', "back\\slash", "del\x7f", "tab\t", "küche"])
def test_names_of_files_may_have_any_character(tmp_path: Path, name: str) -> None:
    pinned = replace(PINNED, private_key_file=name)
    assert read_config(write(tmp_path, pinned)).keys.public == OWN.public


def test_certificates_are_named_with_the_servers(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path, "rv")
    config = read_config(write(tmp_path, replace(PINNED, ca_file=str(certificate))))
    assert (config.ca_file, config.peer.name) == (certificate, "nas")
