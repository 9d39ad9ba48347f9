"""Answers to strangers and to clients."""

from __future__ import annotations

import random
from dataclasses import replace

from p2ptun.relay.event import DropReason, RequestRefused
from p2ptun.relay.limiter import Limiter
from p2ptun.relay.outbox import Exchange, Outbox
from p2ptun.stun.attribute import LIFETIME
from p2ptun.stun.error import Code
from p2ptun.stun.integrity import HMAC_SHA256, Integrity, verify_integrity
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, decode_message
from p2ptun.types import Transmit, Transport
from tests.relay.world import ALICE, LISTENER, NOW

REQUEST = Message(Method.REFRESH, MessageClass.REQUEST, TransactionId(b"t" * 12), has_fingerprint=True)
SEAL = Integrity(HMAC_SHA256, b"key")
EXCHANGE = Exchange(REQUEST, ALICE, LISTENER, "alice", SEAL)


def outbox(burst: int = 100) -> Outbox:
    return Outbox(Limiter(1, burst, random.Random(1).randbytes))


def test_strangers_are_limited_over_udp_only() -> None:
    box = outbox()
    transmit = Transmit(bytes(60), LISTENER, ALICE)
    assert box.answer_stranger(transmit, ALICE, 0, NOW)
    assert not box.answer_stranger(transmit, ALICE, 19, NOW)
    assert box.drops == {DropReason.RATE_LIMIT: 1}
    assert all(box.answer_stranger(transmit, replace(ALICE, transport=Transport.TCP), 0, NOW) for _ in range(5))
    assert box.answer_stranger(transmit, ALICE, 20, NOW)  # 40 more than it cost, as much as is left
    assert all(box.answer_stranger(transmit, ALICE, 60, NOW) for _ in range(5))
    assert len(box.transmits) == 12


def test_answers_are_sealed() -> None:
    box = outbox()
    box.answer(EXCHANGE, ((LIFETIME, 5),))
    box.refuse(EXCHANGE, Code.FORBIDDEN)
    success, error = (decode_message(transmit.payload) for transmit in box.transmits)
    assert verify_integrity(success, b"key")
    assert verify_integrity(error, b"key")
    assert success.has_fingerprint
    assert success.get(LIFETIME) == 5
    assert list(box.events) == [RequestRefused(ALICE, LISTENER, Method.REFRESH, 403, "Forbidden", "alice")]
    assert box.refusals == {403: 1}


def test_the_seal_is_not_shown() -> None:
    assert "key" not in repr(EXCHANGE)
