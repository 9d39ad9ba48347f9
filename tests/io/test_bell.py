"""What rings, and how loudly. With a kernel: test_monitor_root."""

from __future__ import annotations

import socket
import struct
import subprocess
from ipaddress import ip_address

import pytest

from p2ptun.io import bell as bells
from p2ptun.io.address import LocalAddress
from p2ptun.io.bell import Bell, Ring, read_ring
from p2ptun.io.rtnetlink import Message, MessageType
from tests.io.namespace import in_namespace

UP = 0x1 | 0x40
V4, V6 = socket.AF_INET, socket.AF_INET6
IFA_ADDRESS, IFA_LOCAL, RTA_OIF = 1, 2, 4


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value


def link(index: int, flags: int = UP, kind: MessageType = MessageType.NEW_LINK, family: int = 0) -> Message:
    return Message(kind, 0, struct.pack("=BxHiII", family, 1, index, flags, 0))


def address(text: str, index: int, kind: MessageType, name: int = IFA_ADDRESS) -> Message:
    parsed = ip_address(text)
    body = struct.pack("=BBBBI", V4 if parsed.version == 4 else V6, 24, 0, 0, index)
    return Message(kind, 0, body + attribute(name, parsed.packed))


def route(length: int, kind: MessageType, index: int = 2, table: int = 254) -> Message:
    body = struct.pack("=BBBBBBBBI", V4, length, 0, 0, table, 3, 0, 1, 0)
    return Message(kind, 0, body + attribute(RTA_OIF, struct.pack("=i", index)))


def test_a_link_that_goes_down_or_away_is_interrupted() -> None:
    assert read_ring([link(2)]) == Ring(True)
    assert read_ring([link(2, flags=1), link(2)]) == Ring(True, frozenset({(2, None)}))
    assert read_ring([link(2, kind=MessageType.DEL_LINK)]) == Ring(True, frozenset({(2, None)}))
    leaving_a_bridge = link(2, kind=MessageType.DEL_LINK, family=socket.AF_BRIDGE)
    assert read_ring([leaving_a_bridge]) == Ring(True)


def test_an_address_that_goes_is_interrupted() -> None:
    assert read_ring([address("192.168.7.3", 2, MessageType.NEW_ADDRESS)]) == Ring(True)
    for text in ("192.168.7.3", "2001:db8::3"):
        gone = read_ring([address(text, 2, MessageType.DEL_ADDRESS)])
        assert gone == Ring(True, frozenset({(2, ip_address(text))}))
    peer = address("10.0.0.9", 2, MessageType.DEL_ADDRESS)
    both = Message(peer.type, 0, peer.body + attribute(IFA_LOCAL, ip_address("10.0.0.1").packed))
    assert read_ring([both]) == Ring(True, frozenset({(2, ip_address("10.0.0.1"))})), "the other end's isn't ours"


def test_default_routes_are_loud_and_others_are_not() -> None:
    assert read_ring([route(0, MessageType.NEW_ROUTE)]) == Ring(True)
    assert read_ring([route(0, MessageType.DEL_ROUTE)]) == Ring(True, frozenset({(2, None)}))
    assert read_ring([route(24, MessageType.NEW_ROUTE), route(24, MessageType.DEL_ROUTE)]) == Ring()
    assert read_ring([route(0, MessageType.DEL_ROUTE, table=77)]) == Ring()


def test_rings_add_up_and_broken_messages_are_passed_over() -> None:
    ring = read_ring([link(2, flags=1), route(24, MessageType.NEW_ROUTE), link(3, flags=1)])
    assert ring == Ring(True, frozenset({(2, None), (3, None)}))
    assert read_ring([Message(kind, 0, b"\0" * 3) for kind in MessageType]) == Ring()
    no_interface = Message(MessageType.DEL_ROUTE, 0, struct.pack("=BBBBBBBBI", V4, 0, 0, 0, 254, 3, 0, 1, 0))
    assert read_ring([no_interface]) == Ring(True, frozenset({(0, None)}))
    no_address = Message(MessageType.DEL_ADDRESS, 0, struct.pack("=BBBBI", V4, 24, 0, 0, 2))
    assert read_ring([no_address]).is_loud


@pytest.mark.parametrize("text", ["192.168.7.3", "fe80::3%eth0"])
def test_an_address_knows_its_interruption(text: str) -> None:
    local = LocalAddress(ip_address(text), 24, "eth0", 2, "", True)
    bare = ip_address(text.partition("%")[0])
    assert Ring(True, frozenset({(2, None)})).has_interrupted(local)
    assert Ring(True, frozenset({(2, bare)})).has_interrupted(local)
    assert not Ring(True, frozenset({(3, None), (3, bare), (2, ip_address("192.168.7.4"))})).has_interrupted(local)


@pytest.mark.trio
async def test_a_bell_that_nobody_rings_is_silent() -> None:
    with Bell() as bell:
        assert bell.take() == Ring()


@in_namespace
@pytest.mark.root
def test_a_storm_lets_others_have_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "READS_AT_ONCE", 2)
    with Bell() as bell:
        for number in range(4):
            subprocess.run(["ip", "address", "add", f"192.0.2.{number}/32", "dev", "lo"], check=True)
        rings = [bell.take() for _ in range(2)]
        assert rings == [Ring(is_loud=True)] * 2, "each read a part, and the rest was still there"
