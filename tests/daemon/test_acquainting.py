"""How far the other side has come, and what of it can be believed. The whole of it: test_pairing."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import trio
import trio.testing

from p2ptun.daemon.acquainting import Acquainting
from p2ptun.daemon.event import Event
from p2ptun.errors import RendezvousError, WrongCode
from p2ptun.rendezvous.base import BurnReason
from p2ptun.signal.acquaintance import Acquaintance, Stage, encode_acquaintance
from p2ptun.signal.conversation import Confirmed, Heard, Met, RefusalReason, Refused
from p2ptun.signal.description import Description, Kind
from tests.signal.sample import make_description

pytestmark = pytest.mark.trio


class Said(Acquainting):
    """One that keeps what it would say."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        super().__init__(Kind.OFFER, "laptop", self.describe, self.told.append)

    def describe(self, session_id: bytes) -> Description:
        return replace(make_description(), session_id=session_id)

    def say(self, stage: Stage) -> None:
        self.stage = stage


def letter(stage: Stage, kind: Kind = Kind.ANSWER) -> Heard:
    return Heard(encode_acquaintance(Acquaintance(stage, "nas", make_description(kind))))


async def test_a_stage_holds_for_all_before_it(autojump_clock: trio.testing.MockClock) -> None:
    said = Said()
    said._listen(Met(bytes(8)))
    said._listen(letter(Stage.PREPARED))
    assert (await said.reached(Stage.PROPOSED)).name == "nas"
    assert (await said.reached(Stage.PREPARED)).stage is Stage.PREPARED
    with trio.move_on_after(60) as patience:
        await said.reached(Stage.KEPT)
    assert patience.cancelled_caught


async def test_who_waits_is_woken_by_what_is_heard(autojump_clock: trio.testing.MockClock) -> None:
    said = Said()
    said._listen(Met(bytes(8)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(said.reached, Stage.KEPT)
        for stage in (Stage.PROPOSED, Stage.PREPARED, Stage.KEPT):
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            said._listen(letter(stage))


async def test_who_withdraws_has_come_nowhere() -> None:
    said = Said()
    said._listen(letter(Stage.WITHDRAWN))
    assert said.has_withdrawn
    with pytest.raises(RendezvousError, match="given up"):
        await said.reached(Stage.PROPOSED)


async def test_our_own_words_are_nobodys(autojump_clock: trio.testing.MockClock) -> None:
    said = Said()
    said._listen(letter(Stage.KEPT, Kind.OFFER))
    with trio.move_on_after(60) as patience:
        await said.reached(Stage.PROPOSED)
    assert patience.cancelled_caught


@pytest.mark.parametrize(
    ("reason", "kind"), [(RefusalReason.WRONG_CODE, WrongCode), (RefusalReason.MALFORMED, RendezvousError)]
)
async def test_a_refusal_is_everybodys_problem(reason: RefusalReason, kind: type[RendezvousError]) -> None:
    said = Said()
    said._listen(Met(bytes(8)))
    said._listen(Refused(reason))
    for waiting in (said.confirmed, lambda: said.reached(Stage.PROPOSED)):
        with pytest.raises(kind):
            await waiting()


async def test_who_confirms_is_confirmed() -> None:
    said, confirmed = Said(), Confirmed(standing_secret=os.urandom(32))
    said._listen(Met(bytes(8)))
    said._listen(confirmed)
    assert await said.confirmed() is confirmed


async def test_who_never_entered_leaves_nothing() -> None:
    await Said().leave(BurnReason.LEFT)
