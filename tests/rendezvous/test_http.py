from __future__ import annotations

import logging
import re
import socket
import ssl
import traceback
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
import trio.testing

from p2ptun import __version__
from p2ptun.errors import (
    ConfigError,
    LocalProtocolError,
    RendezvousEnded,
    RendezvousError,
    RoomCrowded,
    RoomGone,
    RoomUnknown,
)
from p2ptun.rendezvous.base import BurnReason, IceServer, Notice
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.rendezvous.http_client import MAX_BODY
from p2ptun.rendezvous.http_room import WAIT
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.uri import parse_uri
from tests.io.certificates import Authority
from tests.rendezvous.place import (
    NAME,
    TOKEN_SECRET,
    StandIn,
    Surroundings,
    answer,
    mail,
    problem,
    rendezvous_server,
    response,
    seat,
    stand_in,
)
from tests.rendezvous.scripted import NAMED, NEVER, POSTED, SEATED, Running, Script

LOGIN_PAGE = response(200, b"<html>Welcome to our hotel</html>", "text/html")
HELLO = {"sequence": 1, "body": "aGVsbG8="}


def refused(kind: type[RendezvousError], words: str, *answers: bytes | None) -> tuple[RendezvousError, list[str]]:
    """Join with such answers, and give the error, and what was asked for."""
    errors: list[RendezvousError] = []

    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        with pytest.raises(kind, match=words) as caught:
            await rendezvous.join_room("42", b"hello")
        errors.append(caught.value)

    asked = Running(*answers).run(main)
    assert str(errors[0]).endswith(".")
    assert "\n" not in str(errors[0])
    return errors[0], asked


def test_a_room_is_joined_in_one_request() -> None:
    async def main(rendezvous: HttpRendezvous, server: StandIn) -> None:
        room = await rendezvous.join_room("42", b"\0hello")
        assert (room.number, await room.receive()) == ("42", b"hello")
        request = next(each for each in server.requests if each.method == "POST")
        assert request.body == b"\0hello"
        assert request.headers["user-agent"] == f"p2ptun/{__version__}"
        assert request.headers["content-type"] == "application/octet-stream"
        assert request.headers["accept-encoding"] == "identity"
        assert re.fullmatch(r"Bearer 42\.[A-Za-z0-9_-]{43}", request.headers["authorization"]), "a token of its own"

    assert Running(answer(201, seat("42", (HELLO,)))).run(main) == ["POST /v1/rooms/42/sides"]


def test_what_a_room_asks_for() -> None:
    async def main(rendezvous: HttpRendezvous, server: StandIn) -> None:
        room = await rendezvous.open_room()
        await room.send(b"said")
        assert await room.receive() == b"hello"
        assert await room.receive() is Notice.JOINED
        await room.renew_ice()
        await room.burn(BurnReason.DONE)
        own = [each for each in server.requests if each.path not in ("/healthz", "/v1/rooms")]
        assert {each.headers["authorization"] for each in own} == {f"Bearer 42.{TOKEN_SECRET}"}

    joined = {"sequence": 3, "notice": "joined"}
    unknown = {"sequence": 2, "notice": "painted"}
    answers = SEATED, POSTED, mail(HELLO, unknown), mail(joined), answer(200, {"servers": [], "ttl": None})
    assert Running(*answers, response(204)).run(main) == [
        "POST /v1/rooms",
        "POST /v1/rooms/42/messages",
        f"GET /v1/rooms/42/messages?after=0&wait={WAIT}",
        f"GET /v1/rooms/42/messages?after=2&wait={WAIT}",
        "GET /v1/ice",
        "DELETE /v1/rooms/42?reason=done",
    ]


def test_the_path_of_the_url_is_kept() -> None:
    async def main(_: HttpRendezvous, server: StandIn) -> None:
        rendezvous = HttpRendezvous(f"{server.url}rooms/of/ours/", Surroundings().context)
        await rendezvous._client.prepare()  # no jump while a thread imports
        await rendezvous.open_room()
        await rendezvous.aclose()
        assert {each.path for each in server.requests} == {"/rooms/of/ours/v1/rooms", "/rooms/of/ours/healthz"}

    Running(SEATED).run(main)


