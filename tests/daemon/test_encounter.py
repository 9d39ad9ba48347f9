"""An encounter carries what a conversation says into a room, and what the room brings into the conversation."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from p2ptun.daemon.encounter import Encounter
from p2ptun.errors import RoomGone
from p2ptun.rendezvous.base import Notice
from p2ptun.signal.code import Code
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard, Met, RefusalReason, Refused
from p2ptun.signal.description import Kind
from p2ptun.signal.pairing import CodeConversation
from tests.daemon.room import SharedRoom
from tests.daemon.seeded import seeded

pytestmark = pytest.mark.trio

CODE, OTHER = Code(42, 12345), Code(42, 54321)


class Side:
    """One side, which says a word as soon as there is somebody."""

    def __init__(self, kind: Kind, code: Code = CODE) -> None:
        self.events: list[ConversationEvent | Notice] = []
        self._word = kind.value.encode()
        self.encounter = Encounter(CodeConversation(kind, code, seeded(kind.value)), self._listen)

    def _listen(self, event: ConversationEvent | Notice) -> None:
        self.events.append(event)
        if isinstance(event, Met):
            self.encounter.say(self._word)

    def kinds(self) -> list[object]:
        return [each if isinstance(each, Notice) else type(each) for each in self.events]


async def test_two_sides_hear_each_other_with_two_messages_each() -> None:
    rooms, alice, bob = SharedRoom(), Side(Kind.OFFER), Side(Kind.ANSWER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.encounter.run, rooms.sides[0])
        await trio.testing.wait_all_tasks_blocked()
        await rooms.sides[1].send(bob.encounter.opening())
        nursery.start_soon(bob.encounter.run, rooms.sides[1])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert alice.kinds() == bob.kinds() == [Met, Confirmed, Heard]
    assert alice.events[2] == Heard(b"answer")
    assert bob.events[2] == Heard(b"offer")
    assert [len(side.sent) for side in rooms.sides] == [2, 2], "what is said at once leaves with the confirmation"


async def test_another_code_is_refused_on_both_sides() -> None:
    rooms, alice, bob = SharedRoom(), Side(Kind.OFFER), Side(Kind.ANSWER, OTHER)
    async with trio.open_nursery() as nursery:
        for side, room in ((alice, rooms.sides[0]), (bob, rooms.sides[1])):
            nursery.start_soon(side.encounter.run, room)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for side in (alice, bob):
        assert side.kinds() == [Met, Refused]
        assert side.events[1] == Refused(RefusalReason.WRONG_CODE)


async def test_notices_are_handed_on() -> None:
    rooms, alice = SharedRoom(), Side(Kind.OFFER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.encounter.run, rooms.sides[0])
        rooms.sides[0].deliver(Notice.CROWDED)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert alice.kinds() == [Notice.CROWDED]


async def test_a_burnt_room_ends_it() -> None:
    rooms, alice = SharedRoom(), Side(Kind.OFFER)
    rooms.sides[0].deliver(RoomGone("It is gone.", reason="left"))
    with pytest.raises(RoomGone, match="gone"):
        await alice.encounter.run(rooms.sides[0])
