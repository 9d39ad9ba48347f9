"""Pitfalls of STUN messages as an agent meets them. They are numbered through the tests of all packages."""

from __future__ import annotations

import hmac
import zlib

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.event import DropReason
from p2ptun.ice.pair import PairProblem, PairState
from p2ptun.ice.role import Role
from p2ptun.stun import integrity
from p2ptun.stun.attribute import UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS
from p2ptun.stun.integrity import short_term_key
from p2ptun.stun.message import Message, decode_message, encode_message, success_response
from p2ptun.types import Endpoint
from tests.sim.network import at

from .hand import BASE, PEER, STRANGER, THEIRS, Duel, code_of, responses, sealed

CONTROLLING, CONTROLLED = Role
UNKNOWN = 0x0077
USE_CANDIDATE = bytes.fromhex("00250000")
SOFTWARE = bytes.fromhex("8022 0004 74657374")


def attribute(number: int, value: bytes) -> bytes:
    return number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)


def with_length(message: bytes, more: int = 0) -> bytes:
    """Let the header's length say how long the message is, with `more` bytes to come."""
    return message[:2] + (len(message) - 20 + more).to_bytes(2, "big") + message[4:]


def assembled(message: Message, password: str, before: bytes = b"", behind: bytes = b"", wrong: int = 0) -> bytes:
    """Seal a message by hand (RFC 8489 14.5, 14.7): `before` and `behind` stand around MESSAGE-INTEGRITY.

    The MAC covers what is before it, with the header's length set to the end of MESSAGE-INTEGRITY; `wrong` is added to
    that length by who has misread the RFC.
    """
    data = encode_message(message, fingerprint=False) + before
    covered = with_length(data, 24 + wrong)
    data += attribute(0x0008, hmac.digest(password.encode(), covered, "sha1")) + behind
    data = with_length(data, 8)
    return data + attribute(0x8028, (zlib.crc32(data) ^ 0x5354554E).to_bytes(4, "big"))


def check_of(duel: Duel, before: bytes = b"", behind: bytes = b"", wrong: int = 0) -> bytes:
    return assembled(duel.request(CONTROLLING), duel.ours.password, before, behind, wrong)


def test_pitfall_03_integrity_covers_the_message_up_to_itself_whatever_follows() -> None:
    duel = Duel(CONTROLLED)
    duel.meet(str(PEER))
    duel.take()
    for behind in (b"", SOFTWARE, SOFTWARE * 5):
        [(answer, _)] = responses(duel.hear(check_of(duel, behind=behind)))
        assert code_of(answer) == 0


@pytest.mark.parametrize("wrong", [-24, 8])
def test_pitfall_03_a_mac_over_another_length_is_none(wrong: int) -> None:
    """Length before MESSAGE-INTEGRITY, or of the whole message: neither is what RFC 8489 14.5 says."""
    duel = Duel(CONTROLLED)
    duel.meet(str(PEER))
    duel.take()
    [(answer, _)] = responses(duel.hear(check_of(duel, wrong=wrong)))
    assert code_of(answer) == 401


def test_pitfall_03_what_stands_behind_the_seal_is_ignored() -> None:
    """Anybody on the way can append it: a nomination counts only under the seal."""
    for place, is_nominated in (("before", True), ("behind", False)):
        duel = Duel(CONTROLLED)
        duel.meet(str(PEER))
        duel.hear(check_of(duel, **{place: USE_CANDIDATE}))  # type: ignore[arg-type]
        duel.answer(duel.first_check())
        assert duel.selections[-1].is_nominated is is_nominated


@pytest.mark.parametrize("where", ["missing", "wrong", "not last"])
def test_pitfall_03_without_a_right_fingerprint_at_the_end_it_is_no_check(where: str) -> None:
    duel = Duel(CONTROLLED)
    duel.meet(str(PEER))
    duel.take()
    good = check_of(duel)
    bad = {
        "missing": with_length(good[:-8]),
        "wrong": good[:-1] + bytes([good[-1] ^ 1]),
        "not last": with_length(good + SOFTWARE),
    }
    assert not duel.hear(bad[where])
    assert sum(duel.agent.drops.values()) == 1
    assert responses(duel.hear(good))


