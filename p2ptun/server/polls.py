"""Polls that wait for something to happen in a room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from p2ptun.server.refusal import Kind, Limit, Refusal


class Poll:
    """One request for what is new. It waits from `Polls.admit` on."""

    __slots__ = ("_woken", "digest", "is_over", "is_waiting")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.is_waiting = False
        self.is_over = False
        self._woken = trio.Event()

    async def wait(self) -> None:
        """Return when something has happened since the poll began, or since the last time."""
        await self._woken.wait()
        self._woken = trio.Event()

    def wake(self) -> None:
        """Say that something has happened."""
        self._woken.set()

    def end(self) -> None:
        """Say that it has waited long enough."""
        self.is_over = True
        self._woken.set()


class Polls:
    """All polls of this process, by room: who wakes one looks at that room's only."""

    __slots__ = ("_by_room", "_is_closed", "_most", "_most_per_side", "waiting")

    def __init__(self, most: int, most_per_side: int) -> None:
        self.waiting = 0
        self._most = most
        self._most_per_side = most_per_side
        self._by_room: dict[str, list[Poll]] = {}
        self._is_closed = False

    @contextmanager
    def begin(self, room: str, digest: bytes) -> Iterator[Poll]:
        """Have a poll hear of what happens from now on, for as long as the context lasts."""
        poll = Poll(digest)
        here = self._by_room.setdefault(room, [])
        here.append(poll)
        try:
            yield poll
        finally:
            self.waiting -= poll.is_waiting
            here.remove(poll)
            if not here:
                del self._by_room[room]

    def admit(self, room: str, poll: Poll) -> None:
        """Let a poll wait; end the oldest of the same side when there are too many.

        Raises:
            Refusal: FULL, when too many wait in all.
        """
        if self._is_closed:
            poll.end()
            return
        beside = [
            each for each in self._by_room[room] if each.is_waiting and not each.is_over and each.digest == poll.digest
        ]
        if len(beside) >= self._most_per_side:
            beside[0].end()
        elif self.waiting >= self._most:
            raise Refusal(Kind.FULL, limit=Limit.POLLS)
        poll.is_waiting = True
        self.waiting += 1

    def wake(self, room: str, but: bytes = b"") -> None:
        """Wake the polls in a room, but for those of the side that made it happen."""
        for poll in self._by_room.get(room, ()):
            if poll.digest != but:
                poll.wake()

    def wake_all(self) -> None:
        """Wake every poll: what has happened is not known."""
        for here in self._by_room.values():
            for poll in here:
                poll.wake()

    def close(self) -> None:
        """End every poll, and those to come as soon as they would wait."""
        self._is_closed = True
        for here in self._by_room.values():
            for poll in here:
                poll.end()
