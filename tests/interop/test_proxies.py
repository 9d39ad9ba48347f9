"""`p2ptun serve` behind Caddy and nginx, as examples/ configures them (Debian: caddy, nginx, libnginx-mod-stream)."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator

import httpx
import pytest

from p2ptun.stun.attribute import XOR_MAPPED_ADDRESS
from p2ptun.stun.message import Method
from tests.interop.reverse_proxy import NAME, Caddy, Nginx, Proxy
from tests.interop.web_serving import WebServing
from tests.server.serving import ADDRESS
from tests.server.turn_client import TIMEOUT, TurnClient

ENTRIES = 8  # rooms that one address may open or join in a minute
TRUSTED = ("--trusted-proxy", f"{ADDRESS}/32", "--address-entries", str(ENTRIES))

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl"),
    pytest.mark.xdist_group("proxies"),  # they share a server and two proxies
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServing]:
    with WebServing(tmp_path_factory.mktemp("server"), *TRUSTED, has_tls=True) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, server: WebServing) -> Iterator[Proxy]:
    if Nginx.is_missing():
        pytest.skip("needs nginx and libnginx-mod-stream")
    with Nginx(tmp_path_factory.mktemp("nginx"), server) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory, server: WebServing) -> Iterator[Proxy]:
    if Caddy.is_missing():
        pytest.skip("needs caddy")
    with Caddy(tmp_path_factory.mktemp("caddy"), server) as proxy:
        yield proxy


@pytest.fixture(params=["caddy", "nginx"])
def proxy(request: pytest.FixtureRequest) -> Proxy:
    proxy: Proxy = request.getfixturevalue(request.param)
    return proxy


def address_of(proxy: Proxy, number: int) -> str:
    """Give each test of each proxy an address of its own to come from: the limits are for addresses."""
    return f"127.0.{1 + isinstance(proxy, Nginx)}.{number}"


def client(proxy: Proxy, address: str) -> httpx.Client:
    """Connect from one of the many addresses of loopback."""
    context = ssl.create_default_context(cafile=str(proxy.certificate))
    transport = httpx.HTTPTransport(verify=context, local_address=address)
    return httpx.Client(base_url=proxy.url, transport=transport, timeout=TIMEOUT)


def connect(proxy: Proxy, *protocols: str) -> ssl.SSLSocket:
    """Begin TLS with a proxy, and offer it some protocols to speak."""
    context = ssl.create_default_context(cafile=str(proxy.certificate))
    if protocols:
        context.set_alpn_protocols(protocols)
    return context.wrap_socket(socket.create_connection((ADDRESS, proxy.port), TIMEOUT), server_hostname=NAME)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_two_meet_in_a_room(proxy: Proxy) -> None:
    with client(proxy, address_of(proxy, 1)) as one, client(proxy, address_of(proxy, 2)) as other:
        room = one.post("/v1/rooms").json()
        messages = f"/v1/rooms/{room['room']}/messages"
        poll = {"after": 0, "wait": 10}
        heard: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: heard.append(one.get(messages, params=poll, headers=bearer(room["side_token"])))
        )
        waiting.start()
        joined = other.post(f"/v1/rooms/{room['room']}/sides", content=b"opening \0\xff").json()
        waiting.join()
        entries = heard[0].json()["messages"]
        assert base64.b64decode(next(entry["body"] for entry in entries if "body" in entry)) == b"opening \0\xff"
        idle = other.get(messages, params={"after": 0, "wait": 1}, headers=bearer(joined["side_token"]))
        assert idle.json() == {"messages": []}
        answer = one.post(messages, content=bytes(16384), headers=bearer(room["side_token"]))
        assert answer.status_code == 201
        got = other.get(messages, params={"after": 0, "wait": 1}, headers=bearer(joined["side_token"])).json()
        assert len(base64.b64decode(got["messages"][0]["body"])) == 16384
        ended = one.delete(f"/v1/rooms/{room['room']}?reason=done", headers=bearer(room["side_token"]))
        assert ended.status_code == 204
        gone = other.get(messages, params=poll, headers=bearer(joined["side_token"]))
        assert (gone.status_code, gone.json()["reason"]) == (410, "done")


def test_limits_are_for_the_client_and_not_for_the_proxy(proxy: Proxy) -> None:
    """Whoever has used up what his address may is refused, whatever he says he is, and nobody else is."""
    with client(proxy, address_of(proxy, 3)) as greedy, client(proxy, address_of(proxy, 4)) as other:
        for _ in range(ENTRIES):
            assert greedy.post("/v1/rooms").status_code == 201
        for claim in ({}, {"X-Forwarded-For": "203.0.113.1"}, {"Forwarded": "for=203.0.113.1"}):
            refused = greedy.post("/v1/rooms", headers=claim)
            assert refused.status_code == 429
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["retry-after"]) > 0
        assert other.post("/v1/rooms").status_code == 201


def test_problems_are_the_servers_own(proxy: Proxy) -> None:
    with client(proxy, address_of(proxy, 5)) as one:
        room = one.post("/v1/rooms").json()
        large = one.post(f"/v1/rooms/{room['room']}/messages", content=bytes(16385), headers=bearer(room["side_token"]))
        assert large.status_code == 413
        assert json.loads(large.content)["remedy"]


def test_the_page_and_its_policy_come_through(proxy: Proxy) -> None:
    with client(proxy, address_of(proxy, 6)) as one:
        page = one.get("/")
        assert "p2ptun" in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none';")
        assert page.headers["strict-transport-security"]
        style = one.get("/page.css")
        assert one.get("/page.css", headers={"If-None-Match": style.headers["etag"]}).status_code == 304
        assert one.get("/healthz").json() == {"status": "ok"}
        assert one.get("/metrics").status_code == 404


def test_plain_http_leads_to_https(proxy: Proxy) -> None:
    answer = httpx.get(f"http://{NAME}:{proxy.plain_port}/healthz")
    assert answer.status_code == 308
    assert answer.headers["location"].startswith(f"https://{NAME}")


@pytest.mark.parametrize("protocol", ["stun.turn", "stun.nat-discovery"])
def test_turn_shares_the_port_with_https(nginx: Proxy, protocol: str) -> None:
    with connect(nginx, protocol) as stream:
        assert stream.selected_alpn_protocol() == protocol
        turn = TurnClient(stream)
        assert turn.request(Method.BINDING).get(XOR_MAPPED_ADDRESS) is not None
        assert turn.allocate().address.is_loopback
        turn.release()


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=str)
def test_who_does_not_ask_for_turn_gets_https(nginx: Proxy, protocols: tuple[str, ...]) -> None:
    with connect(nginx, *protocols) as stream:
        stream.sendall(f"GET /healthz HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: stream.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"status":"ok"}')


def test_browsers_get_http2(nginx: Proxy) -> None:
    with connect(nginx, "h2", "http/1.1") as stream:
        assert stream.selected_alpn_protocol() == "h2"


def test_a_name_like_that_of_turn_is_another(nginx: Proxy) -> None:
    """`p2ptun serve` would take it, as it takes who names nothing; nginx's HTTPS refuses it."""
    with pytest.raises(ssl.SSLError):
        connect(nginx, "nostun.turn")
