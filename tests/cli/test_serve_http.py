"""The options of `p2ptun serve` that are about rooms."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from p2ptun.errors import ConfigError
from p2ptun.server.http.options import HttpLimits, HttpOptions
from p2ptun.types import Endpoint
from tests.cli.test_serve import parse, private

HERE = ("--listen", "127.0.0.1")


def http(*arguments: str) -> HttpOptions:
    found = parse(*arguments).http
    assert found is not None
    return found


def test_an_address_is_enough() -> None:
    assert http(*HERE) == HttpOptions((Endpoint.of("127.0.0.1", 8080),))
    assert parse("--stun-listen", "192.0.2.1").http is None


def test_everything_can_be_said(tmp_path: Path) -> None:
    secret = private(tmp_path / "secret", "shared\n")
    options = parse(
        *("--listen", "[::1]:80", "--https-listen", "192.0.2.1", "--tls-cert", "c", "--tls-key", "k"),
        *("--store", "sqlite:/tmp/x", "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "::1"),
        *("--public-name", "RV.example.net", "--announce", "stun:s.example.net", "--announce", "turn:t.example.net"),
        *("--secret-file", secret, "--max-connections", "1", "--address-connections", "2"),
        *("--address-requests", "3", "--address-entries", "4", "--address-rooms", "5"),
    )
    found = options.http
    assert found is not None
    assert found.listen == (Endpoint.of("::1", 80),)
    assert found.https_listen == (Endpoint.of("192.0.2.1", 443),)
    assert options.certificate == (Path("c"), Path("k"))
    assert found.store == "sqlite:/tmp/x"
    assert found.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert found.public_name == "rv.example.net"
    assert [str(each) for each in found.announce] == ["stun:s.example.net", "turn:t.example.net"]
    assert found.secret == "shared"  # noqa: S105  # a test's
    assert found.limits == HttpLimits(1, 2, 3, 4, 5)
    assert options.credentials is None


@pytest.mark.parametrize("name", ["192.0.2.1", "2001:db8::1", "rv", "a-b.example.net"])
def test_machines_are_called_by_names_and_addresses(name: str) -> None:
    assert http(*HERE, "--public-name", name).public_name == name


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("--listen", "localhost"), "--listen"),
        (("--listen", "127.0.0.1:0"), "--listen"),
        (("--https-listen", "127.0.0.1"), "--https-listen"),
        ((*HERE, "--tls-cert", "c", "--tls-key", "k"), "--tls-cert"),
        ((*HERE, "--trusted-proxy", "proxy"), "--trusted-proxy"),
        ((*HERE, "--trusted-proxy", "10.0.0.1/8"), "--trusted-proxy"),
        ((*HERE, "--public-name", "rv.example.net:80"), "--public-name"),
        ((*HERE, "--public-name", "https://rv.example.net"), "--public-name"),
        ((*HERE, "--public-name", ""), "--public-name"),
        ((*HERE, "--public-name", "a b"), "--public-name"),
        ((*HERE, "--announce", "rv.example.net"), "--announce"),
        ((*HERE, "--announce", "turn:rv.example.net"), "--announce"),
        ((*HERE, "--relay", "--secret-file", "SECRET"), "--relay"),
        ((*HERE, "--secret-file", "SECRET"), "--secret-file"),
        (("--stun-listen", "192.0.2.1", "--store", "memory"), "--store"),
        (("--stun-listen", "192.0.2.1", "--trusted-proxy", "::1"), "--trusted-proxy"),
        (("--stun-listen", "192.0.2.1", "--public-name", "x"), "--public-name"),
        (("--stun-listen", "192.0.2.1", "--announce", "stun:x"), "--announce"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...], key: str) -> None:
    secret = private(tmp_path / "secret", "shared\n")
    with pytest.raises(ConfigError) as error:
        parse(*(secret if each == "SECRET" else each for each in arguments))
    assert error.value.key == key
    assert error.value.remedy
