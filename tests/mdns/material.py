"""Names, sockets and messages for the tests of multicast DNS."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Protocol

from p2ptun.mdns.message import Message, Question, RecordType, decode_message
from p2ptun.mdns.name import labels_of, name_of_uuid
from p2ptun.types import Endpoint, Transmit

START = 1000.0

ETH_V4, ETH_V6 = Endpoint.of("192.0.2.1", 5353), Endpoint.of("fe80::1%eth0", 5353)
WLAN_V4 = Endpoint.of("198.51.100.1", 5353)
NEIGHBOUR, NEIGHBOUR_V6 = Endpoint.of("192.0.2.9", 5353), Endpoint.of("fe80::9%eth0", 5353)
LEGACY = Endpoint.of("192.0.2.9", 40000)
ADDRESS, ADDRESS_V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")


class Sender(Protocol):
    """Whatever has something to send."""

    def next_transmit(self) -> Transmit | None: ...


def name(number: int) -> str:
    """Make the name with that number."""
    return name_of_uuid(number.to_bytes(16, "big"))


def ask(number: int, kind: int = RecordType.A, wants_unicast: bool = False, class_: int = 1) -> Question:
    """Ask for the name with that number."""
    return Question(labels_of(name(number)), kind, wants_unicast, class_)


def sent(sender: Sender) -> list[Transmit]:
    """Take all that is to be sent."""
    return list(iter(sender.next_transmit, None))


def read(transmits: list[Transmit]) -> list[Message]:
    """Decode what was to be sent."""
    return [decode_message(transmit.payload) for transmit in transmits]
