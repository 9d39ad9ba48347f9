"""How many round trips things take, counted at a proxy between client and server while clocks stand still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trio
import trio.testing

from p2ptun.rendezvous.base import Notice
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.rendezvous.http_room import HttpRoom
from tests.rendezvous.place import NAME, Surroundings, listening, rendezvous_server


@dataclass
class Wire:
    """What crosses the proxy, in order: `1 open`, `1 > POST /v1/rooms`, `1 < 201`; the number is the connection's."""

    log: list[str] = field(default_factory=list)
    connections: int = 0
    loses: str = ""
    """The answer to the next request that has this in its first line is lost, and the connection with it."""

    def last(self, number: int) -> str:
        """Return what was asked for last on a connection."""
        return next((line for line in reversed(self.log) if line.startswith(f"{number} >")), "")

    def take(self) -> list[str]:
        """Return what crossed since the last time."""
        taken, self.log = self.log, []
        return taken


@asynccontextmanager
async def wired(upstream: str) -> AsyncIterator[tuple[Wire, str]]:
    """Stand before a server; yield what crosses and the URL to use."""
    wire, port = Wire(), urlsplit(upstream).port
    assert port is not None

    async def serve(client: trio.SocketStream) -> None:
        wire.connections += 1
        number = wire.connections
        wire.log.append(f"{number} open")
        async with client, await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:

            async def carry(source: trio.SocketStream, sink: trio.SocketStream, sign: str) -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async for data in source:
                        line = data.split(b"\r\n", 1)[0].decode(errors="replace")
                        if line.endswith("HTTP/1.1") or line.startswith("HTTP/1.1"):
                            wire.log.append(f"{number} {sign} " + line.replace("HTTP/1.1", "").strip())
                        if sign == "<" and wire.loses and wire.loses in wire.last(number):
                            wire.loses = ""
                            break
                        await sink.send_all(data)
                wire.log.append(f"{number} {sign} end")
                nursery.cancel_scope.cancel()

            nursery.start_soon(carry, client, server, ">")
            nursery.start_soon(carry, server, client, "<")

    async with listening(serve) as own_port:
        yield wire, f"http://127.0.0.1:{own_port}/"


def run(main: Callable[[Wire, HttpRendezvous, HttpRendezvous], Awaitable[None]]) -> None:
    """Run with a client whose wire is watched, and another one's that isn't; no time passes."""

    async def connect() -> None:
        async with rendezvous_server() as url, wired(url) as (wire, watched_url):
            watched = HttpRendezvous(watched_url, Surroundings().context)
            other = HttpRendezvous(url, Surroundings().context)
            try:
                await main(wire, watched, other)
            finally:
                await watched.aclose()
                await other.aclose()

    trio.run(connect, clock=trio.testing.MockClock())


def critical(log: list[str], about: str) -> list[str]:
    """Pick what crossed on the connection that a request went over, up to its answer."""
    request = next(line for line in log if about in line)
    own = [line for line in log if line.split()[0] == request.split()[0]]
    return own[: own.index(request) + 2]


async def message(room: HttpRoom) -> bytes:
    while isinstance(delivery := await room.receive(), Notice):
        pass
    return delivery


def test_joining_is_one_round_trip_with_all_that_the_other_side_left() -> None:
    async def main(wire: Wire, watched: HttpRendezvous, other: HttpRendezvous) -> None:
        opener = await other.open_room()
        await opener.send(b"opening")
        room = await watched.join_room(opener.number or "", b"hello")
        log = wire.take()
        assert critical(log, "/sides") == [
            "1 open",
            f"1 > POST /v1/rooms/{opener.number}/sides",
            "1 < 201",
        ] or critical(log, "/sides") == ["2 open", f"2 > POST /v1/rooms/{opener.number}/sides", "2 < 201"]
        assert sorted(line for line in log if "open" in line) == ["1 open", "2 open"]
        assert await room.receive() == b"opening"
        assert wire.take() == []

    run(main)


