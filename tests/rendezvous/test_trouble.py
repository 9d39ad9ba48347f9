from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest
import trio
import trio.testing

from p2ptun.errors import RendezvousError, RoomUnknown
from p2ptun.rendezvous.trouble import FIRST_CONTACT_TIMEOUT, PATIENCE, Persistence, Trouble, TroubleKind
from tests.rendezvous.place import Surroundings


def trouble(kind: TroubleKind = TroubleKind.PASSING, *, is_unsure: bool = False, wait: float | None = None) -> Trouble:
    return Trouble("It is away.", "Wait.", kind, is_unsure=is_unsure, retry_after=wait)


class Attempts:
    """Attempts that end as a test says, at the times that it looks at afterwards; when none is left they work."""

    def __init__(self, *outcomes: Exception) -> None:
        self._outcomes = list(outcomes)
        self.times: list[float] = []

    async def __call__(self) -> str:
        await trio.lowlevel.checkpoint()
        self.times.append(trio.current_time())
        if self._outcomes:
            raise self._outcomes.pop(0)
        return "done"


def run(main: Callable[[Persistence], Awaitable[None]]) -> list[str]:
    """Run on a clock that jumps; return what a person was told."""

    async def start() -> None:
        await main(Persistence(surroundings.context, Random(1)))

    surroundings = Surroundings()
    trio.run(start, clock=trio.testing.MockClock(autojump_threshold=0))
    return surroundings.told


def test_what_works_is_done_once() -> None:
    async def main(persistence: Persistence) -> None:
        attempts = Attempts()
        assert await persistence.for_ever(attempts) == await persistence.at_first(attempts) == "done"
        assert attempts.times == [0, 0]

    assert run(main) == []


def test_a_person_is_told_when_patience_ends_and_not_before() -> None:
    async def main(_: Persistence) -> None:
        told: list[tuple[str, str, float]] = []
        context = replace(
            Surroundings().context, warn=lambda message, remedy: told.append((message, remedy, trio.current_time()))
        )
        await Persistence(context, Random(1)).for_ever(Attempts(*[trouble() for _ in range(6)]))
        assert told == [("It is away.", "Wait.", PATIENCE)]

    run(main)


def test_it_is_told_when_it_is_over() -> None:
    async def main(persistence: Persistence) -> None:
        for _ in range(2):
            await persistence.for_ever(Attempts(*[trouble() for _ in range(6)]))

    assert run(main) == ["It is away.", "recovered"] * 2


def test_two_at_once_tell_once() -> None:
    async def main(persistence: Persistence) -> None:
        async with trio.open_nursery() as nursery:
            for count in (7, 9):
                nursery.start_soon(persistence.for_ever, Attempts(*[trouble() for _ in range(count)]))

    told = run(main)
    assert told[:2] == ["It is away.", "recovered"]


def test_a_connection_that_broke_is_replaced_at_once_and_once() -> None:
    async def main(persistence: Persistence) -> None:
        attempts = Attempts(*[trouble(is_unsure=True) for _ in range(3)])
        await persistence.for_ever(attempts)
        assert attempts.times[:2] == [0, 0]
        assert attempts.times[2] >= 0.5
        assert attempts.times[3] > attempts.times[2]

    run(main)


def test_a_refusal_is_an_answer() -> None:
    async def main(persistence: Persistence) -> None:
        with pytest.raises(RoomUnknown):
            await persistence.for_ever(Attempts(*[trouble() for _ in range(6)], RoomUnknown("There is none.")))

    assert run(main) == ["It is away.", "recovered"]


def test_what_is_foreign_is_told_until_there_was_a_rendezvous() -> None:
    async def main(persistence: Persistence) -> None:
        with pytest.raises(Trouble):
            await persistence.for_ever(Attempts(trouble(TroubleKind.FOREIGN)))
        await persistence.for_ever(Attempts())
        await persistence.for_ever(Attempts(trouble(TroubleKind.FOREIGN), trouble(TroubleKind.LASTING)))

    assert run(main) == []


@pytest.mark.parametrize("kind", [TroubleKind.LASTING, TroubleKind.FOREIGN])
def test_a_person_need_not_wait_for_what_will_not_pass(kind: TroubleKind) -> None:
    async def main(persistence: Persistence) -> None:
        with pytest.raises(RendezvousError, match="It is away"):
            await persistence.at_first(Attempts(trouble(), trouble(kind)))
        assert 0.5 <= trio.current_time() <= 1

    assert run(main) == []


def test_a_person_waits_a_few_seconds_for_what_may_pass() -> None:
    async def main(persistence: Persistence) -> None:
        assert await persistence.at_first(Attempts(trouble(), trouble(wait=3.0))) == "done"
        began_at = trio.current_time()
        with pytest.raises(Trouble):
            await persistence.at_first(Attempts(*[trouble() for _ in range(100)]))
        assert 3 <= trio.current_time() - began_at <= FIRST_CONTACT_TIMEOUT

    run(main)


def test_what_never_answers_is_told_after_ten_seconds() -> None:
    async def main(persistence: Persistence) -> None:
        with pytest.raises(RendezvousError, match="didn't answer"):
            await persistence.at_first(trio.sleep_forever)
        assert trio.current_time() == FIRST_CONTACT_TIMEOUT

    run(main)
