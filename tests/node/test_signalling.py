"""Two sides that keep each other informed, over a channel that loses, repeats and reorders."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import LocalProtocolError
from p2ptun.ice.credential import Credentials
from p2ptun.ice.named import place_of
from p2ptun.node.drop import DropReason
from p2ptun.node.parameters import IceParameters
from p2ptun.node.signalling import (
    MAX_REPEAT_INTERVAL,
    MIN_REPEAT_INTERVAL,
    NEWS_BURST,
    NEWS_PER_SECOND,
    Signalling,
    Timer,
)
from p2ptun.tunnel.control import MAX_CANDIDATES, Acknowledgement, IceCredentials, IceDescription, encode_control
from tests.node.test_parameters import candidate

START = 1000.0
MESSAGE = IceDescription | Acknowledgement


def state(generation: int = 0, *numbers: int) -> IceParameters:
    """Make the state of one side: its generation and its candidates."""
    now, following = (Credentials(f"gen{each}", "p" * 22, each) for each in (generation, generation + 1))
    return IceParameters(now, tuple(candidate(number) for number in numbers), following)


@dataclass
class Side:
    """One side, and what it has learnt of the other by applying the news."""

    signalling: Signalling = field(default_factory=Signalling)
    own: IceParameters | None = None
    known: IceParameters | None = None
    places: set[Hashable] = field(default_factory=set)

    def update(self, own: IceParameters) -> None:
        self.own = own
        self.signalling.update(own)

    def receive(self, message: MESSAGE, now: float = START) -> None:
        news = self.signalling.receive(message, now)
        if news is None:
            return
        assert not {place_of(each) for each in news.added} & self.places
        assert {place_of(each) for each in news.removed} <= self.places
        self.places |= {place_of(each) for each in news.added}
        self.places -= {place_of(each) for each in news.removed}
        assert self.places == {place_of(each) for each in news.parameters.candidates}
        self.known = news.parameters

    def has(self, own: IceParameters | None) -> bool:
        """Tell whether it knows all that the other side's state says."""
        if own is None or self.known is None:
            return own is self.known
        same_rest = replace(own, candidates=()) == replace(self.known, candidates=())
        return same_rest and self.places == {place_of(each) for each in own.candidates}


def messages(side: Side, now: float = START, rtt: float | None = None) -> Iterator[MESSAGE]:
    """Take all that a side has to say now."""
    while (message := side.signalling.take_message(rtt, now)) is not None:
        yield message


def exchange(one: Side, other: Side, now: float = START) -> int:
    """Carry messages until nobody has anything to say; return how many they were."""
    carried = 0
    for _ in range(10):
        before = carried
        for sender, receiver in ((one, other), (other, one)):
            for message in messages(sender, now):
                receiver.receive(message, now)
                carried += 1
        if carried == before:
            return carried
    raise AssertionError("they go on talking for ever")


def told(side: Side) -> IceDescription:
    """Take the one description that a side has to send."""
    (message,) = messages(side)
    assert isinstance(message, IceDescription)
    return message


# A channel that works


def test_each_side_gets_to_know_the_other_in_three_messages() -> None:
    alice, bob = Side(), Side()
    alice.update(state(0, 1, 2))
    bob.update(state(0, 3))
    assert exchange(alice, bob) == 3, "the first answer tells and acknowledges, the last one only acknowledges"
    assert alice.has(bob.own)
    assert bob.has(alice.own)
    for side in (alice, bob):
        assert side.signalling.is_acknowledged
        assert side.signalling.next_timeout() is None
        assert side.signalling.next_timer is None


def test_who_has_nothing_to_say_acknowledges_briefly() -> None:
    alice, bob = Side(), Side()
    assert list(messages(alice)) == []
    alice.update(state(0, 1))
    bob.receive(told(alice))
    (answer,) = messages(bob)
    assert answer == Acknowledgement(1)
    assert len(encode_control(answer)) <= 8
    assert list(messages(bob)) == []


def test_nothing_is_told_that_has_not_changed() -> None:
    alice, bob = Side(), Side()
    alice.update(state(0, 1))
    exchange(alice, bob)
    alice.update(state(0, 1))
    alice.signalling.hasten()
    assert list(messages(alice)) == []
    assert alice.signalling.next_timeout() is None


def test_changes_before_the_first_message_are_one_message() -> None:
    alice, bob = Side(), Side()
    for count in range(5):
        alice.update(state(0, *range(count)))
    bob.receive(told(alice))
    assert bob.has(alice.own)


