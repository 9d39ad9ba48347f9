"""Whom we believe: certificates of all kinds over real sessions on loopback, and what people are told."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from p2ptun.errors import ConfigError
from p2ptun.io.server_socket import open_server_socket
from p2ptun.io.server_stream import ServerStream
from p2ptun.io.socket_options import DEFAULT_OPTIONS
from p2ptun.io.tls import ALPN, Trust
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport
from tests.io.certificates import Authority
from tests.io.test_driver import until
from tests.io.test_server_stream import HOST, echo, request, saying, serving, until_ended
from tests.io.test_tcp import Reader, reading

pytestmark = pytest.mark.trio

NAME = "turn.example"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def connecting(
    context: ssl.SSLContext, ca_file: Path | None, name: str = NAME
) -> AsyncIterator[Reader[ServerStream]]:
    """Connect to a server by a name."""
    async with serving(echo, context) as port, reading(open_socket(port, name, ca_file)) as [reader]:
        reader.base.send(request(), reader.base.server.endpoint)
        yield reader


def open_socket(port: int, name: str, ca_file: Path | None) -> ServerStream:
    server = Server(Endpoint.of(HOST, port, Transport.TLS), name)
    token = Endpoint.of("0.0.0.0", 1, Transport.TLS)  # noqa: S104 (a token)
    opened = open_server_socket(token, server, DEFAULT_OPTIONS, Trust(ca_file))
    assert isinstance(opened, ServerStream)
    return opened


@pytest.mark.parametrize("name", [NAME, "turn.example.", HOST, "::1"])
async def test_a_server_that_proves_its_name(authority: Authority, name: str) -> None:
    async with connecting(authority.serve(NAME, HOST, "::1"), authority.file, name) as reader:
        await until(lambda: len(reader.datagrams) == 1)
        assert reader.base.problem == ""


async def test_a_wildcard_names_hosts_of_one_domain(authority: Authority) -> None:
    context = authority.serve("*.turn.example")
    async with connecting(context, authority.file, "a.turn.example") as reader:
        await until(lambda: len(reader.datagrams) == 1)
    async with connecting(context, authority.file, "b.a.turn.example") as reader:
        await until_ended(reader, SendError.UNTRUSTED)


@pytest.mark.parametrize(
    ("names", "name", "reason"),
    [
        (["other.example"], NAME, "Hostname mismatch, certificate is not valid for 'turn.example'"),
        ([NAME], HOST, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        (["127.0.0.2"], HOST, "IP address mismatch"),
        ([], "common.example", "Hostname mismatch"),  # a common name is no name, RFC 9525 2
    ],
)
async def test_a_certificate_for_somebody_else(
    authority: Authority, names: list[str], name: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "p2ptun.io")
    async with connecting(authority.serve(*names), authority.file, name) as reader:
        await until_ended(reader, SendError.UNTRUSTED)
        assert reader.base.problem.startswith(f"The certificate of {name} was refused: {reason}")
        assert reader.base.problem.endswith(".")
        assert reader.base.problem in caplog.text
        assert reader.datagrams == []


async def test_a_certificate_that_has_expired(authority: Authority) -> None:
    async with connecting(authority.serve(NAME, lifetime=-timedelta(days=1)), authority.file) as reader:
        await until_ended(reader, SendError.UNTRUSTED)
        assert reader.base.problem == "The certificate of turn.example was refused: certificate has expired."


async def test_a_certificate_that_nobody_signed(authority: Authority) -> None:
    context, file = authority.serve_by_itself(NAME)
    async with connecting(context, None) as reader:
        await until_ended(reader, SendError.UNTRUSTED)
        assert "self" in reader.base.problem
    async with connecting(context, authority.file) as reader:
        await until_ended(reader, SendError.UNTRUSTED)
    async with connecting(context, file) as reader:  # who has it beforehand needs nobody to vouch for it
        await until(lambda: len(reader.datagrams) == 1)


async def test_an_authority_that_nobody_knows(authority: Authority) -> None:
    async with connecting(authority.serve(NAME), None) as reader:
        await until_ended(reader, SendError.UNTRUSTED)
        assert "unable to get local issuer certificate" in reader.base.problem


@pytest.mark.parametrize("name", ["a" * 64 + ".example", ".example", "", "a..b"])
async def test_a_name_that_no_certificate_can_have(authority: Authority, name: str) -> None:
    async with connecting(authority.serve(NAME), authority.file, name) as reader:
        await until_ended(reader, SendError.UNTRUSTED)
        assert reader.base.problem == f"No certificate can name {name}."


@pytest.mark.parametrize(("offered", "chosen"), [((ALPN,), ALPN), (("http/1.1", ALPN), ALPN), ((), None)])
async def test_the_protocol_is_offered_and_nobody_has_to_take_it(
    authority: Authority, offered: tuple[str, ...], chosen: str | None
) -> None:
    async with connecting(authority.serve(NAME, alpn=offered), authority.file) as reader:
        await until(lambda: len(reader.datagrams) == 1)
        session = getattr(reader.base._stream, "_session", None)
        assert isinstance(session, ssl.SSLObject)
        assert session.selected_alpn_protocol() == chosen


async def test_the_server_hears_which_name_is_meant(authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.serve(NAME, HOST)
    context.sni_callback = lambda _, name, __: names.append(name)
    for name in (NAME, HOST):
        async with connecting(context, authority.file, name) as reader:
            await until(lambda: len(reader.datagrams) == 1)
    assert names == [NAME, None], "an address isn't told: RFC 6066 3"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions(authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.serve(NAME)
    context.minimum_version = context.maximum_version = version
    async with connecting(context, authority.file) as reader:
        await until(lambda: len(reader.datagrams) == 1)


async def test_nothing_older_is_spoken() -> None:
    context = await Trust().context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(100), b"\x15\x03\x03\x00\x02\x02\x28"])
async def test_a_server_that_speaks_no_tls(words: bytes) -> None:
    async with serving(saying(words)) as port, reading(open_socket(port, NAME, None)) as [reader]:
        await until_ended(reader, SendError.REFUSED)
        assert reader.base.problem.startswith("TLS with turn.example failed: ")
        assert reader.base.problem.endswith(".")


async def test_a_server_that_ends_it_amid_the_handshake() -> None:
    async def hang_up(stream: trio.abc.Stream) -> None:
        await stream.receive_some(10)
        await stream.aclose()

    async with serving(hang_up) as port, reading(open_socket(port, NAME, None)) as [reader]:
        await until_ended(reader, SendError.REFUSED)


async def test_bytes_that_were_changed_on_their_way(authority: Authority) -> None:
    """Somebody between adds a record that has no valid tag."""
    raw: list[trio.SocketStream] = []
    context = authority.serve(NAME)

    async def forge(stream: trio.abc.Stream) -> None:
        session = trio.SSLStream(stream, context, server_side=True)
        data = await session.receive_some(1 << 16)
        await session.send_all(data)
        assert isinstance(stream, trio.SocketStream)
        raw.append(stream)
        await stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        await trio.sleep_forever()

    async with serving(forge) as port, reading(open_socket(port, NAME, authority.file)) as [reader]:
        reader.base.send(request(), reader.base.server.endpoint)
        await until_ended(reader, SendError.REFUSED)
        assert reader.base.problem.startswith("TLS with turn.example failed: ")
    assert raw


async def test_keys_may_be_changed_under_way(authority: Authority) -> None:
    """A server of TLS 1.3 sends tickets and may want new keys; both go by without anybody noticing."""
    context = authority.serve(NAME)
    context.num_tickets = 5
    async with connecting(context, authority.file) as reader:
        for count in range(1, 20):
            await until(lambda: len(reader.datagrams) == count)  # noqa: B023 (awaited here)
            reader.base.send(request(), reader.base.server.endpoint)


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "can't be read: No such file or directory"), ("nothing", "holds no certificate")]
)
async def test_a_file_of_authorities_that_is_no_good(tmp_path: Path, content: str | None, problem: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        await Trust(file).context()
    assert str(caught.value) == f"{file}: CA file: {problem}."
    async with serving(saying()) as port, reading(open_socket(port, NAME, file)) as [reader]:
        await until_ended(reader, SendError.UNTRUSTED)
        assert reader.base.problem == f"{file}: CA file: {problem}."


async def test_authorities_are_read_once() -> None:
    trust = Trust()
    contexts: list[ssl.SSLContext] = []

    async def take() -> None:
        contexts.append(await trust.context())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(take)
    assert len({id(each) for each in contexts}) == 1