def test_an_address_of_ipv6() -> None:
    async def main() -> None:
        async with stand_in(Script(SEATED), host="::1") as server:
            assert server.url.startswith("http://[::1]:")
            rendezvous = HttpRendezvous(server.url, Surroundings().context)
            assert (await rendezvous.open_room()).number == "42"
            await rendezvous.aclose()

    trio.run(main)


@pytest.mark.parametrize(
    ("first", "kind", "words"),
    [
        (problem(404, "room-unknown"), RoomUnknown, "no such room"),
        (problem(401, "unauthorized"), RoomUnknown, "any more"),
        (problem(409, "room-crowded"), RoomCrowded, "Two are in the room"),
        (problem(410, "room-burnt", reason="wrong-code"), RoomGone, "wrong code"),
        (problem(410, "room-burnt", reason="done"), RoomGone, "have met"),
        (problem(410, "room-burnt", reason="tea\x1b[31m"), RoomGone, "was closed"),
        (problem(404, "not-found"), RendezvousError, "refused: No"),
        (problem(400, "bad-request", title="Bad.", detail="So bad."), RendezvousError, r"refused: Bad\. So bad\."),
        (problem(413, "body-too-large"), RendezvousError, "too large"),
        (response(413, b"<html>", "text/html"), RendezvousError, "too large"),
    ],
)
def test_what_the_server_refuses_is_told_at_once(first: bytes, kind: type[RendezvousError], words: str) -> None:
    error, asked = refused(kind, words, first)
    assert type(error) is kind
    assert len(asked) == 1
    if isinstance(error, RoomGone):
        assert error.reason in ("wrong-code", "done", "tea[31m")


def test_words_of_a_server_are_made_fit_to_be_shown() -> None:
    nasty = "\x1b]0;owned\x07" + "\u202egnp.exe " + "x" * 5000 + "\nsecond line"
    error, _ = refused(RendezvousError, "refused", problem(400, "bad-request", title=nasty, detail=nasty, remedy=nasty))
    for text in (str(error), error.remedy):
        assert len(text) < 600
        assert not set(text) & set("\x1b\x07\u202e\n")