def test_a_change_says_what_was_added_and_removed() -> None:
    alice, bob = Side(), Side()
    alice.update(state(0, 1, 2))
    exchange(alice, bob)
    alice.update(state(0, 2, 3))
    news = bob.signalling.receive(told(alice), START)
    assert news is not None
    assert [place_of(each) for each in news.added] == [candidate(3).endpoint]
    assert [place_of(each) for each in news.removed] == [candidate(1).endpoint]


def test_what_was_told_before_there_was_a_tunnel_is_known() -> None:
    alice, bob = Side(), Side()
    bob.signalling.begin((candidate(1), candidate(2)))
    alice.update(state(0, 2, 3))
    news = bob.signalling.receive(told(alice), START)
    assert news is not None
    assert [place_of(each) for each in news.added] == [candidate(3).endpoint]
    assert [place_of(each) for each in news.removed] == [candidate(1).endpoint]


def test_a_restart_neither_adds_nor_removes_candidates() -> None:
    """They only get another generation."""
    alice, bob = Side(), Side()
    alice.update(state(0, 1))
    exchange(alice, bob)
    alice.update(state(1, 1))
    news = bob.signalling.receive(told(alice), START)
    assert news is not None
    assert (news.added, news.removed) == ((), ())
    assert [each.generation for each in news.parameters.candidates] == [1]
    assert news.parameters.credentials == state(1).credentials
    assert news.parameters.next_credentials == state(2).credentials


# A channel that doesn't


@pytest.mark.parametrize(
    ("rtt", "first"), [(None, MIN_REPEAT_INTERVAL), (0.01, MIN_REPEAT_INTERVAL), (0.3, 0.6), (7, MAX_REPEAT_INTERVAL)]
)
def test_what_stays_unacknowledged_is_repeated_ever_more_slowly(rtt: float | None, first: float) -> None:
    alice = Side()
    alice.update(state(0, 1))
    now, times, sent = START, [START], list(messages(alice, START, rtt))
    while now < START + 120:
        at = alice.signalling.next_timeout()
        assert at is not None
        assert alice.signalling.next_timer is Timer.REPEAT
        alice.signalling.handle_timeout(at - 0.001)
        assert list(messages(alice, at - 0.001, rtt)) == [], "not before its time"
        now = at
        alice.signalling.handle_timeout(now)
        assert alice.signalling.next_timeout() is None, "it is due, and waits for whoever can send it"
        times.append(now)
        sent += messages(alice, now, rtt)
    assert sent == [sent[0]] * len(times)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == pytest.approx([min(first * 2**number, MAX_REPEAT_INTERVAL) for number in range(len(gaps))])


def test_new_keys_or_another_path_make_it_swift_again() -> None:
    alice = Side()
    alice.update(state(0, 1))
    for _ in range(8):
        list(messages(alice))
        alice.signalling.handle_timeout(START + 100)
    list(messages(alice))
    alice.signalling.hasten()
    assert len(list(messages(alice))) == 1
    assert alice.signalling.next_timeout() == START + MIN_REPEAT_INTERVAL


def test_a_repetition_is_acknowledged_again_and_changes_nothing() -> None:
    alice, bob = Side(), Side()
    alice.update(state(0, 1))
    message = told(alice)
    bob.receive(message)
    list(messages(bob))  # lost
    assert bob.signalling.receive(message, START) is None
    assert list(messages(bob)) == [Acknowledgement(1)]


def test_who_is_at_rest_says_nothing_until_something_changes() -> None:
    alice, bob = Side(), Side()
    for side in (alice, bob):
        side.update(state(0, 1))
    bob.receive(told(alice))
    for side in (alice, bob):
        side.signalling.rest()
        assert list(messages(side)) == []
        assert side.signalling.next_timeout() is None
    alice.update(state(0, 2))
    assert exchange(alice, bob) == 2, "and is acknowledged"


def test_an_old_message_that_comes_late_changes_nothing() -> None:
    alice, bob = Side(), Side()
    alice.update(state(0, 1))
    late = told(alice)
    alice.update(state(1, 2))
    bob.receive(told(alice))
    bob.receive(late)
    assert bob.has(alice.own)
    assert list(messages(bob)) == [Acknowledgement(2)], "of what it has, not of what came"


