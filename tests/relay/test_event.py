"""What the owner is told."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from p2ptun.relay.event import AllocationMade, DropReason, EndReason, RequestRefused
from p2ptun.stun.attribute import USERNAME
from p2ptun.stun.credential import StaticCredentials
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message
from tests.relay.world import ALICE, LISTENER, REALM, Client, World

EVIL = "\x1b[2J\x07"


def test_reasons_are_told_apart() -> None:
    for reasons in (DropReason, EndReason):
        assert len({reason.value for reason in reasons}) == len(reasons)


def test_no_user_name_brings_control_characters_into_a_log() -> None:
    names = ("caf\u00e9", "o\u2003o", "a\u0301")
    world = World(credentials=StaticCredentials(dict.fromkeys(names, "secret"), REALM))
    for port, name in enumerate(names, 1):
        client = Client(world, type(ALICE)(ALICE.address, port), name)
        client.allocate()
    told = [event.user for event in world.events if isinstance(event, AllocationMade)]
    assert told == ["caf\u00e9", "o o", "\u00e1"]
    assert all(unicodedata.category(char)[0] != "C" for name in told for char in name)


def test_a_name_with_a_terminal_escape_is_nobodys() -> None:
    world = World()
    client = Client(world)
    client.refresh()
    world.events.clear()
    signed = client.signer.sign(Message(Method.ALLOCATE, MessageClass.REQUEST, TransactionId(b"t" * 12)))
    attributes = (
        (attribute, EVIL if attribute is USERNAME else value) for attribute, value in signed.message.attributes
    )
    world.deliver(encode_message(replace(signed.message, attributes=tuple(attributes)), signed.integrity), ALICE)
    assert world.events == [RequestRefused(ALICE, LISTENER, Method.ALLOCATE, 401, "Unauthenticated", "")]
