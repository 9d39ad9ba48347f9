"""Things that run at once, and of which one counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from p2ptun.errors import P2ptunError, RendezvousError

T = TypeVar("T")


async def beside(
    companion: Callable[[], Awaitable[None]], main: Callable[[], Awaitable[T]], grace: Callable[[], float] = float
) -> T:
    """Run two things at once, and return what the main one does; the companion then has `grace` seconds more.

    Raises:
        P2ptunError: What the main one raises, as it is, for a nursery would put it into a group.
    """
    outcome: T | P2ptunError
    async with trio.open_nursery() as nursery:
        nursery.start_soon(companion)
        try:
            outcome = await main()
            nursery.cancel_scope.deadline = trio.current_time() + grace()
        except P2ptunError as error:
            outcome = error
            nursery.cancel_scope.cancel()
    if isinstance(outcome, P2ptunError):
        raise outcome
    return outcome


async def first_of(actions: Sequence[Callable[[], Awaitable[T]]]) -> T:
    """Run all at once, return what the first one returns, and cancel the others.

    Raises:
        RendezvousError: All of them raised one; this is the first one's.
    """
    results: list[T] = []
    errors: dict[int, RendezvousError] = {}

    async def run(at: int, action: Callable[[], Awaitable[T]]) -> None:
        try:
            results.append(await action())
        except RendezvousError as error:
            errors[at] = error
        else:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for at, action in enumerate(actions):
            nursery.start_soon(run, at, action)
    if results:
        return results[0]
    raise errors[min(errors)]
