"""Where a server listens."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from p2ptun.server.layout import Place, expand, lay_out
from p2ptun.types import Endpoint

OWN = [ip_address(each) for each in ("127.0.0.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1", "::1")]


def of(*texts: str) -> list[Endpoint]:
    return [Endpoint.of(text.rpartition(":")[0].strip("[]"), int(text.rpartition(":")[2])) for text in texts]


def test_an_unspecified_address_is_all_of_its_version() -> None:
    assert expand(of("0.0.0.0:1"), OWN) == of("127.0.0.1:1", "192.0.2.1:1", "192.0.2.2:1")
    assert expand(of("[::]:1"), OWN) == of("[::1]:1", "[2001:db8::1]:1")
    assert expand(of("192.0.2.1:1", "0.0.0.0:1"), OWN) == of("192.0.2.1:1", "127.0.0.1:1", "192.0.2.2:1")


@pytest.mark.parametrize(("second", "port"), [(3479, 3479), (3478, 3479)])
def test_two_addresses_make_four_sockets(second: int, port: int) -> None:
    one, other = of("192.0.2.1:3478", f"192.0.2.2:{second}")
    places = lay_out([one, other], OWN)
    four = of("192.0.2.1:3478", "192.0.2.2:3478", f"192.0.2.1:{port}", f"192.0.2.2:{port}")
    assert [place.local for place in places] == four
    for place in places:
        assert place.alternate in four
        assert place.alternate.address != place.local.address
        assert place.alternate.port != place.local.port


def test_the_last_port_has_one_before_it() -> None:
    places = lay_out(of("192.0.2.1:65535", "192.0.2.2:65535"), OWN)
    assert {place.local.port for place in places} == {65535, 65534}


@pytest.mark.parametrize(
    "named",
    [
        ["192.0.2.1:3478"],
        ["192.0.2.1:3478", "192.0.2.1:3479"],
        ["192.0.2.1:3478", "[2001:db8::1]:3478"],
        ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"],
    ],
)
def test_anything_else_stays_as_it_is(named: list[str]) -> None:
    assert lay_out(of(*named), OWN) == [Place(each) for each in of(*named)]


def test_addresses_of_all_interfaces_are_no_two_that_were_named() -> None:
    assert all(place.alternate is None for place in lay_out(of("0.0.0.0:3478"), OWN))
