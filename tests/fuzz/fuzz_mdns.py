"""Multicast DNS: `decode_message`, and what a responder and a querier make of what it gives."""

from __future__ import annotations

from ipaddress import ip_address

from p2ptun.errors import MalformedPacket
from p2ptun.mdns.agent import MdnsAgent
from p2ptun.mdns.message import MAX_MESSAGE_SIZE, decode_message, encode_message
from p2ptun.mdns.name import name_of_uuid
from p2ptun.types import Endpoint

LOCAL, SOURCE = Endpoint.of("192.0.2.1", 5353), Endpoint.of("192.0.2.9", 5353)
OURS, THEIRS = name_of_uuid(bytes(16)), name_of_uuid(bytes([1] * 16))


def test_one_input(data: bytes) -> None:
    """Decode the bytes as they are, then with a header that lets them through, then behind a name that is known."""
    _receive(data)
    for count in (b"\0\0\0\0\0\1\0\0\0\0\0\0", b"\0\0\x84\0\0\0\0\1\0\0\0\0"):
        _receive(count + data)
        for name in (OURS, THEIRS):
            _receive(count + b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + data)


def _receive(data: bytes) -> None:
    try:
        message = decode_message(data)
    except MalformedPacket:
        pass
    else:
        again = encode_message(message)
        assert len(again) > MAX_MESSAGE_SIZE or decode_message(again) == message
    agent = MdnsAgent()
    agent.add_local(LOCAL, "eth0", False, 1000.0)
    agent.register(OURS, ip_address("192.0.2.1"), "eth0", 1000.0)
    agent.resolve([THEIRS], 1000.0)
    agent.receive_datagram(data, SOURCE, LOCAL, 1000.5)
    agent.handle_timeout(1000.5)
    at = agent.next_timeout()
    assert at is None or at > 1000.5
    for transmit in iter(agent.next_transmit, None):
        decode_message(transmit.payload)
