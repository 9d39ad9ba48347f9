from __future__ import annotations

import re
from itertools import permutations
from random import Random

import pytest

from p2ptun.errors import AuthenticationFailed, LocalProtocolError
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.primitive import diffie_hellman
from p2ptun.signal.conversation import MAX_SAID, SESSION_ID_SIZE, Confirmed, ConversationEvent, Heard, Met
from p2ptun.signal.description import Kind
from p2ptun.signal.missive import ANYBODY, INCARNATION_SIZE, Missive, open_missive, seal_missive
from p2ptun.signal.pinned import (
    MAX_QUESTIONS,
    MAX_RETIRED,
    SECRET_SIZE,
    DropReason,
    PinnedConversation,
    kind_of,
    room_name,
    side_token,
    static_secret,
)
from tests.signal.parties import SECRET, carry_all, events_of, incarnation, messages_of

MAX_MESSAGE_SIZE = 16384
ONE, OTHER = KeyPair.generate(Random(1).randbytes), KeyPair.generate(Random(2).randbytes)


def begin(seed: int = 1) -> tuple[PinnedConversation, PinnedConversation]:
    """Begin a life of each side."""
    return incarnation(Kind.OFFER, seed)[0], incarnation(Kind.ANSWER, seed + 1000)[0]


def meet(seed: int = 1) -> tuple[PinnedConversation, PinnedConversation]:
    """Let two lives meet."""
    offer, answer = begin(seed)
    carry_all(offer, answer)
    assert [type(each) for each in events_of(offer)] == [Met, Confirmed]
    assert [type(each) for each in events_of(answer)] == [Met, Confirmed]
    return offer, answer


def keys() -> dict[Kind, bytes]:
    """Find out the keys of both directions."""
    return {kind: incarnation(kind, 1)[0]._sealing_key for kind in Kind}


def forge(kind: Kind, missive: Missive) -> bytes:
    """Write what only somebody who has the secret can write."""
    return seal_missive(keys()[kind], missive, Random(missive.serial).randbytes)


# Keys and names


def test_both_sides_compute_one_secret() -> None:
    secret = static_secret(ONE, OTHER.public)
    assert secret == static_secret(OTHER, ONE.public)
    assert len(secret) == SECRET_SIZE
    assert secret != static_secret(ONE, KeyPair.generate(Random(3).randbytes).public)
    assert secret != diffie_hellman(ONE.private, OTHER.public)


LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


