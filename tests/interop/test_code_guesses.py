"""A thousand guesses at one code, over real HTTP: one is tried, whatever the guesser does."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import cycle
from typing import Any

import pytest
import trio

from p2ptun.daemon.encounter import Encounter
from p2ptun.errors import RoomGone
from p2ptun.rendezvous.base import BurnReason, Context, Notice
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.rendezvous.line import LineReader
from p2ptun.signal.code import Code, draw_code
from p2ptun.signal.conversation import ConversationEvent, Met, Refused
from p2ptun.signal.description import Kind
from p2ptun.signal.pairing import CodeConversation
from tests.server.serving import ADDRESS, HttpServing

GUESSES = 1000
CREATED, CONFLICT, GONE = 201, 409, 410
PATIENCE = 20.0


@dataclass(slots=True)
class Sharer:
    """Who shares: a room, a code, and all that comes of it. It burns the room at a wrong code, as the daemon does."""

    url: str
    told: list[ConversationEvent | Notice] = field(default_factory=list)
    code: Code = field(default_factory=lambda: Code(0, 0))

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        refused = trio.Event()

        def listen(event: ConversationEvent | Notice) -> None:
            self.told.append(event)
            if isinstance(event, Refused):
                refused.set()

        rendezvous = HttpRendezvous(self.url, Context(print, LineReader(0)))
        room = await rendezvous.open_room()
        self.code = draw_code(int(room.number or 0), os.urandom)
        encounter = Encounter(CodeConversation(Kind.OFFER, self.code, os.urandom), listen)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(encounter.run, room)
            task_status.started()
            await refused.wait()
            nursery.cancel_scope.cancel()
        await room.burn(BurnReason.WRONG_CODE)
        await rendezvous.aclose()


class Guesser:
    """Who has the number and none of the words, on one connection. Every guess is an opening of his own."""

    def __init__(self, port: int, code: Code) -> None:
        self.answers: Counter[int] = Counter()
        self.problems: set[str] = set()
        self._room = f"/v1/rooms/{code.room}"
        self._connection = HTTPConnection(ADDRESS, port, timeout=PATIENCE)
        self._tries = [
            CodeConversation(Kind.ANSWER, Code(code.room, code.secret ^ bits), os.urandom) for bits in range(1, 5)
        ]
        self._openings = cycle([each.next_message() or b"" for each in self._tries])

    def guess(self, opening: bytes | None = None) -> dict[str, Any]:
        """Try to become a side of the room."""
        status, answer = self._call("POST", f"{self._room}/sides", opening or next(self._openings))
        self.answers[status] += 1
        if status != CREATED:
            self.problems.add(f"{answer['type']} {answer.get('reason', '')}")
        return answer

    def go_on(self, seat: dict[str, Any]) -> None:
        """Try the first guess: confirm it to the sharer, and don't look at what he says of it."""
        conversation, token, opening = self._tries[0], seat["side_token"], None
        while opening is None:
            entries = self._call("GET", f"{self._room}/messages?after=0&wait=5", token=token)[1]["messages"]
            opening = next((each["body"] for each in entries if "body" in each), None)
        conversation.receive_message(base64.b64decode(opening))
        while (message := conversation.next_message()) is not None:
            assert self._call("POST", f"{self._room}/messages", message, token)[0] == CREATED

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _call(self, method: str, path: str, body: bytes = b"", token: str = "") -> tuple[int, dict[str, Any]]:
        headers = {
            "Content-Type": "application/octet-stream",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def test_of_a_thousand_guesses_one_is_tried() -> None:
    """The first takes the seat, which nobody else gets; when it has failed, the room is burnt."""
    limits = ("--address-requests", "100000", "--address-entries", "100000")
    with HttpServing(*limits) as server:
        sharer, guesser = trio.run(guess_often, server)
    assert guesser.answers == {CREATED: 1, CONFLICT: GUESSES // 2 - 1, GONE: GUESSES // 2 + 1}
    assert guesser.problems == {"urn:p2ptun:problem:room-crowded ", "urn:p2ptun:problem:room-burnt wrong-code"}
    assert [type(event) for event in sharer.told if not isinstance(event, Notice)] == [Met, Refused]
    assert Counter(event for event in sharer.told if isinstance(event, Notice)) == {Notice.JOINED: 1, Notice.CROWDED: 1}


async def guess_often(server: HttpServing) -> tuple[Sharer, Guesser]:
    sharer = Sharer(server.url)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(sharer.run)
            guesser = Guesser(server.port, sharer.code)
            await trio.to_thread.run_sync(guess_first, guesser)
        right = CodeConversation(Kind.ANSWER, sharer.code, os.urandom).next_message() or b""
        with closing(guesser):
            await trio.to_thread.run_sync(lambda: [guesser.guess() for _ in range(GUESSES // 2)])
            guesser.guess(right)
        async with aclosing(HttpRendezvous(server.url, Context(print, LineReader(0)))) as late:
            with pytest.raises(RoomGone):
                await late.join_room(str(sharer.code.room), right)
    return sharer, guesser


def guess_first(guesser: Guesser) -> None:
    """Guess for as long as the room is there: the first guess is tried when others have been refused."""
    seat = guesser.guess()
    for _ in range(GUESSES // 2 - 1):
        guesser.guess()
    guesser.go_on(seat)
