"""Those who mean harm: floods, slow ones, nonsense. Others are served meanwhile, and what is held stays small."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter
from contextlib import suppress

import pytest
import trio

from p2ptun.server.http import connection
from p2ptun.server.http.options import HttpLimits
from tests.server.http.place import Place, serving


async def is_served(place: Place) -> bool:
    with trio.fail_after(10):
        return (await place.client.get("/healthz")).status_code == 200


OPEN = b"POST /v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def flood(stream: trio.SocketStream, count: int) -> Counter[bytes]:
    """Ask for so many rooms as fast as the server answers; return the statuses."""
    statuses: Counter[bytes] = Counter()
    for _ in range(count // 50):
        await stream.send_all(OPEN * 50)
        answers = b""
        with trio.fail_after(30):
            while answers.count(b"}") < answers.count(b"{") or answers.count(b"HTTP/1.1 ") < 50 or answers[-1:] != b"}":
                answers += bytes(await stream.receive_some())
        statuses.update(each[:3] for each in answers.split(b"HTTP/1.1 ")[1:])
    return statuses


@pytest.mark.trio
async def test_rooms_without_end_from_one_address() -> None:
    limits = HttpLimits(address_requests=10**9, address_entries=10**9)
    async with serving(limits) as place, await place.connect() as stream:
        assert await flood(stream, 1000) == {b"201": 20, b"429": 980}
        assert (await place.rooms.count()).numbered == 20
        assert await is_served(place)


def held() -> int:
    """Bytes that are held, but for deadlines that have passed: trio forgets them a thousand at a time."""
    gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, "*/trio/*")])
    return sum(trace.size for trace in snapshot.traces)


@pytest.mark.trio
async def test_a_flood_costs_no_memory() -> None:
    async with serving(HttpLimits(address_requests=50)) as place, await place.connect() as stream:
        assert await flood(stream, 100) == {b"201": 20, b"429": 80}
        tracemalloc.start()
        await flood(stream, 50)
        before = held()
        assert await flood(stream, 300) == {b"429": 300}
        after = held()
        tracemalloc.stop()
        assert after - before < 30_000


@pytest.mark.trio
async def test_half_open_connections_do_not_stop_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 30.0)
    async with serving(HttpLimits(connections=30, address_connections=30)) as place:
        streams = [await place.connect() for _ in range(60)]
        try:
            for stream in streams[::2]:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(b"POST /v1/rooms HTTP/1.1\r\nX: ")
            assert len(place.server.reception) <= 30
        finally:
            for stream in streams:
                await trio.aclose_forcefully(stream)
        await place.until(0)
        assert await is_served(place)


@pytest.mark.trio
async def test_nonsense_gets_answers_or_the_door() -> None:
    draw = random.Random(5)
    pieces = [
        *(b"GET ", b"POST ", b"/v1/rooms", b"/", b" HTTP/1.1\r\n", b"\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"5\r\nabcde\r\n", b"0\r\n\r\n", b"\xff\x00"),
        *(
            b"Connection: close\r\n",
            b"ffffffffffffffff\r\n",
            b"Authorization: Bearer \xe9\r\n",
            b"?after=1&wait=0",
            b" ",
        ),
    ]
    async with serving() as place:
        for _ in range(100):
            request = b"".join(draw.choice(pieces) for _ in range(draw.randrange(1, 12)))
            async with await place.connect() as stream:
                await stream.send_all(request)
                await stream.send_eof()
                answer = b""
                with trio.fail_after(10):
                    try:
                        while data := await stream.receive_some():
                            answer += data
                    except trio.BrokenResourceError:
                        pass
                assert b"HTTP/1.1 5" not in answer.replace(b"HTTP/1.1 501", b""), request
        assert await is_served(place)


@pytest.mark.trio
async def test_secrets_do_not_come_back() -> None:
    async with serving() as place:
        for secret in ("hidden-token", "hidden token", "hidden" * 100):
            headers = {"Authorization": f"Bearer {secret}"}
            for path in (f"/v1/rooms/{secret.replace(' ', '')}", "/v1/ice", f"/v1/rooms/7/messages?after={secret}"):
                answer = await place.client.request("DELETE" if "ice" not in path else "GET", path, headers=headers)
                assert answer.status_code in (400, 401, 404, 405)
                assert "hidden" not in answer.text
                assert "hidden" not in str(answer.headers)
        assert "hidden" not in (await place.client.get("/metrics")).text
