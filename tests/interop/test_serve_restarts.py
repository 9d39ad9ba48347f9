"""`p2ptun serve` that ends and is started again: what becomes of rooms, polls, and messages under way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial

import pytest
import trio

from p2ptun.daemon.attendance import Attendance
from p2ptun.daemon.notice import Notices
from p2ptun.rendezvous.base import Notice, Rendezvous, Room
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard
from p2ptun.signal.description import Kind
from tests.interop.meeting import (
    MANY,
    PATIENCE,
    Company,
    RawClient,
    check_introduced,
    company,
    hasten,
    until,
    until_measured,
)
from tests.server.serving import HttpServing, Json

pytestmark = [
    pytest.mark.trio,
    # A connection that breaks while a body is sent leaves httpx's generator of it to the collector, which trio points
    # out. Nothing is lost with it.
    pytest.mark.filterwarnings("ignore:Async generator 'httpx._content:ResourceWarning"),
]

WAITING = "p2ptun_polls_waiting"
POLLS = 200
ROOMS = 8
UNDER_WAY = 3  # messages that come through in each room before the end, and after it


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)


class Again(HttpServing):
    """A server that is started, ended and started again, at the same place."""

    def start(self) -> None:
        self.events.clear()
        self.__enter__()

    def end(self, number: signal.Signals) -> None:
        """End it, in seconds and with exit code 0 unless it is killed."""
        if number is not signal.SIGKILL:
            self.stop(number)
        self.__exit__(None, None, None)

    async def restart(self, number: signal.Signals) -> None:
        """End it and start it, while the world goes on."""
        await trio.to_thread.run_sync(self.end, number)
        await trio.to_thread.run_sync(self.start)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Again]:
    """A server with a file; the last test ends it."""
    with Again("--store", f"sqlite:{tmp_path_factory.mktemp('store') / 'rooms.db'}", *MANY) as server:
        yield server


class Correspondence:
    """A room in which one side writes without end and the other reads."""

    def __init__(self) -> None:
        self.read: list[object] = []
        self.written = 0
        self.is_over = False

    async def run(
        self,
        sharing: Rendezvous,
        joining: Rendezvous,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        opened = await sharing.open_room()
        assert opened.number is not None
        joined = await joining.join_room(opened.number, b"opening")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, joined)
            task_status.started()
            while b"last" not in self.read:
                self.read.append(await opened.receive())

    async def _write(self, room: Room) -> None:
        while not self.is_over:
            self.written += 1
            await room.send(b"%d" % self.written)
        await room.send(b"last")

    def check(self, most_repeats: int) -> None:
        """Check that all came in order, and no more of it twice than may be."""
        sent = [Notice.JOINED, b"opening", *(b"%d" % each for each in range(1, self.written + 1)), b"last"]
        assert list(dict.fromkeys(self.read)) == sent
        assert len(self.read) - len(sent) <= most_repeats


@pytest.mark.parametrize(("number", "most_repeats"), [(signal.SIGTERM, 0), (signal.SIGKILL, 1)])
async def test_with_a_file_no_room_is_lost(server: Again, number: signal.Signals, most_repeats: int) -> None:
    """A message whose answer was lost with the server is sent once more: conversations drop the second.

    A server that takes its leave has answered what it took. Who waits for somebody to join sees nothing of all that.
    """
    letters = [Correspondence() for _ in range(ROOMS)]
    async with company() as here, trio.open_nursery() as nursery:
        alice = await here.share(server)
        sharing, joining = here.at(server), here.at(server)
        for each in letters:
            await nursery.start(each.run, sharing, joining)
        await until(lambda: all(len(each.read) > UNDER_WAY for each in letters))
        await server.restart(number)
        seen = [len(each.read) for each in letters]
        await until(lambda: all(len(each.read) > was + UNDER_WAY for each, was in zip(letters, seen, strict=True)))
        for each in letters:
            each.is_over = True
        bob = await here.join(server, alice.codes()[0])
        await alice.done.wait()
        check_introduced(alice, bob)
        assert alice.notes() == []
    for each in letters:
        each.check(most_repeats)


async def test_waiting_polls_are_told_to_come_back(server: Again) -> None:
    """They would wait for 25 seconds, and nobody ends a server that takes so long but by force."""
    answers: list[tuple[int, Json]] = []

    async def poll(client: RawClient, seat: Json) -> None:
        path = f"/v1/rooms/{seat['room']}/messages?after=0&wait=25"
        answers.append(await client.ask("GET", path, token=seat["side_token"]))
        await client.aclose()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(POLLS):
                client = await RawClient.connect(server)
                _, seat = await client.ask("POST", "/v1/rooms")
                nursery.start_soon(poll, client, seat)
            await until_measured(server, WAITING, POLLS)
            await trio.to_thread.run_sync(server.end, signal.SIGTERM)
    assert answers == [(200, {"messages": []})] * POLLS


class Attendant:
    """A machine that stays in a named room, and what it hears there."""

    def __init__(self, here: Company, server: HttpServing, kind: Kind) -> None:
        self.heard: list[bytes] = []
        self.is_confirmed = False
        self.told: list[object] = []
        notices = Notices(self.told.append)
        self.attendance = Attendance(
            lambda: here.at(server), bytes(32), kind, notices, self._listen, lambda servers: None
        )

    def has_heard(self, said: bytes) -> bool:
        return said in self.heard

    def _listen(self, event: ConversationEvent | Notice) -> None:
        if isinstance(event, Heard):
            self.heard.append(event.said)
        self.is_confirmed = self.is_confirmed or isinstance(event, Confirmed)


async def test_with_memory_a_new_code_works_and_a_named_room_is_entered_anew() -> None:
    with Again("--store", "memory", *MANY) as server:
        async with company() as here:
            alice = await here.share(server)
            machines = [Attendant(here, server, kind) for kind in Kind]
            for each in machines:
                here.nursery.start_soon(each.attendance.run)
            await until(lambda: all(each.is_confirmed for each in machines))
            await until_measured(server, WAITING, 3)
            await server.restart(signal.SIGTERM)
            await until(lambda: len(alice.codes()) == 2)
            assert "has forgotten" in alice.notes()[-1]
            bob = await here.join(server, alice.codes()[1])
            await alice.done.wait()
            check_introduced(alice, bob)
            for each, other in (machines, machines[::-1]):
                each.attendance.say(b"after")
                await until(partial(other.has_heard, b"after"))
            assert [each.told for each in machines] == [[], []]