def test_nothing_after_joining_waits_for_a_handshake() -> None:
    async def main(wire: Wire, watched: HttpRendezvous, other: HttpRendezvous) -> None:
        opener = await other.open_room()
        room = await watched.join_room(opener.number or "", b"0")
        wire.take()
        assert await message(opener) == b"0"

        async def answer_all() -> None:
            for number in range(10):
                await opener.send(b"%d" % number)
                assert await message(opener) == b"re: %d" % number

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_all)
            for number in range(10):
                assert await message(room) == b"%d" % number
                async with trio.open_nursery() as sending:
                    sending.start_soon(room.send, b"re: %d" % number)
        log = wire.take()
        assert not [line for line in log if "open" in line or "end" in line]
        assert len([line for line in log if "> POST" in line]) == 10
        assert wire.connections == 2

    run(main)


def test_what_is_sent_while_a_poll_waits_takes_the_other_connection() -> None:
    async def main(wire: Wire, watched: HttpRendezvous, other: HttpRendezvous) -> None:
        opener = await watched.open_room()
        assert sorted(line.split(maxsplit=1)[1] for line in wire.take()) == sorted(
            ["open", "open", "> POST /v1/rooms", "> GET /healthz", "< 201", "< 200"]
        )
        joiner = await other.join_room(opener.number or "", b"hello")
        assert {await opener.receive(), await opener.receive()} == {Notice.JOINED, b"hello"}
        wire.take()
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                assert await opener.receive() == b"answer"

            nursery.start_soon(poll)
            while not wire.log:
                await trio.lowlevel.checkpoint()
            for number in range(3):
                await opener.send(b"%d" % number)
            assert [await message(joiner) for _ in range(3)] == [b"0", b"1", b"2"]
            await joiner.send(b"answer")
        log = wire.take()
        poller = log[0].split()[0]
        sender = "1" if poller == "2" else "2"
        assert log[0].startswith(f"{poller} > GET")
        assert log[1:7] == [f"{sender} > POST /v1/rooms/{opener.number}/messages", f"{sender} < 201"] * 3
        assert log[7:] == [f"{poller} < 200"]

    run(main)


def test_who_prepares_joins_over_a_connection_that_is_open() -> None:
    async def main(wire: Wire, watched: HttpRendezvous, other: HttpRendezvous) -> None:
        opener = await other.open_room()
        await watched.prepare()
        assert wire.take() == ["1 open", "1 > GET /healthz", "1 < 200"]
        await watched.join_room(opener.number or "", b"hello")
        log = wire.take()
        assert [line for line in log if line.startswith("1 ")] == [
            f"1 > POST /v1/rooms/{opener.number}/sides",
            "1 < 201",
        ]
        assert {line.split(maxsplit=1)[1] for line in log if line.startswith("2 ")} == {
            "open",
            "> GET /healthz",
            "< 200",
        }

    run(main)


def test_a_named_room_is_as_quick() -> None:
    async def main(wire: Wire, watched: HttpRendezvous, other: HttpRendezvous) -> None:
        theirs = await other.enter_room(NAME, "t" * 43, b"theirs")
        ours = await watched.enter_room(NAME, "o" * 43, b"ours")
        assert wire.connections == 2
        wire.take()
        assert await message(ours) == b"theirs"
        await ours.send(b"more")
        assert [await message(theirs), await message(theirs)] == [b"ours", b"more"]
        assert [line.split()[1:] for line in wire.take()] == [[">", "POST", f"/v1/rooms/{NAME}/messages"], ["<", "201"]]

    run(main)


def test_a_lost_answer_costs_no_code() -> None:
    """Who doesn't know whether he has joined asks once more, and is found there."""

    async def main() -> None:
        async with rendezvous_server() as url, wired(url) as (wire, lossy_url):
            other, lossy = (HttpRendezvous(each, Surroundings().context) for each in (url, lossy_url))
            opener = await other.open_room()
            wire.loses = "/sides"
            room = await lossy.join_room(opener.number or "", b"hello")
            assert wire.loses == "", "it was lost"
            assert [await opener.receive(), await opener.receive()] == [Notice.JOINED, b"hello"]
            await opener.send(b"and back")
            assert await room.receive() == b"and back"
            assert [line.split(" ", 2)[1:] for line in wire.log if "/sides" in line] == [
                [">", f"POST /v1/rooms/{opener.number}/sides"]
            ] * 2
            for each in (other, lossy):
                await each.aclose()

    trio.run(main)