@pytest.mark.parametrize("public", [*LOW_ORDER, b"", bytes(31), bytes(33)])
def test_what_is_no_public_key_is_refused(public: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        static_secret(ONE, public)


def test_the_smaller_key_offers() -> None:
    low, high = sorted([ONE.public, OTHER.public])
    assert kind_of(low, high) is Kind.OFFER
    assert kind_of(high, low) is Kind.ANSWER
    with pytest.raises(LocalProtocolError, match="same key"):
        kind_of(low, low)


def test_names_and_tokens_have_their_forms_and_tell_nothing_of_each_other() -> None:
    assert re.fullmatch("[0-9a-f]{64}", room_name(SECRET))
    tokens = {side_token(SECRET, kind) for kind in Kind}
    assert all(re.fullmatch("[A-Za-z0-9_-]{43}", token) for token in tokens)
    assert len(tokens) == 2
    derived = {room_name(SECRET), *tokens, *(key.hex() for key in keys().values()), SECRET.hex()}
    assert len(derived) == 6
    assert room_name(SECRET) != room_name(SECRET[::-1])


@pytest.mark.parametrize("secret", [b"", SECRET[:-1], SECRET + b"\0"])
def test_a_secret_of_another_size_is_our_own_mistake(secret: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        room_name(secret)
    with pytest.raises(LocalProtocolError):
        side_token(secret, Kind.OFFER)
    with pytest.raises(LocalProtocolError):
        PinnedConversation(secret, Kind.OFFER, Random(1).randbytes)


# Meeting


@pytest.mark.parametrize("first", Kind)
def test_two_meet_whoever_comes_first(first: Kind) -> None:
    sides = dict(zip(Kind, begin(), strict=True))
    early, late = sides[first], sides[Kind.ANSWER if first is Kind.OFFER else Kind.OFFER]
    (opening,) = messages_of(early)
    assert messages_of(early) == []
    assert events_of(early) == []
    late.receive_message(opening)
    carry_all(late, early)
    (met, confirmed), others = events_of(early), events_of(late)
    assert [met, confirmed] == others
    assert isinstance(met, Met)
    assert len(met.session_id) == SESSION_ID_SIZE
    assert confirmed == Confirmed()
    assert not early.drops
    assert not late.drops


def test_what_is_said_at_once_travels_with_the_proof() -> None:
    offer, answer = begin()
    for message in messages_of(offer):
        answer.receive_message(message)
    *_, question = messages_of(answer)
    offer.receive_message(question)
    offer.say(b"said")
    (message,) = messages_of(offer)
    answer.receive_message(message)
    assert [type(each) for each in events_of(answer)] == [Met, Confirmed, Heard]
    assert messages_of(offer) == []


def test_each_hears_the_latest_that_the_other_said() -> None:
    offer, answer = meet()
    offer.say(b"first")
    offer.say(b"second")
    answer.say(b"")
    answer.say(b"third")
    carry_all(offer, answer)
    assert events_of(answer) == [Heard(b"second")]
    assert events_of(offer) == [Heard(b"third")]
    offer.say(b"")
    carry_all(offer, answer)
    assert events_of(answer) == [Heard(b"")]


def test_in_any_order_the_latest_is_heard_last() -> None:
    texts = [b"first", b"second", b"third"]
    for order in permutations(range(3)):
        offer, answer = meet()
        written = []
        for text in texts:
            offer.say(text)
            written += messages_of(offer)
        for index in order:
            answer.receive_message(written[index])
        heard = events_of(answer)
        assert heard[-1] == Heard(b"third")
        indices = [texts.index(each.said) for each in heard if isinstance(each, Heard)]
        assert indices == sorted(set(indices))
        assert answer.drops.get(DropReason.REPEATED, 0) == 3 - len(heard)


def test_nothing_can_be_said_before_somebody_is_there_or_too_much_at_once() -> None:
    with pytest.raises(LocalProtocolError, match="nobody"):
        begin()[0].say(b"text")
    offer, answer = meet()
    with pytest.raises(LocalProtocolError, match="at once"):
        offer.say(bytes(MAX_SAID + 1))
    assert messages_of(offer) == []
    offer.say(bytes(MAX_SAID))
    (message,) = messages_of(offer)
    assert len(message) <= MAX_MESSAGE_SIZE
    answer.receive_message(message)
    assert events_of(answer) == [Heard(bytes(MAX_SAID))]


# Another life


@pytest.mark.parametrize("who", Kind)
def test_who_begins_anew_is_met_anew(who: Kind) -> None:
    sides = dict(zip(Kind, meet(), strict=True))
    other = Kind.ANSWER if who is Kind.OFFER else Kind.OFFER
    sides[other].say(b"old")
    carry_all(sides[who], sides[other])
    events_of(sides[who])
    sides[who] = incarnation(who, 77)[0]
    carry_all(sides[who], sides[other])
    new, old = events_of(sides[who]), events_of(sides[other])
    assert new == old
    assert [type(each) for each in new] == [Met, Confirmed]
    sides[other].say(b"new")
    carry_all(sides[who], sides[other])
    assert events_of(sides[who]) == [Heard(b"new")]


def test_what_was_left_for_an_earlier_life_is_enough_to_show_that_one_has_read_it() -> None:
    offer, answer = begin()
    left = carry_all(answer, offer)[-1]  # what it wrote when it met the first life
    assert open_missive(keys()[Kind.OFFER], left).recipient != ANYBODY
    assert events_of(offer) == events_of(answer) != []
    again = incarnation(Kind.ANSWER, 77)[0]
    _opening = messages_of(again)
    again.receive_message(left)
    assert events_of(again) == []
    (question,) = messages_of(again)
    offer.receive_message(question)
    assert [type(each) for each in events_of(offer)] == [Met, Confirmed]
    assert events_of(answer) == []


@pytest.mark.parametrize(("order", "dropped"), [((0, 1, 1), 1), ((1, 0, 0), 2)])
def test_who_has_seen_too_little_is_asked(order: tuple[int, ...], dropped: int) -> None:
    offer, answer = begin()
    opening = messages_of(offer)[0]
    answer.receive_message(opening)
    carry_all(answer, offer)  # a session, later than what the next life knows
    events_of(offer)
    again = incarnation(Kind.ANSWER, 77)[0]
    again.receive_message(opening)
    hello_and_question = messages_of(again)
    for index in order:
        offer.receive_message(hello_and_question[index])
    assert events_of(offer) == []
    assert offer.drops == {DropReason.ASKED: dropped}
    (question,) = messages_of(offer)
    again.receive_message(question)
    (answered,) = messages_of(again)
    offer.receive_message(answered)
    assert events_of(offer) == events_of(again)


def test_a_life_that_came_to_light_late_doesn_t_replace_a_later_one() -> None:
    """The rendezvous holds back all of a life that had seen our id until the next life has begun a session."""
    offer, early = begin()
    (opening,) = messages_of(offer)
    early.receive_message(opening)
    held_back = messages_of(early)
    late = incarnation(Kind.ANSWER, 77)[0]
    late.receive_message(opening)
    carry_all(late, offer)
    session = events_of(offer)
    assert session == events_of(late)
    for message in held_back * 2:
        offer.receive_message(message)
    assert events_of(offer) == []
    late.say(b"still there")
    carry_all(late, offer)
    assert events_of(offer) == [Heard(b"still there")]


def test_who_was_replaced_never_returns() -> None:
    offer, early = meet()
    early.say(b"early")
    (unheard,) = messages_of(early)
    late = incarnation(Kind.ANSWER, 77)[0]
    carry_all(late, offer)
    assert events_of(offer) == events_of(late)
    offer.receive_message(unheard)
    early.reopen()
    for message in messages_of(early):
        offer.receive_message(message)
    assert events_of(offer) == []
    assert messages_of(offer) == []
    assert offer.drops[DropReason.RETIRED] == 2


def test_so_many_are_remembered_as_replaced() -> None:
    offer, _ = begin()
    old = forge(Kind.ANSWER, Missive(b"\x01" * 16, 1))
    for number in range(MAX_RETIRED + 2):
        carry_all(offer, incarnation(Kind.ANSWER, 5000 + number)[0])
    assert len(offer._retired) == MAX_RETIRED
    offer.receive_message(old)
    assert len(events_of(offer)) == 2 * (MAX_RETIRED + 2)


# Reopening


def test_reopened_before_anybody_came_the_opening_is_written_again() -> None:
    offer, answer = begin()
    lost = messages_of(offer)
    offer.reopen()
    (opening,) = messages_of(offer)
    assert opening != lost[0]
    answer.receive_message(opening)
    carry_all(answer, offer)
    assert events_of(offer) == events_of(answer) != []


def test_questions_that_were_lost_are_asked_again() -> None:
    offer, answer = begin()
    crossing = messages_of(offer), messages_of(answer)
    for message in crossing[0]:
        answer.receive_message(message)
    for message in crossing[1]:
        offer.receive_message(message)
    lost = messages_of(offer) + messages_of(answer)
    assert len(lost) == 2
    offer.reopen()
    answer.reopen()
    carry_all(offer, answer)
    assert events_of(offer) == events_of(answer) != []


def test_who_asks_again_is_asked_again() -> None:
    """The question was lost, and only the other side knows."""
    offer, answer = begin()
    messages_of(offer)
    for message in messages_of(answer):
        offer.receive_message(message)
    assert len(messages_of(offer)) == 1
    answer.reopen()
    carry_all(answer, offer)
    assert events_of(offer) == events_of(answer) != []


def test_reopened_in_a_session_what_stands_is_said_again_and_asked_for() -> None:
    offer, answer = meet()
    offer.say(b"of the one")
    answer.say(b"of the other")
    assert messages_of(offer)
    assert messages_of(answer)  # all lost
    offer.reopen()
    carried = carry_all(offer, answer)
    assert events_of(answer) == [Heard(b"of the one")]
    assert events_of(offer) == [Heard(b"of the other")]
    assert len(carried) == 2
    offer.reopen()
    assert len(carry_all(offer, answer)) == 2
    assert events_of(answer) == events_of(offer) == []


def test_whom_we_have_met_is_answered_when_it_still_asks_whether_anybody_is_there() -> None:
    offer, answer = begin()
    answer.receive_message(messages_of(offer)[0])
    for message in messages_of(answer):
        offer.receive_message(message)
    offer.say(b"lost")
    assert messages_of(offer)
    answer.reopen()
    carry_all(answer, offer)
    assert events_of(answer) == [*events_of(offer), Heard(b"lost")]


def test_a_question_is_answered_once() -> None:
    offer, answer = meet()
    offer.reopen()
    (question,) = messages_of(offer)
    for _ in range(3):
        answer.receive_message(question)
    assert len(messages_of(answer)) == 1
    assert answer.drops == {DropReason.REPEATED: 2}


# Hostile


def test_what_isn_t_authentic_changes_nothing() -> None:
    offer, answer = begin()
    (opening,) = messages_of(answer)
    for forged in (b"", opening[:23], bytes(opening), opening + b"\0", bytes(16384)):
        receiver = answer if forged == opening else offer  # unchanged it comes back to its sender: reflected
        receiver.receive_message(forged)
    malformed = forge(Kind.ANSWER, Missive(ANYBODY, 1))
    offer.receive_message(malformed)
    assert offer.drops == {DropReason.MALFORMED: 3, DropReason.UNAUTHENTIC: 2}
    assert answer.drops == {DropReason.UNAUTHENTIC: 1}
    assert events_of(offer) == events_of(answer) == []
    assert len(messages_of(offer)) == 1


def test_another_room_s_messages_aren_t_authentic() -> None:
    offer, _ = begin()
    stranger = incarnation(Kind.ANSWER, 3, secret=SECRET[::-1])[0]
    for message in messages_of(stranger):
        offer.receive_message(message)
    assert offer.drops == {DropReason.UNAUTHENTIC: 1}


@pytest.mark.parametrize("is_in_session", [False, True])
def test_a_flood_of_unknown_incarnations_costs_little(is_in_session: bool) -> None:
    offer, answer = meet() if is_in_session else begin()
    messages_of(offer)
    recorded = [messages_of(incarnation(Kind.ANSWER, 100 + number)[0])[0] for number in range(3 * MAX_QUESTIONS)]
    for message in recorded * 2:
        offer.receive_message(message)
    assert len(messages_of(offer)) == MAX_QUESTIONS
    assert events_of(offer) == []
    assert offer.drops == {DropReason.ASKED: MAX_QUESTIONS, DropReason.FLOODED: 4 * MAX_QUESTIONS}
    # it keeps nobody away who is there
    again = incarnation(Kind.ANSWER, 77)[0] if is_in_session else answer
    offer.reopen()
    for message in recorded:
        offer.receive_message(message)
    written = messages_of(offer)
    assert len(written) == 1 + MAX_QUESTIONS
    for message in written:
        again.receive_message(message)
    carry_all(again, offer)
    assert events_of(offer) == events_of(again) != []


def test_a_flood_of_one_incarnation_costs_as_little() -> None:
    offer, answer = begin()
    messages_of(offer)
    recorded = []
    for _ in range(2 * MAX_QUESTIONS):
        answer.reopen()
        recorded += messages_of(answer)
    for message in recorded * 2:
        offer.receive_message(message)
        messages_of(offer)
    assert offer.drops == {DropReason.FLOODED: MAX_QUESTIONS + MAX_QUESTIONS, DropReason.ASKED: MAX_QUESTIONS}


def test_what_an_earlier_life_said_makes_us_ask_once() -> None:
    _, answer = meet()
    recorded = []
    for number in range(5):
        answer.say(b"%d" % number)
        recorded += messages_of(answer)
    again = incarnation(Kind.OFFER, 77)[0]
    messages_of(again)
    for message in recorded:
        again.receive_message(message)
        assert len(messages_of(again)) == (message is recorded[0])
    assert again.drops == {DropReason.ASKED: 4}


def test_those_who_name_us_have_a_bound_of_their_own() -> None:
    offer, _ = meet()
    for number in range(2 * MAX_QUESTIONS):
        offer.receive_message(forge(Kind.ANSWER, Missive(number.to_bytes(16, "little"), 1 + number)))
    (named,) = {open_missive(keys()[Kind.OFFER], each).sender for each in messages_of(offer)}
    late = [Missive(b"%16d" % number, 1, named, seen=1) for number in range(2 * MAX_QUESTIONS)]
    for missive in late:
        offer.receive_message(forge(Kind.ANSWER, missive))
    assert len(messages_of(offer)) == MAX_QUESTIONS
    assert offer.drops[DropReason.FLOODED] == 2 * MAX_QUESTIONS - 1  # nobody's was malformed
    assert offer.drops[DropReason.MALFORMED] == 1


def test_whomever_the_other_side_asks_for_it_is_answered_once() -> None:
    offer, answer = meet()
    recorded = [messages_of(incarnation(Kind.OFFER, 100 + number)[0])[0] for number in range(3)]
    for message in recorded:
        answer.receive_message(message)
    questions = messages_of(answer)
    for message in questions:
        offer.receive_message(message)
        assert len(messages_of(offer)) == 1
    for message in questions:
        offer.receive_message(message)
    assert messages_of(offer) == []
    assert offer.drops == {DropReason.FOREIGN: 3}


def test_who_took_an_earlier_life_of_ours_for_the_latest_learns_better() -> None:
    """It lost what it had asked us when it entered the room anew; what stands there then is for the earlier life."""
    early, answer = begin()
    for message in messages_of(answer):
        early.receive_message(message)
    held_back = messages_of(early)[1:]
    late = incarnation(Kind.OFFER, 77)[0]
    for message in messages_of(late):
        answer.receive_message(message)
    for message in messages_of(answer):
        late.receive_message(message)
    late.say(b"late")
    unanswered = messages_of(late)
    for message in held_back + unanswered:
        answer.receive_message(message)
    assert isinstance(events_of(answer)[0], Met)
    assert len(messages_of(answer)) == 2  # lost
    answer.reopen()
    carry_all(answer, late)
    assert events_of(answer) == [*events_of(late), Heard(b"late")]


def test_a_question_that_waits_isn_t_asked_once_its_answer_is_there() -> None:
    (offer, own), (early, _), (late, _) = (
        incarnation(Kind.OFFER, 1),
        incarnation(Kind.ANSWER, 2),
        incarnation(Kind.ANSWER, 3),
    )
    (opening,) = messages_of(offer)
    for side in (early, late):
        offer.receive_message(messages_of(side)[0])
        side.receive_message(opening)
    offer.receive_message(messages_of(late)[0])
    waiting = [open_missive(keys()[Kind.OFFER], each) for each in messages_of(offer)]
    assert [each.asks for each in waiting] == [False, True]
    assert len({each.recipient for each in waiting}) == 2
    assert {each.sender for each in waiting} == {own}


def test_what_is_said_to_somebody_else_or_to_anybody_isn_t_heard() -> None:
    offer, _ = begin()
    peer, own = b"p" * 16, open_missive(keys()[Kind.OFFER], messages_of(offer)[0]).sender
    offer.receive_message(forge(Kind.ANSWER, Missive(peer, 1, own, 1)))
    for recipient in (ANYBODY, b"o" * 16):
        offer.receive_message(forge(Kind.ANSWER, Missive(peer, 2, recipient, 1, revision=1, said=b"said")))
    assert events_of(offer)[2:] == []
    offer.receive_message(forge(Kind.ANSWER, Missive(peer, 3, own, 1, revision=1, said=b"said")))
    assert events_of(offer) == [Heard(b"said")]


def test_events_come_in_their_order() -> None:
    offer, _ = begin()
    peer, own = b"p" * 16, open_missive(keys()[Kind.OFFER], messages_of(offer)[0]).sender
    offer.receive_message(forge(Kind.ANSWER, Missive(peer, 1, own, 1, revision=1, said=b"a")))
    offer.receive_message(forge(Kind.ANSWER, Missive(peer, 2, own, 1, revision=2, said=b"b")))
    events: list[ConversationEvent] = events_of(offer)
    assert [type(each) for each in events] == [Met, Confirmed, Heard, Heard]
    assert events[2:] == [Heard(b"a"), Heard(b"b")]
    assert len(own) == INCARNATION_SIZE
