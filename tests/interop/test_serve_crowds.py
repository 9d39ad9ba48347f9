"""Crowds at `p2ptun serve`, as it limits them by itself: an honest pair meets among them, and nobody guesses twice."""

from __future__ import annotations

import select
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio

from p2ptun.errors import RendezvousError, WrongCode
from p2ptun.rendezvous.base import BurnReason, Notice
from p2ptun.signal.code import Code
from tests.interop.meeting import RawClient, check_introduced, company, measure, until, until_measured
from tests.server.serving import ADDRESS, HttpServing

pytestmark = pytest.mark.trio

HALF_OPEN, NEVER_READING = 300, 100
UNREAD = 100  # requests of one that never reads: their answers are more than any buffer holds
PER_ADDRESS = 10  # connections
CONNECTIONS = "p2ptun_http_connections"
DESCRIBED = 'p2ptun_http_requests_total{method="GET",route="/openapi.json",status="200"}'

GUESSERS, GUESSES = 20, 50
CREATED, CONFLICT, GONE, TOO_MANY = 201, 409, 410, 429


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServing]:
    with HttpServing() as server:
        yield server


def connect(server: HttpServing, at: int, sent: bytes) -> socket.socket:
    """Connect as one of many, send something, and read nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.bind((f"127.0.{1 + at // PER_ADDRESS}.1", 0))
    sock.connect((ADDRESS, server.port))
    sock.sendall(sent)
    return sock


async def test_slow_clients_and_half_open_connections_stop_nobody(server: HttpServing) -> None:
    half = b"POST /v1/rooms HTTP/1.1\r\nHost: "
    whole = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answered = select.poll()
    with ExitStack() as stack:
        for at in range(HALF_OPEN):
            stack.enter_context(connect(server, at, half))
        for at in range(HALF_OPEN, HALF_OPEN + NEVER_READING):
            answered.register(stack.enter_context(connect(server, at, whole * UNREAD)), select.POLLIN)
        async with company() as here:
            await until_measured(server, CONNECTIONS, HALF_OPEN + NEVER_READING)
            await until(lambda: len(answered.poll(0)) == NEVER_READING)
            alice = await here.share(server)
            bob = await here.join(server, alice.codes()[0])
            await alice.done.wait()
            check_introduced(alice, bob)
            assert await measure(server, DESCRIBED) < NEVER_READING * UNREAD, "there are answers to take"


async def test_a_wrong_code_is_told_to_both_and_the_room_is_gone(server: HttpServing) -> None:
    async with company() as here:
        alice = await here.share(server)
        code = alice.codes()[0]
        bob = await here.join(server, Code(code.room, code.secret ^ 1))
        await alice.done.wait()
        for person in (alice, bob):
            assert isinstance(person.result, WrongCode)
            assert str(person.result).endswith(".")
        client = await RawClient.connect(server)
        status, problem = await client.ask("POST", f"/v1/rooms/{code.room}/sides", b"opening")
        assert (status, problem["reason"]) == (GONE, BurnReason.WRONG_CODE.value)
        with pytest.raises(RendezvousError, match="wrong code"):
            await here.at(server).join_room(str(code.room), b"opening")
        await client.aclose()


async def test_of_a_thousand_who_come_from_everywhere_one_is_let_in(server: HttpServing) -> None:
    """Whoever it is, what he said is all that reaches who shares; when that was wrong, nobody else gets in."""
    answers: Counter[int] = Counter()
    accepted: list[tuple[bytes, str]] = []

    async def guess(at: int) -> None:
        client = await RawClient.connect(server, f"127.0.200.{1 + at}")
        for number in range(GUESSES):
            opening = b"guess %d of %d" % (number, at)
            status, answer = await client.ask("POST", f"{path}/sides", opening)
            answers[status] += 1
            if status == CREATED:
                accepted.append((opening, answer["side_token"]))
        await client.aclose()

    async with company() as here:
        room = await here.at(server).open_room()
        path = f"/v1/rooms/{room.number}"
        async with trio.open_nursery() as nursery:
            for at in range(GUESSERS):
                nursery.start_soon(guess, at)
        assert answers[CREATED] == 1
        assert set(answers) == {CREATED, CONFLICT, TOO_MANY}
        assert sum(answers.values()) == GUESSERS * GUESSES
        ((opening, token),) = accepted
        client = await RawClient.connect(server)  # from an address that has guessed nothing yet
        assert (await client.ask("POST", f"{path}/messages", b"last", token))[0] == CREATED
        assert [await room.receive() for _ in range(4)] == [Notice.JOINED, opening, Notice.CROWDED, b"last"]
        await room.burn(BurnReason.WRONG_CODE)
        assert (await client.ask("POST", f"{path}/sides", b"one more"))[0] == GONE
        await client.aclose()
