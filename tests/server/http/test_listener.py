"""Where clients come, by HTTP or HTTPS."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio

from p2ptun.errors import DeviceError
from p2ptun.server.http import connection
from p2ptun.server.http.connection import Connection
from p2ptun.server.http.listener import open_http_listener
from p2ptun.server.http.options import HttpLimits
from p2ptun.server.http.reception import Reception
from p2ptun.types import Endpoint
from tests.server.http.place import ADDRESS, read_all, serving, until
from tests.server.serving import make_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.trio
async def test_tls_is_spoken_as_browsers_want_it(certificate: tuple[Path, Path]) -> None:
    async with serving(certificate=certificate) as place:
        assert place.listener.scheme == "https"
        assert (await place.client.get("/healthz")).json() == {"status": "ok"}
        context = ssl.create_default_context(cafile=str(certificate[0]))
        context.set_alpn_protocols(["h2", "http/1.1"])
        stream = trio.SSLStream(await place.connect(), context, server_hostname=ADDRESS, https_compatible=True)
        await stream.do_handshake()
        assert stream.selected_alpn_protocol() == "http/1.1"
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 200")
        await stream.aclose()


@pytest.mark.trio
async def test_who_speaks_no_tls_is_counted_and_gone(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(certificate=certificate) as place:
        answer = await place.exchange(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in answer
        monkeypatch.setattr(connection, "HANDSHAKE_TIMEOUT", 0.02)
        assert await place.exchange(b"") == b""
        await until(lambda: place.server.drops["http: TLS handshake failed"] == 2)
        await place.until(0)


@pytest.mark.trio
async def test_who_must_make_room_does_so_before_tls_has_begun(certificate: tuple[Path, Path]) -> None:
    async with serving(certificate=certificate) as place, await place.connect() as stream:
        await place.until(1)
        next(iter(place.server.reception)).end()
        assert await read_all(stream) == b""
        await place.until(0)


@pytest.mark.trio
async def test_there_are_only_so_many_of_one_address() -> None:
    async with serving(HttpLimits(address_connections=2)) as place:
        streams = [await place.connect() for _ in range(2)]
        await place.until(2)
        assert await place.exchange(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert place.server.drops == {"too many connections from one address": 1}
        for stream in streams:
            await stream.aclose()
        await place.until(0)
        assert (await place.client.get("/healthz")).status_code == 200


@pytest.mark.trio
async def test_a_mistake_of_ours_ends_one_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    listener = open_http_listener(Endpoint.of(ADDRESS, 0), None)
    calls = 0

    async def serve(_: Connection) -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.run, Reception(10, 10, lambda _: False), serve)
        for _ in range(2):
            async with await trio.open_tcp_stream(ADDRESS, listener.local.port) as stream:
                assert await read_all(stream) == b""
        listener.stop()
    assert calls == 2
    assert listener.failures == {"our mistake": 2}
    assert "a connection failed" in caplog.text


@pytest.mark.trio
async def test_a_port_that_is_taken_is_explained() -> None:
    listener = open_http_listener(Endpoint.of(ADDRESS, 0), None)
    try:
        with pytest.raises(DeviceError, match=f"TCP port {listener.local.port} is already in use"):
            open_http_listener(listener.local, None)
    finally:
        listener.close()
        listener.close()
