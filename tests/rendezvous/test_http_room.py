from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from p2ptun.errors import RendezvousError, RoomGone, RoomUnknown
from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.rendezvous.http_room import POLL_TIMEOUT, WAIT, HttpRoom
from tests.rendezvous.place import EMPTY, StandIn, answer, mail, problem, response
from tests.rendezvous.scripted import LATE, NEVER, POSTED, SEATED, Running

RoomMain = Callable[[HttpRoom, StandIn], Awaitable[None]]


def entry(sequence: int, text: str = "aGVsbG8=") -> dict[str, object]:
    return {"sequence": sequence, "body": text}


def in_room(main: RoomMain, *answers: bytes | None) -> tuple[list[str], list[str]]:
    """Open a room and do something in it; return what was asked for then, and what a person was told."""

    async def enter(rendezvous: HttpRendezvous, server: StandIn) -> None:
        await main(await rendezvous.open_room(), server)

    running = Running(SEATED, *answers)
    return running.run(enter)[1:], running.surroundings.told


def poll(after: int) -> str:
    return f"GET /v1/rooms/42/messages?after={after}&wait={WAIT}"


def test_what_was_delivered_is_not_delivered_again() -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        assert [await room.receive() for _ in range(4)] == [b"1", b"2", b"3", b"5"]

    first = mail(entry(1, "MQ=="), entry(2, "Mg=="))
    again = mail(entry(1, "MQ=="), entry(3, "Mw=="), entry(2, "Mg=="), entry(3, "Mw=="))
    last = mail(entry(3, "Mw=="), entry(5, "NQ=="), entry(4, "NA=="))
    asked, _ = in_room(main, first, again, last)
    assert asked == [poll(0), poll(2), poll(3)]


def test_a_server_with_nothing_to_say_that_says_so_without_end_is_asked_rarely() -> None:
    async def main(room: HttpRoom, server: StandIn) -> None:
        with trio.move_on_after(300):
            await room.receive()
        assert len(server.requests) < 30

    asked, told = in_room(main, EMPTY)
    assert set(asked) == {poll(0)}
    assert told == []


@pytest.mark.parametrize("answers", [(mail(entry(7)), mail(entry(7))), (mail(entry(7)), mail(entry(6), entry(2)))])
def test_so_is_one_that_repeats_itself(answers: tuple[bytes, ...]) -> None:
    async def main(room: HttpRoom, server: StandIn) -> None:
        assert await room.receive() == b"hello"
        with trio.move_on_after(300):
            await room.receive()
        assert len(server.requests) < 30

    in_room(main, *answers)


def test_a_poll_that_nobody_answers_is_asked_again() -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        began_at = trio.current_time()
        assert await room.receive() == b"hello"
        assert POLL_TIMEOUT <= trio.current_time() - began_at <= POLL_TIMEOUT + 1

    assert in_room(main, NEVER, mail(entry(1))) == ([poll(0), poll(0)], [])


@pytest.mark.parametrize(
    "broken",
    [
        None,
        b"",
        response(502),
        response(504),
        b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_may_have_arrived_is_sent_once_more(broken: bytes | None) -> None:
    async def main(room: HttpRoom, server: StandIn) -> None:
        await room.send(b"said")
        assert trio.current_time() < 0.1  # a broken connection is no reason to wait
        assert [each.body for each in server.requests if each.path.endswith("messages")] == [b"said", b"said"]

    assert in_room(main, broken, POSTED) == (["POST /v1/rooms/42/messages"] * 2, [])


def test_messages_keep_their_order_whatever_happens() -> None:
    async def main(room: HttpRoom, server: StandIn) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(room.send, b"%d" % number)
                await trio.testing.wait_all_tasks_blocked(0.001)
        bodies = [each.body for each in server.requests if each.path.endswith("messages")]
        assert list(dict.fromkeys(bodies)) == [b"0", b"1", b"2"]
        assert len(bodies) == 4 + 2 + 1

    in_room(main, None, response(503), response(503), POSTED, None, POSTED)


def test_an_outage_is_told_once_and_its_end() -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        received: list[bytes | Notice] = []

        async def receive() -> None:
            received.append(await room.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await room.send(b"said")
        assert received == [b"hello"]
        assert trio.current_time() > 40

    both = answer(200, {"sequence": 1, "messages": [entry(1)]})
    answers = [response(503, Retry_After="20")] * 6
    _, told = in_room(main, *answers, both)
    assert len(told) == 2
    assert told[0].endswith("can't answer just now (status 503).")
    assert told[1] == "recovered"


def test_a_short_outage_is_not_worth_a_word() -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        await room.send(b"said")

    _, told = in_room(main, response(503), response(503), POSTED)
    assert told == []


@pytest.mark.parametrize(
    "page", [response(200, b"<html>", "text/html"), response(302, location="https://h.example/"), response(404)]
)
def test_a_login_page_on_the_way_passes_when_there_was_a_rendezvous(page: bytes) -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        assert await room.receive() == b"hello"

    _, told = in_room(main, *[page] * 6, mail(entry(1)))
    assert "not as a rendezvous" in told[0]
    assert told[1:] == ["recovered"]


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (problem(404, "room-unknown"), RoomUnknown),
        (problem(401, "unauthorized"), RoomUnknown),
        (problem(410, "room-burnt", reason="silent"), RoomGone),
        (problem(413, "body-too-large"), RendezvousError),
        (problem(418, "teapot"), RendezvousError),
    ],
)
def test_a_refusal_ends_every_method(refusal: bytes, kind: type[RendezvousError]) -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        with pytest.raises(kind):
            await room.receive()
        with pytest.raises(kind):
            await room.send(b"said")
        with pytest.raises(kind):
            await room.renew_ice()

    asked, told = in_room(main, refusal)
    assert len(asked) == 3
    assert told == []


@pytest.mark.parametrize(
    "end", [response(204), problem(410, "room-burnt", reason="left"), problem(404, "room-unknown"), problem(401, "x")]
)
def test_a_room_that_is_gone_is_burnt_enough(end: bytes) -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        await room.burn(BurnReason.WRONG_CODE)

    assert in_room(main, None, end)[0] == ["DELETE /v1/rooms/42?reason=wrong-code"] * 2


def test_burning_does_not_keep_a_person_for_ever() -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        with pytest.raises(RendezvousError, match="503"):
            await room.burn(BurnReason.LEFT)
        assert trio.current_time() <= 11

    in_room(main, response(503))


def test_who_is_cancelled_while_polling_leaves_a_client_that_works() -> None:
    async def main(room: HttpRoom, _: StandIn) -> None:
        for _attempt in range(20):
            with trio.move_on_after(0.5):
                await room.receive()
        await room.send(b"said")

    asked, _ = in_room(main, *[NEVER] * 20, POSTED)
    assert asked == [poll(0)] * 20 + ["POST /v1/rooms/42/messages"]


def test_the_second_connection_is_kept_warm_while_nothing_comes() -> None:
    async def main(room: HttpRoom, server: StandIn) -> None:
        before = len(server.requests)
        with trio.move_on_after(4 * WAIT + 5):
            await room.receive()
        connections = {each.connection for each in server.requests}
        health = [each for each in server.requests[before:] if each.path == "/healthz"]
        assert connections == {1, 2}
        assert len(health) == 4

    in_room(main, LATE)
