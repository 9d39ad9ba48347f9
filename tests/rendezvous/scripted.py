"""A client at a server that answers by script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

import trio
import trio.testing

from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.rendezvous.http_room import WAIT
from tests.rendezvous.place import EMPTY, HEALTHY, NAME, Request, StandIn, Surroundings, answer, seat, stand_in

NEVER, LATE = b"never", b"late"
"""Answers that don't come, and that come empty when the client has waited as long as it wanted to."""

JUMP = 0.02  # seconds of nothing to do until the clock goes on; what is sent on loopback is there by then
SEATED = answer(201, seat())
NAMED = answer(200, {**seat(NAME), "side_token": f"{NAME}.{'o' * 43}"})
POSTED = answer(201, {"sequence": 1})
Main = Callable[[HttpRendezvous, StandIn], Awaitable[None]]


class Script:
    """Answers in turn, the last one again and again; who asks how the server is hears that it is well."""

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = list(answers)

    async def __call__(self, request: Request) -> bytes | None:
        if request.path.endswith("healthz"):
            return HEALTHY
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if found == NEVER:
            await trio.sleep_forever()
        if found == LATE:
            await trio.sleep(WAIT)
            return EMPTY
        return found


class Running:
    """A client at a stand-in, on a clock that jumps over every wait. Time begins at 0."""

    def __init__(self, *answers: bytes | None) -> None:
        self.surroundings = Surroundings()
        self._reply: Callable[[Request], Awaitable[bytes | None]] = Script(*answers)

    def run(self, main: Main) -> list[str]:
        """Run a test; return what was asked for."""
        server: StandIn

        async def meet() -> None:
            nonlocal server
            async with stand_in(self._reply) as server:
                rendezvous = HttpRendezvous(server.url, self.surroundings.context, Random(1))
                await rendezvous._client.prepare()
                clock.autojump_threshold = JUMP
                try:
                    await main(rendezvous, server)
                finally:
                    await rendezvous.aclose()

        clock = trio.testing.MockClock()
        trio.run(meet, clock=clock)
        return server.asked