def test_pitfall_03_seals_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def spy(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return hmac_compare(left, right)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", spy)
    duel = Duel(CONTROLLED)
    assert responses(duel.ask())
    assert len(compared) == 1


def test_pitfall_04_an_unknown_required_attribute_gets_420_with_the_list_once_authenticated() -> None:
    """RFC 8489 6.3.1, after 9.1.3: strangers learn nothing by it."""
    duel = Duel(CONTROLLED)
    duel.meet(str(PEER))
    duel.take()
    unknown = attribute(UNKNOWN, b"")
    [(answer, _)] = responses(duel.hear(check_of(duel, before=unknown), STRANGER))
    assert (code_of(answer), answer.get(UNKNOWN_ATTRIBUTES)) == (420, (UNKNOWN,))
    assert integrity.verify_integrity(answer, short_term_key(duel.ours.password))
    stranger = assembled(duel.request(CONTROLLING), THEIRS.password, before=unknown)
    [(answer, _)] = responses(duel.hear(stranger, STRANGER))
    assert code_of(answer) == 401
    assert [pair.destination for pair in duel.agent.pairs] == [PEER]


def test_pitfall_04_an_indication_with_one_is_dropped() -> None:
    duel = Duel()
    duel.meet(str(PEER))
    duel.take()
    data = with_length(bytes.fromhex("0011 0000 2112a442") + bytes(12) + attribute(UNKNOWN, b""))
    assert not duel.hear(data)
    assert sum(duel.agent.drops.values()) == 1


def test_pitfall_04_an_answer_with_one_fails_the_check() -> None:
    """RFC 8489 6.3.3; only an authentic answer can do that."""
    duel = Duel()
    duel.meet(str(PEER))
    request, _ = duel.first_check()
    reply = success_response(request, (XOR_MAPPED_ADDRESS, BASE))
    duel.hear(assembled(reply, duel.ours.password, before=attribute(UNKNOWN, b"")), PEER)
    assert duel.pair().state is PairState.IN_PROGRESS
    duel.hear(assembled(reply, THEIRS.password, before=attribute(UNKNOWN, b"")), PEER)
    assert (duel.pair().state, duel.pair().problem) == (PairState.FAILED, PairProblem.MALFORMED_ANSWER)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: bytes([data[0] | 0x80]) + data[1:], DropReason.NOT_STUN),
        (lambda data: data[:4] + b"\x21\x12\xa4\x43" + data[8:], DropReason.NOT_STUN),
        (lambda data: data[:3] + bytes([data[3] + 1]) + data[4:] + b"\0", DropReason.NOT_STUN),
        (lambda data: data + b"\0\0\0\0", DropReason.NOT_STUN),
        (lambda data: data[:19], DropReason.NOT_STUN),
        (lambda data: with_length(data[:-8]), DropReason.NO_FINGERPRINT),
    ],
    ids=["first bits", "cookie", "length % 4", "length", "short", "fingerprint"],
)
def test_pitfall_05_only_what_looks_like_stun_in_every_way_is_a_check(change: object, reason: DropReason) -> None:
    assert callable(change)
    duel = Duel(CONTROLLED)
    duel.meet(str(PEER))
    duel.take()
    assert not duel.hear(change(check_of(duel)))
    assert duel.agent.drops == {reason: 1}


def test_pitfall_21_ipv6_is_masked_with_the_transaction_of_its_own_message() -> None:
    """RFC 8489 14.2, by hand: cookie and transaction ID over the 16 bytes."""
    base, source = at("[2001:db8::1]:7"), at("[2001:db8::99]:7")
    duel = Duel(CONTROLLED, str(base))
    for _ in range(2):
        request = duel.request(CONTROLLING)
        [(answer, _)] = responses(duel.hear(sealed(request, duel.ours.password), source, base))
        raw = encode_message(answer)
        at_value = raw.index(bytes.fromhex("00200014")) + 4
        port, masked = raw[at_value + 2 : at_value + 4], raw[at_value + 4 : at_value + 20]
        mask = bytes.fromhex("2112a442") + request.transaction_id
        assert bytes(a ^ b for a, b in zip(masked, mask, strict=True)) == source.address.packed
        assert int.from_bytes(port, "big") ^ 0x2112 == source.port


def test_pitfall_21_an_address_that_is_ipv4_in_disguise_is_ipv4_everywhere() -> None:
    """In a candidate, in XOR-MAPPED-ADDRESS, as the source of a packet."""
    disguised = Endpoint.of(f"::ffff:{PEER.address}", PEER.port)
    told = Candidate.from_sdp(f"candidate:1 1 UDP 5 ::ffff:{PEER.address} {PEER.port} typ host")
    assert told.endpoint == disguised == PEER
    duel = Duel()
    duel.meet(told, str(PEER))
    assert [pair.destination for pair in duel.agent.pairs] == [PEER]
    request, packet = duel.first_check()
    cookie_and_id = bytes.fromhex("2112a442") + request.transaction_id
    mapped = bytes(10) + b"\xff\xff" + BASE.address.packed
    masked = bytes(a ^ b for a, b in zip(mapped, cookie_and_id, strict=True))
    value = b"\0\x02" + (BASE.port ^ 0x2112).to_bytes(2, "big") + masked
    reply = assembled(success_response(request), THEIRS.password, before=attribute(0x0020, value))
    assert decode_message(reply).get(XOR_MAPPED_ADDRESS) == BASE
    duel.hear(reply, packet.destination)
    assert duel.selections[-1].local.type is CandidateType.HOST
