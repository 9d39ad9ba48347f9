"""What stands between us and a server, told as it is, and put up with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from random import Random
from typing import Final, TypeVar

import trio

from p2ptun.errors import NotMet, RendezvousError
from p2ptun.rendezvous.backoff import Backoff
from p2ptun.rendezvous.base import Context

FIRST_CONTACT_TIMEOUT: Final = 10.0  # seconds that a person at a command waits for a server
PATIENCE: Final = 5.0  # seconds without the server before a person is told

T = TypeVar("T")


class TroubleKind(Enum):
    """What to expect of it."""

    PASSING = "passing"  # the next attempt may work
    LASTING = "lasting"  # a name that doesn't exist, a certificate that isn't trusted: somebody has to mend it
    FOREIGN = "foreign"  # something answers that isn't a rendezvous of p2ptun's


class Trouble(NotMet):
    """One attempt that failed, and might work another time.

    Attributes:
        kind: What to expect.
        is_unsure: The request may have arrived all the same.
        retry_after: Seconds that the server asked to wait.
    """

    def __init__(
        self,
        message: str,
        remedy: str,
        kind: TroubleKind = TroubleKind.PASSING,
        *,
        is_unsure: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, remedy)
        self.kind = kind
        self.is_unsure = is_unsure
        self.retry_after = retry_after


class Persistence:
    """Tries until it works, and tells a person, once, when that takes long; and once more when it works again."""

    def __init__(self, context: Context, random: Random) -> None:
        self._context = context
        self._random = random
        self._is_known = False
        self._began_at: float | None = None
        self._is_told = False

    def backoff(self) -> Backoff:
        """Make new waits."""
        return Backoff(self._random)

    async def at_first(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try for a few seconds, as somebody waits for it.

        Raises:
            RendezvousError: What the server says, or why there is none.
        """
        backoff = self.backoff()
        trouble = Trouble("The rendezvous didn't answer.", "Check the URL, and whether the network lets it through.")
        with trio.move_on_after(FIRST_CONTACT_TIMEOUT) as scope:
            while True:
                try:
                    return await self._attempt(attempt)
                except Trouble as error:
                    trouble = error
                delay = backoff.next_delay(trouble.retry_after)
                if trouble.kind is not TroubleKind.PASSING or trio.current_time() + delay >= scope.deadline:
                    break
                await trio.sleep(delay)
        raise trouble

    async def for_ever(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, or the server refuses.

        A connection that broke is replaced at once: servers and what stands before them close those that were idle.
        What isn't a rendezvous is trouble like any other once there was one at this place: the login page of a
        hotel, the page of a proxy whose server is down.

        Raises:
            RendezvousError: What the server says; or that it isn't a rendezvous, if it never was.
        """
        backoff = self.backoff()
        is_fresh = True
        while True:
            try:
                return await self._attempt(attempt)
            except Trouble as trouble:
                if trouble.kind is TroubleKind.FOREIGN and not self._is_known:
                    raise
                if is_fresh and trouble.is_unsure:
                    await trio.lowlevel.checkpoint()
                else:
                    await self._endure(trouble, backoff.next_delay(trouble.retry_after))
                is_fresh = False

    async def _attempt(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await attempt()
        except Trouble:
            if self._began_at is None:
                self._began_at = trio.current_time()
            raise
        except RendezvousError:
            self._end()  # a refusal is an answer
            raise
        self._end()
        return result

    def _end(self) -> None:
        self._is_known = True
        self._began_at = None
        if self._is_told:
            self._is_told = False
            self._context.recover()

    async def _endure(self, trouble: Trouble, delay: float) -> None:
        """Wait, and tell in the middle of it if that is when patience ends."""
        until = trio.current_time() + delay
        if self._began_at is not None and not self._is_told and self._began_at + PATIENCE <= until:
            await trio.sleep_until(self._began_at + PATIENCE)
            self._tell(trouble)
        await trio.sleep_until(until)

    def _tell(self, trouble: Trouble) -> None:
        """Tell, unless it has ended or somebody has told meanwhile."""
        if self._began_at is not None and not self._is_told:
            self._is_told = True
            self._context.warn(str(trouble), trouble.remedy)
