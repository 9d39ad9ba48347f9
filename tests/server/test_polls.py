"""Polls hear of what happens in their room, and no more wait than may."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from p2ptun.server.polls import Poll, Polls
from p2ptun.server.refusal import Limit, Refusal

ONE, TWO = b"one", b"two"


async def is_woken(poll: Poll) -> bool:
    """Tell whether something has happened."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll.wait)
        await wait_all_tasks_blocked()
        is_waiting = bool(nursery.child_tasks)
        nursery.cancel_scope.cancel()
    return not is_waiting


@pytest.mark.trio
async def test_what_happens_wakes_those_in_the_room_but_who_did_it() -> None:
    polls = Polls(10, 2)
    with polls.begin("1", ONE) as own, polls.begin("1", TWO) as other, polls.begin("2", TWO) as elsewhere:
        polls.wake("1", but=ONE)
        assert [await is_woken(each) for each in (own, other, elsewhere)] == [False, True, False]
        polls.wake("1")
        assert [await is_woken(each) for each in (own, other, elsewhere)] == [True, True, False]
        polls.wake_all()
        assert [await is_woken(each) for each in (own, other, elsewhere)] == [True, True, True]
        assert not await is_woken(own)
        polls.wake("3")


@pytest.mark.trio
async def test_what_happens_before_a_poll_waits_is_not_missed() -> None:
    polls = Polls(10, 2)
    with polls.begin("1", ONE) as poll:
        polls.wake("1")
        polls.admit("1", poll)
        assert await is_woken(poll)


@pytest.mark.trio
async def test_closing_ends_what_waits_and_what_will() -> None:
    polls = Polls(10, 2)
    with polls.begin("1", ONE) as early, polls.begin("1", ONE) as late:
        polls.admit("1", early)
        polls.close()
        assert early.is_over
        polls.admit("1", late)
        assert late.is_over
        assert await is_woken(late)
        assert polls.waiting == 1


def test_only_those_that_wait_are_counted() -> None:
    polls = Polls(2, 2)
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(polls.begin(str(number), ONE)) for number in range(3))
        assert polls.waiting == 0
        polls.admit("0", first)
        polls.admit("1", second)
        with pytest.raises(Refusal) as caught:
            polls.admit("2", third)
        assert caught.value.limit is Limit.POLLS
        assert polls.waiting == 2
    assert polls.waiting == 0


def test_one_side_can_not_keep_the_other_from_waiting() -> None:
    polls = Polls(10, 1)
    with polls.begin("1", ONE) as old, polls.begin("1", TWO) as other, polls.begin("1", ONE) as new:
        polls.admit("1", old)
        polls.admit("1", other)
        polls.admit("1", new)
        assert (old.is_over, other.is_over, new.is_over) == (True, False, False)


def test_a_side_may_replace_its_poll_when_no_more_may_wait() -> None:
    polls = Polls(1, 1)
    with polls.begin("1", ONE) as old, polls.begin("1", ONE) as new:
        polls.admit("1", old)
        polls.admit("1", new)
        assert old.is_over
        assert not new.is_over
