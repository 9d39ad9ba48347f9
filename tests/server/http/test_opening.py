"""What `p2ptun serve` opens for rooms."""

from __future__ import annotations

import resource
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from p2ptun.errors import ConfigError, DeviceError
from p2ptun.relay.config import ServerConfig
from p2ptun.server.event import Event, ListeningEvent
from p2ptun.server.http.opening import make_offer, open_http
from p2ptun.server.http.options import HttpOptions
from p2ptun.server.options import ServeOptions
from p2ptun.stun.uri import parse_uri
from p2ptun.types import Endpoint
from tests.server.serving import make_certificate

HERE = Endpoint.of("127.0.0.1", 0)
OWN = [ip_address("127.0.0.1"), ip_address("192.0.2.1")]
STUN = Endpoint.of("0.0.0.0", 3478)  # noqa: S104  # what people write
CORE = ServerConfig(relay_addresses=(ip_address("192.0.2.1"),))


def options(core: ServerConfig = CORE, files: tuple[Path, Path] | None = None) -> ServeOptions:
    return ServeOptions((STUN,), (), files, None, core)


@pytest.mark.trio
async def test_listeners_are_opened_and_told(tmp_path: Path) -> None:
    told: list[Event] = []
    files = make_certificate(tmp_path)
    server, certificate = open_http(options(files=files), HttpOptions((HERE,), (HERE,)), OWN, told.append)
    ports = [each.local.port for each in server.listeners]
    server.close()
    schemes = ("http", "https")
    assert told == [ListeningEvent(scheme, "127.0.0.1", port) for scheme, port in zip(schemes, ports, strict=True)]
    assert certificate is not None


@pytest.mark.trio
async def test_what_cannot_be_had_leaves_nothing_open() -> None:
    with pytest.raises(ConfigError, match="--store"):
        open_http(options(), HttpOptions((HERE,), store="nonsense"), OWN, print)
    elsewhere = Endpoint.of("192.0.2.77", 0)
    told: list[ListeningEvent] = []
    with pytest.raises(DeviceError):
        open_http(options(), HttpOptions((HERE, elsewhere)), OWN, told.append)  # type: ignore[arg-type]  # no other
    server, _ = open_http(options(), HttpOptions((replace(HERE, port=told[0].port),)), OWN, print)
    server.close()


@pytest.mark.trio
async def test_there_are_no_more_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in ((1000, 750), (resource.RLIM_INFINITY, 20_000)):
        monkeypatch.setattr("resource.getrlimit", lambda _, soft=soft: (soft, soft))
        server, _ = open_http(options(), HttpOptions((HERE,)), OWN, lambda _: None)
        server.close()
        assert server.reception.most == most


def uris(core: ServerConfig, http: HttpOptions) -> list[str]:
    return [str(each) for each in make_offer(options(core), http, OWN).uris]


def test_clients_are_told_of_what_they_can_use() -> None:
    shared = HttpOptions((HERE,), secret="shared")  # noqa: S106  # a test's
    relay = ["turn:192.0.2.1:3478?transport=udp", "turn:192.0.2.1:3478?transport=tcp"]
    assert uris(CORE, shared) == ["stun:192.0.2.1:3478", *relay]
    assert uris(CORE, replace(shared, secret="")) == ["stun:192.0.2.1:3478"]
    assert uris(ServerConfig(), shared) == ["stun:192.0.2.1:3478"]
    announced = replace(shared, announce=(parse_uri("turn:t.example.net"), parse_uri("stun:192.0.2.1:3478")))
    assert uris(ServerConfig(), announced) == ["stun:192.0.2.1:3478", "turn:t.example.net"]
