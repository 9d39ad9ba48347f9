"""When a handshake begins, and when it doesn't: with real sessions."""

from __future__ import annotations

import pytest

from p2ptun.node.keying import HANDSHAKE_TIMEOUT, Keying, Timer
from p2ptun.tunnel.timing import REPEAT_INTERVAL
from p2ptun.tunnel.wire import MessageType
from tests.tunnel.world import START, World


class Sides:
    """Alice's keying over a session whose other end answers when it is let."""

    def __init__(self, is_heard: bool = True) -> None:
        self.world = World()
        self.session = self.world.a.session
        self.keying = Keying()
        self.keying.is_heard = is_heard

    def begin(self, is_answering: bool = False) -> list[int]:
        self.keying.begin(self.session, is_answering, self.world.now)
        return self.sent()

    def wake(self) -> list[int]:
        self.keying.wake(self.session, self.world.now)
        return self.sent()

    def sent(self) -> list[int]:
        """Take what the session wants to send: nothing of it arrives."""
        kinds = []
        while (datagram := self.session.next_transmit()) is not None:
            kinds.append(datagram[0])
        return kinds

    def connect(self) -> None:
        self.world.connect()
        self.keying.succeed()


INITIATION = [MessageType.INITIATION.value]


def test_whoever_has_a_path_initiates_once_it_is_heard() -> None:
    sides = Sides(is_heard=False)
    assert sides.begin() == sides.wake() == []
    assert sides.keying.next_timeout() is None
    sides.keying.is_heard = True
    assert sides.begin() == INITIATION
    assert sides.keying.next_timeout() == START + HANDSHAKE_TIMEOUT
    assert sides.keying.next_timer is Timer.HANDSHAKE


def test_a_packet_does_not_initiate_twice() -> None:
    sides = Sides()
    assert sides.wake() == INITIATION
    assert sides.wake() == []


def test_an_answer_that_waits_makes_an_initiation_needless() -> None:
    sides = Sides()
    assert sides.begin(is_answering=True) == []
    assert sides.keying.next_timeout() == START + HANDSHAKE_TIMEOUT


def test_another_path_repeats_what_may_be_lost() -> None:
    sides = Sides()
    sides.keying.begin(sides.session, False, sides.world.now)
    first = sides.session.next_transmit()
    sides.world.now += REPEAT_INTERVAL / 2
    sides.keying.begin(sides.session, False, sides.world.now)
    assert sides.session.next_transmit() == first, "which is dropped as a replay if it did arrive"
    sides.world.now += REPEAT_INTERVAL
    sides.keying.begin(sides.session, False, sides.world.now)
    again = sides.session.next_transmit()
    assert again is not None
    assert again != first, "its answer may be what was lost"
    assert sides.session.next_transmit() is None


def test_keys_that_there_are_need_no_handshake() -> None:
    sides = Sides()
    sides.connect()
    assert sides.begin() == sides.wake() == []
    assert sides.keying.next_timeout() is None


def test_keys_in_doubt_are_renewed_once() -> None:
    sides = Sides()
    sides.connect()
    sides.keying.doubts_keys = True
    assert sides.begin(is_answering=True) == INITIATION
    assert not sides.keying.doubts_keys


def test_only_the_first_keys_are_waited_for() -> None:
    sides = Sides()
    sides.begin()
    at = sides.keying.next_timeout()
    sides.world.now += 5
    sides.begin()
    assert sides.keying.next_timeout() == at, "another path is no reason to wait longer"
    assert at is not None
    assert not sides.keying.handle_timeout(at - 0.1)
    assert sides.keying.handle_timeout(at)
    assert sides.keying.next_timeout() is None
    assert not sides.keying.handle_timeout(at + 100)


@pytest.mark.parametrize("end", [Keying.succeed, Keying.rest])
def test_nothing_is_waited_for_with_keys_or_without_a_path(end: object) -> None:
    sides = Sides()
    sides.begin()
    assert callable(end)
    end(sides.keying)
    assert sides.keying.next_timeout() is None
    assert sides.keying.had_keys is (end is Keying.succeed)
