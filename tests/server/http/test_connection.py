"""One client's connection: requests one after the other, and what slow ones may cost."""

from __future__ import annotations

import json

import pytest
import trio

from p2ptun.server.http import connection, protocol
from p2ptun.server.http.body import BODY_TIMEOUT
from tests.server.http.place import Place, bearer, read_all, serving, until


@pytest.fixture(autouse=True)
def _short_farewells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no longer than needs be for clients that go on."""
    monkeypatch.setattr(connection, "LINGER_TIMEOUT", 0.05)
    monkeypatch.setattr(protocol, "GONE_GRACE", 0.05)


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def split(answer: bytes) -> tuple[int, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def read_one(stream: trio.SocketStream) -> bytes:
    """Read one answer of an open connection."""
    found = b""
    with trio.fail_after(10):
        while b'"ok"}' not in found:
            found += bytes(await stream.receive_some())
    return found


@pytest.mark.trio
async def test_requests_follow_each_other() -> None:
    async with serving() as place, await place.connect() as stream:
        for _ in range(3):
            await stream.send_all(HEALTH)
            assert split(await read_one(stream))[0] == 200
        await stream.send_all(HEALTH * 3 + HEALTH.replace(b"x\r\n", b"x\r\nConnection: close\r\n"))
        assert (await read_all(stream)).count(b"HTTP/1.1 200") == 4


@pytest.mark.trio
async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving() as place, await place.connect() as stream:
        for byte in HEALTH:
            await stream.send_all(bytes([byte]))
        assert split(await read_one(stream))[0] == 200


@pytest.mark.trio
async def test_old_clients_are_served() -> None:
    async with serving() as place:
        status, body = split(await place.exchange(b"GET /healthz HTTP/1.0\r\n\r\n"))
        assert (status, body) == (200, b'{"status":"ok"}')


@pytest.mark.trio
async def test_who_says_no_more_is_still_answered() -> None:
    async with serving() as place, await place.connect() as stream:
        await stream.send_all(HEALTH)
        await stream.send_eof()
        assert split(await read_all(stream))[0] == 200


@pytest.mark.trio
async def test_who_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.05)
    async with serving() as place:
        assert await place.exchange(b"") == b""


@pytest.mark.trio
async def test_a_slow_head_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as place, await place.connect() as stream:
        await stream.send_all(HEALTH)
        await read_one(stream)
        monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.05)  # from the first byte of the second request on
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nX")
        status, body = split(await read_all(stream))
        assert status == 408
        assert json.loads(body)["type"] == "urn:p2ptun:problem:too-slow"


@pytest.mark.trio
async def test_a_head_has_no_more_time_when_it_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as place, await place.connect() as stream:
        await stream.send_all(HEALTH)
        await read_one(stream)
        monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.1)

        async def trickle() -> None:
            try:
                await stream.send_all(b"GET / HTTP/1.1\r\nX: ")
                while True:
                    await stream.send_all(b"x")
                    await trio.sleep(0.02)
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            assert split(await read_all(stream))[0] == 408
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_silence_between_requests_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_TIMEOUT", 0.05)
    async with serving() as place:
        answer = await place.exchange(HEALTH)
        assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.trio
async def test_a_slow_body_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BODY_TIMEOUT > 10
    monkeypatch.setattr("p2ptun.server.http.body.BODY_TIMEOUT", 0.05)
    async with serving() as place:
        head = b"POST /v1/rooms/7/sides HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"
        status, body = split(await place.exchange(head))
        assert status == 408
        assert json.loads(body)["remedy"]


@pytest.mark.trio
@pytest.mark.parametrize("head", [b"Content-Length: 10000000", b"Transfer-Encoding: chunked"])
async def test_a_body_that_is_too_large_is_not_waited_for(head: bytes) -> None:
    async with serving() as place, await place.connect() as stream:
        await stream.send_all(b"POST /v1/rooms/7/sides HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        sent = 0

        async def send() -> None:
            nonlocal sent
            chunk = b"1000\r\n" + bytes(4096) + b"\r\n"
            try:
                for _ in range(2500):
                    await stream.send_all(chunk)
                    sent += len(chunk)
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            status, body = split(await read_all(stream))
            nursery.cancel_scope.cancel()
        assert status == 413
        assert json.loads(body)["type"] == "urn:p2ptun:problem:body-too-large"
        assert sent < 10_000_000
        await place.until(0)


@pytest.mark.trio
async def test_who_takes_no_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STUCK_TIMEOUT", 0.05)
    async with serving() as place, await place.connect() as stream:
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        with trio.move_on_after(10) as patience:
            try:
                while True:
                    await stream.send_all(request * 100)
            except trio.BrokenResourceError:
                pass
        assert not patience.cancelled_caught
        await place.until(0)


@pytest.mark.trio
async def test_nobody_is_answered_who_is_gone() -> None:
    """Whoever sends many requests at once and leaves costs no more than an answer or two."""
    async with serving() as place:
        async with await place.connect() as stream:
            await stream.send_all(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            assert await stream.receive_some(1)
        await place.until(0)
        (await place.client.get("/openapi.json")).raise_for_status()
        metrics = (await place.client.get("/metrics")).text
        name = 'p2ptun_http_requests_total{method="GET",route="/openapi.json",status="200"} '
        assert float(metrics.partition(name)[2].split()[0]) < 50


async def begin_poll(place: Place) -> trio.SocketStream:
    room = await place.open()
    token = bearer(room["side_token"])["Authorization"]
    stream = await place.connect()
    head = f"GET /v1/rooms/{room['room']}/messages?wait=25 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
    await stream.send_all(head.encode())
    await place.until_waiting()
    return stream


@pytest.mark.trio
async def test_a_poll_whose_client_is_gone_waits_no_longer() -> None:
    async with serving() as place:
        stream = await begin_poll(place)
        await stream.aclose()
        await place.until(1)  # that of the client that opened the room
        assert (await place.rooms.count()).waiting == 0
        assert 'route="/v1/rooms/{room}/messages",status="gone"} 1.0' in (await place.client.get("/metrics")).text


@pytest.mark.trio
async def test_what_comes_while_a_poll_waits_waits_too() -> None:
    async with serving() as place, await begin_poll(place) as stream:
        await stream.send_all(HEALTH * 2)
        place.rooms.close()
        answer = b""
        with trio.fail_after(10):
            while answer.count(b"HTTP/1.1 200") < 3:
                answer += bytes(await stream.receive_some())
        assert answer.index(b'"messages":[]') < answer.index(b'"ok"')


@pytest.mark.trio
async def test_endless_bytes_behind_a_poll_are_held_back() -> None:
    async with serving() as place, await begin_poll(place) as stream:
        sent = 0
        with trio.move_on_after(0.2):
            while True:
                await stream.send_all(bytes(65536))
                sent += 65536
        assert sent < 16_000_000  # what kernels hold
        assert (await place.rooms.count()).waiting == 1


@pytest.mark.trio
async def test_an_idle_connection_can_be_ended_and_a_busy_one_not() -> None:
    async with serving() as place:
        poll = await begin_poll(place)
        idle = await place.connect()
        await place.until(3)
        for each in place.server.reception:
            each.end()
        assert await read_all(idle) == b""
        await until(lambda: len(place.server.reception) == 1)
        assert next(iter(place.server.reception)).is_busy
        await idle.aclose()
        await poll.aclose()