@pytest.mark.parametrize(
    "first",
    [
        LOGIN_PAGE,
        response(200, b"{}"),
        response(201, b"[" * 100_000),
        response(201, b'{"room":"42"'),
        response(201, b"\xff\xfe"),
        response(201, b""),
        response(404, b"<html>nginx</html>", "text/html"),
        response(404, b"{}", "application/problem+json"),
        response(404, b"nothing", "application/problem+json"),
        response(409, b'{"type":"urn:other"}', "application/problem+json"),
        response(302, location="https://hotel.example/login"),
        answer(201, seat("43")),
        answer(201, seat("0042")),
        answer(201, seat(room="42\n")),
        answer(201, seat(side_token="43." + TOKEN_SECRET)),
        answer(201, seat(side_token="42." + "short")),
        answer(201, seat(side_token="42." + "=" * 43)),
        answer(201, seat(side_token="42." + TOKEN_SECRET + "\r\nEvil: 1")),
        answer(201, seat(messages=({"sequence": 0, "body": ""},))),
        answer(201, seat(messages=({"sequence": 2**60, "body": ""},))),
        answer(201, seat(messages=({"sequence": -1, "body": ""},))),
        answer(201, seat(messages=({"sequence": True, "body": ""},))),
        answer(201, seat(messages=({"sequence": "1", "body": ""},))),
        answer(201, seat(messages=({"sequence": 1, "body": "not base64!"},))),
        answer(201, seat(messages=({"sequence": 1, "body": "A" * 30_000},))),
        answer(201, seat(messages=(HELLO,) * 257)),
        answer(201, seat(ice={"servers": [{"urls": "stun:x"}], "ttl": None})),
        answer(201, seat(ice={"servers": [], "ttl": -1})),
        response(201, b'{"a":"' + b"x" * (2 * MAX_BODY) + b'"}'),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
def test_what_is_no_rendezvous_is_told_at_once(first: bytes) -> None:
    error, asked = refused(RendezvousError, "answers, but not as a rendezvous of p2ptun", first)
    assert len(asked) == 1
    assert error.remedy == "Check the URL; on a network with a login page, log in first."


def test_a_body_that_never_ends_is_not_read() -> None:
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    refused(RendezvousError, "not as a rendezvous", head + b"x" * (MAX_BODY + 100_000))


def test_a_compressed_body_is_no_answer() -> None:
    refused(RendezvousError, "not as a rendezvous", response(201, b"\x1f\x8b\x08\0", Content_Encoding="gzip"))


def test_a_redirection_to_another_home_is_named_and_not_followed() -> None:
    error, asked = refused(
        RendezvousError, "points to another place", response(308, location="https://rv.example.net/v1/rooms/42/sides")
    )
    assert error.remedy == "Use --rendezvous https://rv.example.net/"
    assert len(asked) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        None,
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n{",
        response(502, b"<html>", "text/html"),
        response(503, Retry_After="2"),
        problem(503, "unavailable", title="Out of order"),
        response(504),
        response(500),
        response(408),
        problem(429, "too-many-requests", Retry_After="3"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else None,
)
def test_what_passes_is_waited_for(trouble: bytes | None) -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        began_at = trio.current_time()
        assert (await rendezvous.join_room("42", b"hello")).number == "42"
        assert 0.5 <= trio.current_time() - began_at <= 8

    running = Running(trouble, trouble, SEATED)
    assert running.run(main) == ["POST /v1/rooms/42/sides"] * 3
    assert running.surroundings.told == []


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (None, "connection to http://127.0.0.1:[0-9]+/ broke"),
        (response(503), r"can't answer just now \(status 503\)"),
        (problem(503, "unavailable", title="Out of order"), r"can't answer just now \(Out of order\)"),
        (NEVER, "didn't answer"),
        (problem(429, "too-many-requests", Retry_After="1"), "asks to wait for 1 s"),
    ],
)
def test_a_person_waits_ten_seconds_at_most(trouble: bytes | None, words: str) -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        began_at = trio.current_time()
        with pytest.raises(RendezvousError, match=words) as caught:
            await rendezvous.open_room()
        assert 3 < trio.current_time() - began_at <= 10.1
        assert caught.value.remedy

    Running(trouble).run(main)


def test_a_longer_wait_than_that_is_told_at_once() -> None:
    _, asked = refused(RendezvousError, "asks to wait for 30 s", problem(429, "too-many-requests", Retry_After="30"))
    assert len(asked) == 1


def test_who_had_no_answer_joins_once_more_as_the_same_side() -> None:
    async def main(rendezvous: HttpRendezvous, server: StandIn) -> None:
        room = await rendezvous.join_room("42", b"hello")
        assert await room.receive() == b"hello"
        first, second = (each for each in server.requests if each.method == "POST")
        assert first.headers["authorization"] == second.headers["authorization"]
        assert first.body == second.body == b"hello"

    assert len(Running(None, answer(201, seat("42", (HELLO,)))).run(main)) == 2


def test_a_server_that_is_not_there() -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            gone = HttpRendezvous(f"http://127.0.0.1:{unheard.getsockname()[1]}", Surroundings().context)
            gone._client._client = await rendezvous._client.prepare()
            with pytest.raises(RendezvousError, match="refused the connection"):
                await gone.open_room()
            with pytest.raises(RendezvousError, match="refused the connection"):
                await gone.check()

    Running(SEATED).run(main)


class Resolver(trio.abc.HostnameResolver):
    """A resolver without name servers."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def getaddrinfo(self, *_: object, **__: object) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(self._number, "nobody knows")

    async def getnameinfo(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError


@pytest.mark.parametrize(
    ("number", "words", "patience"),
    [(socket.EAI_NONAME, "no host of the name", 0.1), (socket.EAI_AGAIN, "No name server answered", 10.1)],
)
def test_a_name_without_address(number: int, words: str, patience: float) -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        trio.socket.set_custom_hostname_resolver(Resolver(number))
        nameless = HttpRendezvous("http://rv.example/", Surroundings().context)
        nameless._client._client = await rendezvous._client.prepare()
        began_at = trio.current_time()
        with pytest.raises(RendezvousError, match=words):
            await nameless.open_room()
        assert trio.current_time() - began_at <= patience

    Running(SEATED).run(main)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def over_tls(context: ssl.SSLContext, ca_file: Path | None) -> HttpRendezvous | RendezvousError | ConfigError:
    """Open a room by HTTPS, and return what came of it."""
    outcome: list[Any] = []

    async def main() -> None:
        async with stand_in(Script(SEATED), context) as server:
            rendezvous = HttpRendezvous(server.url, Surroundings(ca_file=ca_file).context)
            try:
                outcome.append(await rendezvous.open_room())
            except (RendezvousError, ConfigError) as error:
                outcome.append(error)
            finally:
                await rendezvous.aclose()

    trio.run(main)
    return outcome[0]  # type: ignore[no-any-return]


def test_a_certificate_is_believed_when_its_authority_is(authority: Authority, tmp_path: Path) -> None:
    context = authority.serve("127.0.0.1", alpn=["http/1.1"])
    assert not isinstance(over_tls(context, authority.file), Exception)
    refused = over_tls(context, None)
    assert isinstance(refused, RendezvousError)
    assert str(refused).startswith("The certificate of https://127.0.0.1:")
    assert "--ca-file" in refused.remedy
    missing = over_tls(context, tmp_path / "missing.pem")
    assert isinstance(missing, ConfigError)


def test_connections_that_wait_are_used_again_over_tls(authority: Authority) -> None:
    async def main() -> StandIn:
        async with stand_in(
            Script(SEATED, POSTED, POSTED, mail(HELLO), POSTED), authority.serve("127.0.0.1")
        ) as server:
            rendezvous = HttpRendezvous(server.url, Surroundings(ca_file=authority.file).context)
            room = await rendezvous.open_room()
            await room.send(b"one")
            await room.send(b"two")
            assert await room.receive() == b"hello"
            await room.send(b"three")
            await rendezvous.aclose()
        return server

    server = trio.run(main, clock=trio.testing.MockClock())  # it stands still: nothing is too late
    assert len(server.asked) == 5
    assert server.connections == 2


def test_https_where_http_is_spoken_is_told_at_once() -> None:
    async def main() -> None:
        async with stand_in(Script(SEATED)) as server:
            rendezvous = HttpRendezvous(server.url.replace("http:", "https:"), Surroundings().context)
            with pytest.raises(RendezvousError, match=r"TLS with .* failed") as caught:
                await rendezvous.open_room()
            assert caught.value.remedy == "Check scheme and port of the URL."
            await rendezvous.aclose()

    trio.run(main)


def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    refused = over_tls(authority.serve("rv.example"), authority.file)
    assert isinstance(refused, RendezvousError)
    assert "certificate" in str(refused)


def test_entering_a_room_has_patience_without_end() -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        assert (await rendezvous.enter_room(NAME, "o" * 43, b"hello")).number is None
        assert trio.current_time() > 60

    running = Running(*[response(503)] * 8, NAMED)
    assert running.run(main) == [f"PUT /v1/rooms/{NAME}/sides"] * 9
    assert [each for each in running.surroundings.told if each != "recovered"] == running.surroundings.told[:1]
    assert running.surroundings.told[1:] == ["recovered"]


def test_entering_what_is_no_rendezvous_is_told() -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        with pytest.raises(RendezvousError, match="not as a rendezvous"):
            await rendezvous.enter_room(NAME, "o" * 43, b"hello")

    assert len(Running(LOGIN_PAGE).run(main)) == 1


def test_another_token_than_ours_is_no_answer() -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        with pytest.raises(RendezvousError, match="not as a rendezvous"):
            await rendezvous.enter_room(NAME, "p" * 43, b"hello")

    Running(NAMED).run(main)


def test_what_is_on_offer_is_what_can_be_used() -> None:
    ice = {
        "servers": [
            {"urls": ["stun:rv.example", "stun:[bad", "http://no", "turn:without.example"]},
            {"urls": ["turn:rv.example", "turn:rv.example"], "username": "u", "credential": "secret", "more": 1},
            {"urls": ["turn:half.example"], "username": "u"},
        ],
        "ttl": 1e12,
    }

    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        offer = (await rendezvous.open_room()).ice
        relay = IceServer(parse_uri("turn:rv.example"), LongTermCredential("u", "secret"))
        assert offer.servers == (IceServer(parse_uri("stun:rv.example")), relay)
        assert offer.lifetime == 10 * 86400
        assert "secret" not in repr(offer)

    Running(answer(201, seat(ice=ice))).run(main)


def test_the_server_offers_relays() -> None:
    async def main() -> None:
        async with rendezvous_server() as url:
            rendezvous = HttpRendezvous(url, Surroundings().context)
            room = await rendezvous.open_room()
            kinds = [each.uri.scheme.value for each in room.ice.servers]
            assert kinds == ["stun", "turn"]
            assert (await room.renew_ice()).lifetime == 86400
            await rendezvous.aclose()

    trio.run(main)


def test_our_own_mistakes_never_reach_the_server() -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        room = await rendezvous.open_room()
        for number in ("../../metrics", "042", "4x", "", "1234567890", "\u0664"):
            with pytest.raises(LocalProtocolError):
                await rendezvous.join_room(number, b"")
        for name, token in (("42", "o" * 43), (NAME, "o" * 42), (NAME, "\n" * 43), (NAME.upper(), "o" * 43)):
            with pytest.raises(LocalProtocolError):
                await rendezvous.enter_room(name, token, b"")
        for message in (b"", bytes(16385)):
            with pytest.raises(LocalProtocolError):
                await room.send(message)

    assert Running(SEATED).run(main) == ["POST /v1/rooms"]


def test_nothing_can_be_asked_after_the_end() -> None:
    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        room = await rendezvous.open_room()
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(RendezvousEnded):
                    await room.receive()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await rendezvous.aclose()
        with pytest.raises(RendezvousEnded):
            await rendezvous.open_room()

    Running(SEATED, NEVER).run(main)


def test_tokens_are_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    shown: list[str] = []

    async def main(rendezvous: HttpRendezvous, _: StandIn) -> None:
        room = await rendezvous.open_room()
        with pytest.raises(RendezvousError) as caught:
            await room.send(b"said")
        shown.extend(traceback.format_exception(caught.value))
        shown.extend(map(repr, (rendezvous, room, caught.value, caught.value.__cause__)))

    with caplog.at_level(logging.DEBUG):
        Running(SEATED, None, problem(400, "bad-request")).run(main)
    text = "\n".join([*shown, *(record.getMessage() for record in caplog.records)])
    assert TOKEN_SECRET not in text
    assert "/v1/rooms" in text


def test_a_client_keeps_no_cookies() -> None:
    async def main(rendezvous: HttpRendezvous, server: StandIn) -> None:
        await (await rendezvous.open_room()).renew_ice()
        assert all("cookie" not in each.headers for each in server.requests)

    cookie = answer(201, seat(), Set_Cookie="tracked=1; Path=/")
    Running(cookie, answer(200, {"servers": [], "ttl": None})).run(main)
