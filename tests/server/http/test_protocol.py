"""HTTP/1.1 and nothing else."""

from __future__ import annotations

import json

import pytest

from tests.server.http.place import serving

CLOSE = b"Host: x\r\nConnection: close\r\n"


def split(answer: bytes) -> tuple[int, bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


@pytest.mark.trio
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # without a host
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded\x00: y\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\x80T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\nHost x\n\n",
    ],
)
async def test_what_is_no_request_is_refused(request_bytes: bytes) -> None:
    async with serving() as place:
        answer = await place.exchange(request_bytes)
        status, head, body = split(answer)
        assert status in (400, 501)
        assert b"content-type: application/problem+json" in head
        assert b"cache-control: no-store" in head
        assert json.loads(body)["type"] == "urn:p2ptun:problem:bad-request"


@pytest.mark.trio
@pytest.mark.parametrize("extra", [b"X: " + b"x" * 40_000, b"\r\n".join(b"X%d: y" % number for number in range(5000))])
async def test_a_large_head_is_refused(extra: bytes) -> None:
    async with serving() as place:
        status, _, body = split(await place.exchange(b"GET / HTTP/1.1\r\nHost: x\r\n" + extra))
        assert status == 431
        assert json.loads(body)["type"] == "urn:p2ptun:problem:head-too-large"


@pytest.mark.trio
@pytest.mark.parametrize(
    "headers",
    [
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: close, Upgrade, HTTP2-Settings\r\n",
        b"Upgrade: websocket\r\nConnection: close, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n",
        b"Upgrade: TLS/1.0\r\nConnection: close, Upgrade\r\n",
    ],
)
async def test_other_protocols_are_not_spoken(headers: bytes) -> None:
    async with serving() as place:
        answer = await place.exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.trio
async def test_the_preface_of_http_2_is_a_bad_request() -> None:
    async with serving() as place:
        answer = await place.exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))


@pytest.mark.trio
async def test_clients_that_ask_before_they_send_are_told_to_go_on() -> None:
    async with serving() as place:
        head = b"POST /v1/rooms/7/sides HTTP/1.1\r\n" + CLOSE + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx"
        answer = await place.exchange(head)
        assert answer.startswith(b"HTTP/1.1 100")
        assert b"HTTP/1.1 404" in answer


@pytest.mark.trio
async def test_a_refusal_before_the_body_ends_the_connection() -> None:
    async with serving() as place:
        head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        status, answer, _ = split(await place.exchange(head))
        assert status == 404
        assert b"connection: close" in answer
