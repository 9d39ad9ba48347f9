"""The leaves: errors, types, deadlines."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun import errors
from p2ptun.deadlines import Deadlines, earliest
from p2ptun.types import Endpoint, Transmit, Transport, embedded_ipv4, unmapped, without_zone

NOW = 1000.0


class Timer(Enum):
    RETRANSMIT = 1
    REFRESH = 2
    REKEY = 3


@given(st.lists(st.none() | st.floats(min_value=-10.0, max_value=10.0)))
def test_the_earliest_of_what_is_set(times: list[float | None]) -> None:
    assert earliest(times) == earliest(iter(times)) == min((at for at in times if at is not None), default=None)


def test_an_error_is_a_sentence_and_a_remedy() -> None:
    error = errors.DeviceError("The interface name p2ptun0 is taken.", "Choose another with --name.")
    assert str(error) == "The interface name p2ptun0 is taken."
    assert error.remedy == "Choose another with --name."
    assert errors.MalformedPacket("cut short").remedy == ""


def test_a_config_error_names_file_and_key() -> None:
    error = errors.ConfigError("home.toml", "interface.mtu", "9 is too small", "Use 1280 or more.")
    assert str(error) == "home.toml: interface.mtu: 9 is too small."
    assert (error.where, error.key, error.problem) == ("home.toml", "interface.mtu", "9 is too small")
    assert error.remedy == "Use 1280 or more."
    assert str(errors.ConfigError("", "--mtu", "9 is too small")) == "--mtu: 9 is too small."


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (errors.ConfigError, errors.P2ptunError),
        (errors.LocalProtocolError, errors.P2ptunError),
        (errors.RemoteProtocolError, errors.P2ptunError),
        (errors.MalformedPacket, errors.RemoteProtocolError),
        (errors.AuthenticationFailed, errors.RemoteProtocolError),
        (errors.RendezvousError, errors.P2ptunError),
        (errors.DeviceError, errors.P2ptunError),
        (errors.PrivilegeError, errors.DeviceError),
        (errors.P2ptunError, Exception),
    ],
)
def test_the_tree_of_exceptions(kind: type[Exception], parent: type[Exception]) -> None:
    assert kind.__base__ is parent


def test_endpoints_print_as_people_write_them() -> None:
    assert str(Endpoint.of("203.0.113.7", 41641)) == "203.0.113.7:41641"
    assert str(Endpoint.of("2001:db8::7", 41641)) == "[2001:db8::7]:41641"
    assert str(Endpoint.of("fe80::1%eth0", 1)) == "[fe80::1%eth0]:1"


def test_endpoints_take_text_or_objects_and_compare_by_value() -> None:
    assert Endpoint.of(IPv4Address("203.0.113.7"), 1) == Endpoint.of("203.0.113.7", 1)
    assert Endpoint.of("203.0.113.7", 1) != Endpoint.of("203.0.113.7", 2)
    assert len({Endpoint.of("::1", 1), Endpoint.of("0:0::1", 1)}) == 1


@given(st.ip_addresses(v=4))
def test_mapped_addresses_become_ipv4(address: IPv4Address) -> None:
    mapped = IPv6Address(f"::ffff:{address}")
    assert unmapped(mapped) == address
    assert unmapped(address) is address
    assert Endpoint.of(mapped, 5).address == Endpoint.of(str(mapped), 5).address == address


@given(st.ip_addresses(v=6))
def test_other_ipv6_addresses_stay(address: IPv6Address) -> None:
    assert unmapped(address) == (address.ipv4_mapped or address)


def test_a_zone_is_stripped_and_nothing_else() -> None:
    link_local, bare = ip_address("fe80::1%eth0"), ip_address("fe80::1")
    assert link_local != bare
    assert without_zone(link_local) == bare
    assert without_zone(bare) is bare
    assert without_zone(ip_address("192.0.2.1")) == ip_address("192.0.2.1")


def test_a_transmit_is_a_value() -> None:
    source, destination = Endpoint(ip_address("192.0.2.1"), 1), Endpoint(ip_address("192.0.2.2"), 2)
    assert Transmit(b"x", source, destination) == Transmit(b"x", source, destination)
    assert [transport.value for transport in Transport] == ["udp", "tcp", "tls"]


def test_nothing_is_due_when_nothing_is_set() -> None:
    deadlines = Deadlines[Timer]()
    assert deadlines.next() is None
    assert deadlines.next_timer() is None
    assert deadlines.at(Timer.REKEY) is None
    assert deadlines.pop_expired(NOW) == []
    deadlines.cancel(Timer.REKEY)
    assert deadlines.next() is None


def test_the_earliest_deadline_is_next() -> None:
    deadlines = Deadlines[Timer]()
    deadlines.set(Timer.REKEY, NOW + 3)
    deadlines.set(Timer.REFRESH, NOW + 1)
    deadlines.set(Timer.RETRANSMIT, NOW + 2)
    assert deadlines.next() == NOW + 1
    assert deadlines.next_timer() is Timer.REFRESH
    assert deadlines.at(Timer.REKEY) == NOW + 3
    deadlines.cancel(Timer.REFRESH)
    assert deadlines.next_timer() is Timer.RETRANSMIT
    deadlines.clear()
    assert deadlines.next() is None


def test_set_replaces_and_set_earlier_only_advances() -> None:
    deadlines = Deadlines[Timer]()
    deadlines.set_earlier(Timer.REKEY, NOW + 5)
    deadlines.set_earlier(Timer.REKEY, NOW + 9)
    assert deadlines.at(Timer.REKEY) == NOW + 5
    deadlines.set_earlier(Timer.REKEY, NOW + 2)
    assert deadlines.at(Timer.REKEY) == NOW + 2
    deadlines.set(Timer.REKEY, NOW + 9)
    assert deadlines.at(Timer.REKEY) == NOW + 9


def test_expired_timers_come_out_in_order_and_once() -> None:
    deadlines = Deadlines[Timer]()
    deadlines.set(Timer.REKEY, NOW)
    deadlines.set(Timer.REFRESH, NOW - 1)
    deadlines.set(Timer.RETRANSMIT, NOW + 1)
    assert deadlines.pop_expired(NOW - 2) == []
    assert deadlines.pop_expired(NOW) == [Timer.REFRESH, Timer.REKEY]
    assert deadlines.pop_expired(NOW) == []
    assert deadlines.next() == NOW + 1


@given(st.dictionaries(st.sampled_from(Timer), st.floats(0, 10)), st.floats(0, 10))
def test_after_expiry_the_next_deadline_lies_ahead(due: dict[Timer, float], now: float) -> None:
    deadlines = Deadlines[Timer]()
    for timer, at in due.items():
        deadlines.set(timer, at)
    expired = deadlines.pop_expired(now)
    assert set(expired) == {timer for timer, at in due.items() if at <= now}
    following = deadlines.next()
    assert following is None or following > now


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::192.0.2.1", "192.0.2.1"),
        ("2002:c000:0201::5", "192.0.2.1"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdfe", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b:1::192.0.2.1", "192.0.2.1"),
    ],
)
def test_embedded_ipv4(address: str, inside: str) -> None:
    assert embedded_ipv4(ip_address(address).packed) == ip_address(inside).packed
    standard = IPv6Address(address)
    known = standard.ipv4_mapped or standard.sixtofour or (standard.teredo or (None, None))[1]
    assert known is None or known.packed == ip_address(inside).packed


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "2001:1::1", "64:ff9c::1", "fd00::ffff:192.0.2.1"])
def test_nothing_embedded(address: str) -> None:
    assert embedded_ipv4(ip_address(address).packed) is None
