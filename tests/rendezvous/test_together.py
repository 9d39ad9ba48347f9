from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from p2ptun.errors import RendezvousError
from p2ptun.rendezvous.together import beside, first_of


def after(delay: float, outcome: str | RendezvousError, log: list[str] | None = None) -> Callable[[], Awaitable[str]]:
    async def act() -> str:
        try:
            await trio.sleep(delay)
        except trio.Cancelled:
            if log is not None:
                log.append(f"{outcome} cancelled")
            raise
        if log is not None:
            log.append(str(outcome))
        if isinstance(outcome, RendezvousError):
            raise outcome
        return outcome

    return act


def run(main: Callable[[], Awaitable[object]]) -> object:
    async def start() -> object:
        return await main()

    return trio.run(start, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_first_one_counts_and_the_others_are_cancelled() -> None:
    log: list[str] = []
    found = run(lambda: first_of([after(3, "slow", log), after(1, "quick", log), after(2, "later", log)]))
    assert found == "quick"
    assert sorted(log) == ["later cancelled", "quick", "slow cancelled"]


def test_who_fails_leaves_it_to_the_others() -> None:
    assert run(lambda: first_of([after(1, RendezvousError("No.")), after(2, "second")])) == "second"


def test_when_all_fail_the_first_ones_reason_is_told() -> None:
    with pytest.raises(RendezvousError, match="First"):
        run(lambda: first_of([after(2, RendezvousError("First.")), after(1, RendezvousError("Second."))]))


@pytest.mark.parametrize(("grace", "end"), [(0.0, "companion cancelled"), (5.0, "companion")])
def test_a_companion_has_a_little_more_time(grace: float, end: str) -> None:
    log: list[str] = []

    async def companion() -> None:
        await after(3, "companion", log)()

    assert run(lambda: beside(companion, after(1, "main", log), lambda: grace)) == "main"
    assert log == ["main", end]


def test_a_companion_has_none_when_the_main_one_fails() -> None:
    log: list[str] = []

    async def companion() -> None:
        await after(3, "companion", log)()

    with pytest.raises(RendezvousError, match="No"):
        run(lambda: beside(companion, after(1, RendezvousError("No.")), lambda: 100.0))
    assert log == ["companion cancelled"]
