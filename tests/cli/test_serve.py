"""The command line of `p2ptun serve`: what it takes and what it refuses, and how it says so."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from p2ptun.cli.serve import OPTIONS, _options, serve
from p2ptun.errors import ConfigError
from p2ptun.server.options import ServeOptions
from p2ptun.types import Endpoint


def parse(*arguments: str) -> ServeOptions:
    parameters: dict[str, Any] = serve.make_context("serve", list(arguments)).params
    del parameters["as_json"]
    return _options(parameters)


def private(path: Path, text: str) -> str:
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def test_addresses_come_with_and_without_ports() -> None:
    options = parse(
        *("--stun-listen", "192.0.2.1", "--stun-listen", "192.0.2.1:7", "--stun-listen", "2001:db8::1"),
        *("--stun-listen", "[2001:db8::1]", "--stun-listen", "[2001:db8::1]:9"),
    )
    assert options.stun_listen == tuple(
        Endpoint.of(*each)
        for each in (
            *(("192.0.2.1", 3478), ("192.0.2.1", 7)),
            *(("2001:db8::1", 3478), ("2001:db8::1", 3478), ("2001:db8::1", 9)),
        )
    )
    assert options.credentials is None
    assert options.core.relay_addresses == ()


@pytest.mark.parametrize(
    "text", ["", "x", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:a", "[::1", "[::1]7x", "192.0.2.1:٣"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse("--stun-listen", text)
    assert error.value.key == "--stun-listen"
    assert error.value.remedy


def test_a_relay_takes_what_it_needs(tmp_path: Path) -> None:
    users = private(tmp_path / "users", 'alice = "secret1"\n')
    secret = private(tmp_path / "secret", "shared\n")
    options = parse(
        *("--stun-listen", "192.0.2.1", "--relay", "--users", users, "--secret-file", secret, "--realm", "here"),
        *("--relay-ports", "2000-2999", "--allow-peer", "10.0.0.0/8", "--max-allocations", "7", "--user-quota", "6"),
        *("--address-quota", "5", "--allocation-rate", "4", "--total-rate", "3"),
    )
    assert options.credentials is not None
    assert options.credentials.find_password("alice") == "secret1"
    assert options.credentials.find_password("4294967296:bob")
    core = options.core
    assert core.relay_addresses == (ip_address("192.0.2.1"),)
    assert (core.lowest_port, core.highest_port, core.realm) == (2000, 2999, "here")
    assert core.allowed_peers == (ip_network("10.0.0.0/8"),)
    limits = core.limits
    assert (limits.allocations, limits.user_allocations, limits.address_allocations) == (7, 6, 5)
    assert (limits.allocation_rate, limits.total_rate) == (4, 3)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ((), "--listen"),
        (("--stun-listen", "192.0.2.1", "--relay"), "--relay"),
        (("--stun-listen", "192.0.2.1", "--relay-address", "192.0.2.1"), "--relay-address"),
        (("--stun-listen", "::", "--relay", "--users", "USERS"), "--relay-address"),
        (("--stun-listen", "192.0.2.1", "--relay", "--users", "USERS", "--relay-address", "x"), "--relay-address"),
        (("--stun-listen", "192.0.2.1", "--relay-ports", "80-90"), "--relay-ports"),
        (("--stun-listen", "192.0.2.1", "--relay-ports", "3000-2000"), "--relay-ports"),
        (("--stun-listen", "192.0.2.1", "--relay-ports", "3000"), "--relay-ports"),
        (("--stun-listen", "192.0.2.1", "--relay-ports", "3000-70000"), "--relay-ports"),
        (("--stun-listen", "192.0.2.1", "--allow-peer", "10.0.0.1/8"), "--allow-peer"),
        (("--tls-listen", "192.0.2.1"), "--tls-listen"),
        (("--tls-listen", "192.0.2.1", "--tls-cert", "x"), "--tls-listen"),
        (("--stun-listen", "192.0.2.1", "--tls-cert", "x", "--tls-key", "y"), "--tls-cert"),
        (("--stun-listen", "192.0.2.1", "--users", "USERS"), "--users"),
        (("--stun-listen", "192.0.2.1", "--secret-file", "USERS"), "--secret-file"),
        (("--stun-listen", "192.0.2.1", "--users", "MISSING"), "--users"),
        (("--stun-listen", "192.0.2.1", "--users", "EMPTY"), "--users"),
        (("--stun-listen", "192.0.2.1", "--users", "NAMELESS"), "--users"),
        (("--stun-listen", "192.0.2.1", "--users", "SPOILT"), "--users"),
        (("--stun-listen", "192.0.2.1", "--users", "OPEN"), "--users"),
        (("--stun-listen", "192.0.2.1", "--secret-file", "EMPTY"), "--secret-file"),
        (("--stun-listen", "192.0.2.1", "--secret-file", "BINARY"), "--secret-file"),
        (("--stun-listen", "192.0.2.1", "--secret-file", "OPEN"), "--secret-file"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...], key: str) -> None:
    files = {
        "USERS": 'a = "hidden"',
        "EMPTY": "",
        "NAMELESS": 'a = ""',
        "SPOILT": 'a = "hidden',
        "OPEN": 'a = "hidden"',
    }
    paths = {name: private(tmp_path / name, text) for name, text in files.items()}
    (tmp_path / "OPEN").chmod(0o644)
    (tmp_path / "BINARY").touch(0o600)
    (tmp_path / "BINARY").write_bytes(b"\xff\xfe")
    paths |= {"MISSING": str(tmp_path / "MISSING"), "BINARY": str(tmp_path / "BINARY")}
    with pytest.raises(ConfigError) as error:
        parse(*(paths.get(each, each) for each in arguments))
    assert error.value.key == key
    assert error.value.remedy
    assert "hidden" not in str(error.value)


def test_every_option_has_a_word_of_help() -> None:
    for parameter in serve.params:
        assert getattr(parameter, "help", "")
    assert len(serve.params) == len(OPTIONS)
