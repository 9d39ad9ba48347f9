"""Netlink messages as bytes: what is written can be read, and broken ones are read as far as they go."""

from __future__ import annotations

import os
import random
import struct

from p2ptun.io.rtnetlink import MessageType, encode_request, split_messages

STRUCTURE = bytes(range(12))


def test_what_is_written_can_be_read() -> None:
    attributes = {1: b"\x7f\0\0\1", 4: b"\7\0\0\0", 27: b"\x11", 29: b"\1\2"}
    data = encode_request(MessageType.GET_ROUTE, 7, STRUCTURE, attributes) * 2
    for message in split_messages(data):
        assert (message.type, message.sequence) == (MessageType.GET_ROUTE, 7)
        assert message.body[:12] == STRUCTURE
        assert message.attributes(12) == attributes
    assert len(list(split_messages(data))) == 2


def test_the_layout_is_the_kernels() -> None:
    data = encode_request(MessageType.GET_ROUTE, 1, b"\2\0\0\0", {27: b"\x11"})
    assert data == struct.pack("=IHHII", 28, 26, 1, 1, 0) + b"\2\0\0\0" + struct.pack("=HH", 5, 27) + b"\x11\0\0\0"


def test_flags_of_an_attribute_are_no_part_of_its_type() -> None:
    body = struct.pack("=HH", 8, 0x8000 | 5) + b"abcd"
    data = struct.pack("=IHHII", 16 + len(body), 16, 0, 0, 0) + body
    (message,) = split_messages(data)
    assert message.attributes(0) == {5: b"abcd"}


def test_broken_messages_end_the_reading() -> None:
    data = encode_request(MessageType.GET_ROUTE, 7, STRUCTURE, {1: b"\x7f\0\0\1"})
    for length in range(len(data)):
        for message in split_messages(data[:length]):
            message.attributes(12)
    assert list(split_messages(bytes(64))) == []
    (message,) = split_messages(struct.pack("=IHHII", 24, 16, 0, 0, 0) + bytes(8))
    assert message.attributes(0) == {}
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(2000):
        for message in split_messages(chance.randbytes(chance.randrange(200))):
            message.attributes(chance.randrange(16))
