"""Two sides with a code: what they come to know, and what becomes of who lacks it, is silent, or talks nonsense."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import trio
import trio.testing

from p2ptun.daemon.event import MeetingEvent, VerifyEvent
from p2ptun.daemon.introduction import Introduced
from p2ptun.daemon.options import Side
from p2ptun.daemon.room_problem import CONFIRMATION_PATIENCE
from p2ptun.errors import NotMet, RendezvousError, RoomGone, RoomUnknown, WrongCode
from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.signal.code import Code
from p2ptun.signal.description import Kind
from p2ptun.signal.pairing import CodeConversation
from p2ptun.tunnel.psk import PskSource
from tests.daemon.person import Person, PreparedRooms
from tests.daemon.room import SharedRoom

pytestmark = pytest.mark.trio


async def meet(
    shared: SharedRoom, alter: Callable[[Code], Code] = lambda code: code, answers: bytes = b""
) -> tuple[Person, Person]:
    """Let alice share and bob join with what he heard of her code."""
    alice = Person(Side.SHARE, PreparedRooms(shared.sides[0]), None, bool(answers), answers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        bob = Person(Side.JOIN, PreparedRooms(shared.sides[1]), alter(alice.codes()[0]))
        await bob.run(nursery)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return alice, bob


def other_secret(code: Code) -> Code:
    return Code(code.room, code.secret ^ 1)


async def test_both_sides_know_the_same_of_each_other() -> None:
    shared = SharedRoom()
    alice, bob = await meet(shared)
    assert isinstance(alice.result, Introduced)
    assert isinstance(bob.result, Introduced)
    for each in (alice.result, bob.result):
        assert each.offer.public_key == alice.tunnel.keys.public
        assert each.answer.public_key == bob.tunnel.keys.public
        assert each.offer.session_id == each.answer.session_id
        assert each.state is not None
    assert alice.result.secrets == bob.result.secrets
    assert PskSource.PAKE in alice.result.secrets
    assert alice.introduction.standing_secret == bob.introduction.standing_secret != b""
    await alice.introduction.part()
    assert shared.sides[0].burnt is BurnReason.DONE
    assert shared.sides[0].is_closed


async def test_a_wrong_code_is_told_on_both_sides_and_burns_the_room() -> None:
    shared = SharedRoom()
    for person in await meet(shared, other_secret):
        assert isinstance(person.result, WrongCode)
    assert [side.burnt for side in shared.sides] == [BurnReason.WRONG_CODE] * 2


async def test_words_that_are_confirmed_let_it_go_on() -> None:
    alice, bob = await meet(SharedRoom(), answers=b"perhaps\nYES\n")
    assert isinstance(alice.result, Introduced)
    assert [len(event.words) for event in alice.told if isinstance(event, VerifyEvent)] == [6]
    assert alice.notes()[-1] == "That is neither yes nor no."
    assert not [event for event in bob.told if isinstance(event, VerifyEvent)], "bob's person wasn't asked"


@pytest.mark.parametrize("answers", [b"no\n", b"\n"])
async def test_words_that_are_not_confirmed_end_it(answers: bytes) -> None:
    shared = SharedRoom()
    alice, _ = await meet(shared, answers=answers)
    assert isinstance(alice.result, WrongCode)
    assert "weren't confirmed" in str(alice.result)
    assert shared.sides[0].burnt is BurnReason.WRONG_CODE


async def test_who_ends_it_while_words_are_compared_leaves_the_room() -> None:
    shared = SharedRoom()
    alice = Person(Side.SHARE, PreparedRooms(shared.sides[0]), None, verifies=True, hesitates=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        bob = Person(Side.JOIN, PreparedRooms(shared.sides[1]), alice.codes()[0])
        await bob.run(nursery)
        with trio.fail_after(5):
            while not any(isinstance(event, VerifyEvent) for event in alice.told):
                await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert alice.result is None
    assert shared.sides[0].burnt is BurnReason.LEFT


@pytest.mark.parametrize("has_opening", [True, False])
async def test_who_comes_and_keeps_silent_has_had_his_guess(
    has_opening: bool, autojump_clock: trio.testing.MockClock
) -> None:
    shared = SharedRoom()
    alice = Person(Side.SHARE, PreparedRooms(shared.sides[0]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        opening = CodeConversation(Kind.ANSWER, Code(42, 1), os.urandom).next_message()
        assert opening is not None
        shared.sides[0].deliver(Notice.JOINED)
        if has_opening:
            shared.sides[0].deliver(opening)
        with trio.fail_after(2 * CONFIRMATION_PATIENCE):
            await alice.done.wait()
        assert trio.current_time() - began == pytest.approx(CONFIRMATION_PATIENCE, abs=1)
        nursery.cancel_scope.cancel()
    assert isinstance(alice.result, RendezvousError)
    assert "didn't show" in str(alice.result)
    assert shared.sides[0].burnt is BurnReason.SILENT
    assert any(isinstance(event, MeetingEvent) for event in alice.told)


async def test_who_joins_waits_only_so_long_for_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    shared = SharedRoom()
    bob = Person(Side.JOIN, PreparedRooms(shared.sides[1]), Code(42, 1))
    async with trio.open_nursery() as nursery:
        await bob.run(nursery)
        nursery.cancel_scope.cancel()
    assert trio.current_time() == pytest.approx(CONFIRMATION_PATIENCE, abs=1)
    assert isinstance(bob.result, NotMet)
    assert "doesn't answer" in str(bob.result)
    assert shared.sides[1].burnt is BurnReason.SILENT


async def test_a_room_that_was_forgotten_is_replaced_and_so_is_its_code() -> None:
    first, second = SharedRoom(), SharedRoom()
    alice = Person(Side.SHARE, PreparedRooms(first.sides[0], second.sides[0]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        first.sides[0].deliver(RoomUnknown("There is no such room."))
        await trio.testing.wait_all_tasks_blocked()
        assert len(alice.codes()) == 2
        assert "forgotten" in alice.notes()[-1]
        bob = Person(Side.JOIN, PreparedRooms(second.sides[1]), alice.codes()[1])
        await bob.run(nursery)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert isinstance(alice.result, Introduced)


async def test_a_third_party_is_told_to_the_person() -> None:
    shared = SharedRoom()
    alice = Person(Side.SHARE, PreparedRooms(shared.sides[0]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        shared.sides[0].deliver(Notice.CROWDED)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert "Somebody else tried to join" in alice.notes()[-1]
    assert shared.sides[0].burnt is BurnReason.LEFT, "who is interrupted leaves"


@pytest.mark.parametrize(
    ("reason", "kind", "words"),
    [
        (BurnReason.WRONG_CODE, WrongCode, "wrong code"),
        (BurnReason.DONE, NotMet, "has been used"),
        (BurnReason.LEFT, NotMet, "given up"),
        (BurnReason.SILENT, NotMet, "given up"),
        (None, RoomGone, "It is gone."),
    ],
)
async def test_why_a_room_is_gone_is_told(reason: BurnReason | None, kind: type[Exception], words: str) -> None:
    shared = SharedRoom()
    alice = Person(Side.SHARE, PreparedRooms(shared.sides[0]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        shared.sides[0].deliver(RoomGone("It is gone.", "Share again.", reason.value if reason else "?"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert type(alice.result) is kind
    assert words in str(alice.result)


async def test_nonsense_in_sealed_letters_is_as_good_as_silence(autojump_clock: trio.testing.MockClock) -> None:
    shared = SharedRoom()
    alice = Person(Side.SHARE, PreparedRooms(shared.sides[0]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        conversation = CodeConversation(Kind.ANSWER, alice.codes()[0], os.urandom)
        for message in shared.sides[0].sent:
            conversation.receive_message(message)
        conversation.say(b"\x01nonsense")
        while (spoken := conversation.next_message()) is not None:
            shared.sides[0].deliver(spoken)
        await alice.done.wait()
        nursery.cancel_scope.cancel()
    assert isinstance(alice.result, RendezvousError)
    assert shared.sides[0].burnt is BurnReason.SILENT
