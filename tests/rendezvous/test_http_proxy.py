"""Proxies, as the environment names them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trio

from p2ptun.errors import ConfigError, RendezvousError
from p2ptun.rendezvous.http import HttpRendezvous
from p2ptun.rendezvous.http_problem import trouble
from p2ptun.rendezvous.http_url import parse_server_url
from tests.io.certificates import Authority
from tests.rendezvous.place import StandIn, Surroundings, listening, response, stand_in
from tests.rendezvous.scripted import SEATED, Script

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def proxy(target: list[int], refusal: bytes = b"") -> AsyncIterator[tuple[str, list[str]]]:
    """Run a proxy that knows CONNECT (RFC 9110 9.3.6) and leads everywhere to one port; yield its URL and its log."""
    log: list[str] = []

    async def serve(client: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await client.receive_some()
        log.append(head.split(b"\r\n", 1)[0].decode())
        if refusal:
            await client.send_all(refusal)
            return
        async with await trio.open_tcp_stream("127.0.0.1", target[0]) as server, trio.open_nursery() as nursery:
            await client.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")

            async def carry(source: trio.SocketStream, sink: trio.SocketStream) -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async for data in source:
                        await sink.send_all(data)
                nursery.cancel_scope.cancel()

            nursery.start_soon(carry, client, server)
            nursery.start_soon(carry, server, client)

    async with listening(serve) as port:
        yield f"http://127.0.0.1:{port}", log


def open_room(url: str, ca_file: Path | None = None) -> Callable[[], Awaitable[str | None]]:
    async def act() -> str | None:
        rendezvous = HttpRendezvous(url, Surroundings(ca_file=ca_file).context)
        try:
            return (await rendezvous.open_room()).number
        finally:
            await rendezvous.aclose()

    return act


def test_https_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.serve("rv.example", alpn=["http/1.1"])

    async def main() -> None:
        target: list[int] = []
        async with stand_in(Script(SEATED), context) as server, proxy(target) as (url, log):
            target.append(int(server.url.rstrip("/").rpartition(":")[2]))
            monkeypatch.setenv("HTTPS_PROXY", url)
            assert await open_room("https://rv.example/", authority.file)() == "42"
            assert log == ["CONNECT rv.example:443 HTTP/1.1"] * 2

    trio.run(main)


def test_http_is_asked_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> StandIn:
        async with stand_in(Script(SEATED)) as server:
            monkeypatch.setenv("ALL_PROXY", server.url)
            assert await open_room("http://rv.example/x/")() == "42"
        return server

    assert "POST http://rv.example/x/v1/rooms" in trio.run(main).asked


def test_there_are_hosts_that_no_proxy_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> StandIn:
        async with stand_in(Script(SEATED)) as server:
            monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            assert await open_room(server.url)() == "42"
        return server

    assert trio.run(main).asked == ["POST /v1/rooms"]


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (response(407, Proxy_Authenticate="Basic"), "asks for a user name"),
        (response(403, b"<html>", "text/html"), "doesn't let us through"),
    ],
)
def test_a_proxy_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch, refusal: bytes, words: str) -> None:
    async def main() -> None:
        async with proxy([], refusal) as (url, _):
            monkeypatch.setenv("HTTPS_PROXY", url)
            with pytest.raises(RendezvousError, match=words) as caught:
                await open_room("https://rv.example/")()
            assert "HTTPS_PROXY" in caught.value.remedy

    trio.run(main)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_proxy_may_be_what_refuses_the_connection(monkeypatch: pytest.MonkeyPatch, is_named: bool) -> None:
    if is_named:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    error = httpx.ConnectError("refused")
    error.__cause__ = ConnectionRefusedError()
    remedy = trouble(parse_server_url("http://rv.example/"), error).remedy
    assert ("the proxy that the environment names" in remedy) == is_named


@pytest.mark.parametrize("text", ["socks5://127.0.0.1:1080", "gopher://x", "http://[::1"])
def test_a_proxy_that_can_not_be_used_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ALL_PROXY", text)
    with pytest.raises(ConfigError, match="PROXY: names") as caught:
        trio.run(open_room("http://rv.example/"))
    assert caught.value.remedy
