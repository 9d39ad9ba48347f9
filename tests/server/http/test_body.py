"""What requests bring: bodies, tokens, queries."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from starlette.requests import Request

from p2ptun.rendezvous.base import BurnReason
from p2ptun.server.http import body
from p2ptun.server.http.body import after, bearer, read_message, read_nothing, reason, wait
from p2ptun.server.http.problem import Problem, Slug


class Body:
    """Pieces of a body, and how many of them were taken."""

    def __init__(self, *pieces: bytes, is_whole: bool = True) -> None:
        self.taken = 0
        self._pieces = pieces
        self._is_whole = is_whole

    async def receive(self) -> dict[str, Any]:
        if self.taken == len(self._pieces):
            return {"type": "http.disconnect"}
        self.taken += 1
        more = self.taken < len(self._pieces) or not self._is_whole
        return {"type": "http.request", "body": self._pieces[self.taken - 1], "more_body": more}


def request(pieces: Body | None = None, query: str = "", method: str = "POST", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "headers": raw, "query_string": query.encode(), "path": "/"}
    return Request(scope, (pieces or Body(b"")).receive)


async def refusal(pieces: Body, *, is_optional: bool = True, **headers: str) -> Slug:
    with pytest.raises(Problem) as caught:
        await read_message(request(pieces, **headers), is_optional=is_optional)
    return caught.value.slug


@pytest.mark.trio
@pytest.mark.parametrize("kind", ["application/octet-stream", "Application/Octet-Stream; x=y", None])
async def test_messages_come_in_pieces(kind: str | None) -> None:
    headers = {"content_type": kind} if kind else {}
    assert await read_message(request(Body(b"a", b"", b"bc"), **headers), is_optional=False) == b"abc"


@pytest.mark.trio
async def test_the_largest_message_is_taken_whole() -> None:
    largest = Body(bytes(8192), bytes(8192))
    assert len(await read_message(request(largest), is_optional=False)) == 16384


@pytest.mark.trio
async def test_one_that_says_that_it_is_too_large_is_not_read() -> None:
    pieces = Body(b"x")
    for length in ("16385", "9" * 30):
        assert await refusal(pieces, content_length=length) is Slug.BODY_TOO_LARGE
    assert pieces.taken == 0


@pytest.mark.trio
async def test_one_that_becomes_too_large_is_read_no_further() -> None:
    pieces = Body(bytes(16384), b"x", b"y", b"z")
    assert await refusal(pieces) is Slug.BODY_TOO_LARGE
    assert pieces.taken == 2


@pytest.mark.trio
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "", "x", "a/b/c;"])
async def test_other_types_are_refused(kind: str) -> None:
    assert await refusal(Body(b"x"), content_type=kind) is Slug.MEDIA_TYPE


@pytest.mark.trio
async def test_a_message_may_have_to_be_one() -> None:
    assert await refusal(Body(b""), is_optional=False) is Slug.BAD_REQUEST
    assert await read_message(request(Body(b"")), is_optional=True) == b""


@pytest.mark.trio
async def test_a_body_that_ends_early_is_none() -> None:
    assert await refusal(Body(b"abc", is_whole=False)) is Slug.BAD_REQUEST


@pytest.mark.trio
async def test_a_body_that_takes_too_long_is_none(autojump_clock: object) -> None:
    class Slow(Body):
        async def receive(self) -> dict[str, Any]:
            await trio.sleep(body.BODY_TIMEOUT / 2)
            return await super().receive()

    assert await refusal(Slow(b"a", b"b", b"c")) is Slug.TOO_SLOW


@pytest.mark.trio
async def test_where_there_is_no_body_none_is_read() -> None:
    await read_nothing(request(Body(b"")))
    with pytest.raises(Problem) as caught:
        await read_nothing(request(Body(b"x")))
    assert caught.value.slug is Slug.BODY_TOO_LARGE


@pytest.mark.parametrize("text", ["Bearer 7.abc", "bearer   7.abc"])
def test_tokens_are_read(text: str) -> None:
    assert bearer(request(authorization=text)) == "7.abc"


@pytest.mark.parametrize("text", ["", "Bearer", "Bearer ", "Basic 7.abc", "Bearer 7 8", f"Bearer {'x' * 200}", "7.abc"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        bearer(request(authorization=text))
    assert caught.value.slug is Slug.UNAUTHORIZED
    assert caught.value.headers["WWW-Authenticate"]


def test_two_tokens_are_none() -> None:
    twice = request(authorization="Bearer a")
    twice.scope["headers"] *= 2
    with pytest.raises(Problem):
        bearer(twice)


def test_queries_are_read() -> None:
    asked = request(query="after=7&wait=2.5&reason=wrong-code", method="GET")
    assert (after(asked), wait(asked), reason(asked)) == (7, 2.5, BurnReason.WRONG_CODE)
    plain = request(method="GET")
    assert (after(plain), wait(plain), reason(plain)) == (0, 0, BurnReason.LEFT)
    assert wait(request(query="wait=25", method="HEAD")) == 0


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "%D9%A3", "9" * 16, "1&after=2", "+1", "0x1"])
def test_what_is_no_sequence_number_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        after(request(query=f"after={text}"))
    assert caught.value.slug is Slug.BAD_REQUEST


@pytest.mark.parametrize("text", ["-1", "26", "25.1", "1e1", "nan", "inf", "%D9%A3", "1&wait=1", "100"])
def test_what_is_no_wait_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        wait(request(query=f"wait={text}"))
    assert caught.value.slug is Slug.BAD_REQUEST


@pytest.mark.parametrize("text", ["", "DONE", "other", "done&reason=left"])
def test_what_is_no_reason_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        reason(request(query=f"reason={text}"))
    assert caught.value.slug is Slug.BAD_REQUEST