def test_an_acknowledgement_of_an_older_state_does_not_end_the_repetition() -> None:
    alice = Side()
    alice.update(state(0, 1))
    list(messages(alice))
    alice.update(state(0, 2))
    list(messages(alice))
    alice.receive(Acknowledgement(1))
    assert not alice.signalling.is_acknowledged
    assert alice.signalling.next_timeout() is not None
    alice.receive(Acknowledgement(2))
    alice.receive(Acknowledgement(1))
    assert alice.signalling.is_acknowledged


def test_a_peer_can_not_acknowledge_what_was_never_sent() -> None:
    alice = Side()
    alice.update(state(0, 1))
    list(messages(alice))
    alice.receive(Acknowledgement(2**32 - 1))
    assert not alice.signalling.is_acknowledged
    alice.update(state(0, 2))
    assert len(list(messages(alice))) == 1


def test_a_peer_that_claims_the_last_revision_silences_only_itself() -> None:
    alice, bob = Side(), Side()
    bob.receive(IceDescription(2**32 - 1, 0, IceCredentials(0, "abcd", "p" * 22), None, (), False, 0))
    alice.update(state(0, 1))
    assert bob.signalling.receive(told(alice), START) is None
    bob.update(state(0, 2))
    alice.receive(told(bob))
    assert alice.has(bob.own)


def test_a_peer_that_changes_its_mind_all_the_time_is_believed_now_and_then() -> None:
    """Each description may cost checks and lines in a log. An honest peer repeats what wasn't acknowledged."""
    alice, bob = Side(), Side()
    now, taken, known = START, 0, bob.known
    while now < START + 100:
        alice.update(state(0, int(now * 10) % 2))
        for message in messages(alice, now):
            bob.receive(message, now)
            taken += bob.known is not known
            known = bob.known
            for answer in messages(bob, now):
                alice.receive(answer, now)
        now += 0.1
    assert taken == pytest.approx(NEWS_BURST + 100 * NEWS_PER_SECOND, abs=1)
    assert bob.signalling.drops == {DropReason.HASTY_DESCRIPTION: pytest.approx(1000 - taken, abs=1)}
    end = now + 2 / NEWS_PER_SECOND
    while (at := alice.signalling.next_timeout()) is not None and at < end:
        alice.signalling.handle_timeout(at)
        exchange(alice, bob, at)
    assert alice.signalling.is_acknowledged


def test_candidates_that_no_message_holds_are_counted() -> None:
    alice, bob = Side(), Side()
    alice.update(state(0, *range(MAX_CANDIDATES + 5)))
    assert alice.signalling.drops == {DropReason.UNTOLD_CANDIDATE: 5}
    bob.receive(told(alice))
    assert bob.places == {candidate(number).endpoint for number in range(5, MAX_CANDIDATES + 5)}


ACTIONS = ("update", "send", "deliver", "repeat", "lose", "wait", "hasten")


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.booleans(), st.integers(0, 7)), max_size=60))
def test_whatever_the_channel_does_both_sides_agree_when_it_works_again(
    actions: list[tuple[str, bool, int]],
) -> None:
    sides, now = (Side(), Side()), START
    flying: tuple[list[MESSAGE], list[MESSAGE]] = ([], [])
    for action, which, number in actions:
        side, other, way = sides[which], sides[not which], flying[which]
        match action:
            case "update":
                side.update(state(number // 4, number, number + 1))
            case "send":
                way.extend(messages(side, now))
            case "deliver" if way:
                other.receive(way.pop(number % len(way)), now)  # in any order
            case "repeat" if way:
                other.receive(way[number % len(way)], now)
            case "lose" if way:
                way.pop(number % len(way))
            case "wait":
                now += number
                for each in sides:
                    each.signalling.handle_timeout(now)
                    assert (at := each.signalling.next_timeout()) is None or at > now
            case "hasten":
                side.signalling.hasten()
    now += 2 * MAX_REPEAT_INTERVAL
    for side in sides:
        side.signalling.handle_timeout(now)
    exchange(*sides, now)
    for side, other in (sides, sides[::-1]):
        assert side.has(other.own)
        assert side.signalling.is_acknowledged
        assert side.signalling.next_timeout() is None


def test_there_is_nothing_to_write_before_there_is_a_state() -> None:
    signalling = Signalling()
    with pytest.raises(LocalProtocolError, match="state"):
        signalling.write()
    signalling.update(state(0, 1))
    assert signalling.write() == signalling.take_message(None, START)
