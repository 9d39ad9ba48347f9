"""What every request meets: the gate, the table of calls, problems, headers."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from p2ptun.server.http.options import HttpLimits
from p2ptun.server.store.base import RoomLimits, Tally
from p2ptun.server.store.memory import MemoryStore
from tests.server.http.place import Place, problem_of, serving, until

PATHS = {
    "/v1/rooms": "POST",
    "/v1/rooms/7": "DELETE",
    "/v1/rooms/7/sides": "POST, PUT",
    "/v1/rooms/7/messages": "GET, HEAD, POST",
    "/v1/ice": "GET, HEAD",
    "/healthz": "GET, HEAD",
    "/metrics": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    "/": "GET, HEAD",
}


@pytest.mark.trio
async def test_methods_that_a_path_does_not_take_are_named() -> None:
    async with serving() as place:
        for path, allowed in PATHS.items():
            for method in ("PATCH", "OPTIONS", "TRACE", "BREW"):
                answer = await place.client.request(method, path)
                assert (answer.status_code, problem_of(answer)) == (405, "method-not-allowed")
                assert answer.headers["allow"] == allowed


@pytest.mark.trio
async def test_nothing_is_kept_and_nothing_is_guessed() -> None:
    async with serving() as place:
        for answer in (
            await place.client.post("/v1/rooms"),
            await place.client.get("/healthz"),
            await place.client.get("/nothing"),
            await place.client.get("/v1/ice"),
            await place.client.get("/metrics"),
        ):
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers
        assert (await place.client.get("/")).headers["x-content-type-options"] == "nosniff"


@pytest.mark.trio
async def test_head_is_get_without_a_body() -> None:
    async with serving() as place:
        for path in ("/healthz", "/openapi.json", "/"):
            got, head = await place.client.get(path), await place.client.head(path)
            assert head.status_code == 200
            assert head.content == b""
            assert head.headers["content-length"] == got.headers["content-length"]


TRICKS = (
    *(
        "/v1/rooms/",
        "/v1/rooms/7/",
        "//v1/rooms",
        "/v1//rooms",
        "/v1/./rooms",
        "/v1/rooms/7/../7/messages",
        "/..",
        "/.",
    ),
    *("/v1/rooms%2f7/messages", "/v1/rooms/7%2fmessages", "/v1/rooms/%2e%2e/messages", "/%76%31/rooms", "/v1/rooms%00"),
    *("/v1/rooms/7%00/messages", "/v1/rooms/%D9%A7/messages", "/v1/rooms/%F0%9F%92%A9", "/v1\\rooms", "/v1/rooms;a=b"),
    *("/healthz/", "/healthz%20", "/HEALTHZ", "/v1/rooms/" + "7" * 300, "/" + "a/" * 2000, "*", "healthz", "/healthz|"),
    *("/v1/rooms/7/messages/", "/v1/rooms/07/messages", "/v1/rooms/0/messages", "/v1/rooms/-7/messages", "/page.py"),
    *("/v1/rooms/1e3/messages", "/v1/rooms/+7/messages", "/v1/rooms/7777777777/messages", "/v1/rooms/7.0/messages"),
    *("/v1/rooms/" + "A" * 64 + "/messages", "/v1/rooms/" + "g" * 64 + "/messages", "/page.html", "/../etc/passwd"),
)


@pytest.mark.trio
async def test_no_trick_with_paths_leads_anywhere() -> None:
    async with serving() as place:
        for path in TRICKS:
            answer = await place.exchange(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 404"), path
            assert json.loads(body)["type"] in ("urn:p2ptun:problem:not-found", "urn:p2ptun:problem:room-unknown")


@pytest.mark.trio
async def test_a_whole_url_is_a_path() -> None:
    async with serving() as place:
        for url in (b"http://rv.example.net/healthz", b"HTTP://[2001:db8::1]:80/healthz?x=y"):
            answer = await place.exchange(b"GET " + url + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer


class Broken(MemoryStore):
    """A store with a mistake in it."""

    async def tally(self, now: float) -> Tally:
        raise ZeroDivisionError("secret")


@pytest.mark.trio
async def test_a_mistake_of_ours_is_a_problem_too(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(store=Broken(RoomLimits())) as place:
        answer = await place.client.get("/healthz")
        assert (answer.status_code, problem_of(answer)) == (500, "internal")
        assert "secret" not in answer.text
        await until(lambda: "a request failed" in caplog.text)
        await place.open()


@pytest.mark.trio
async def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    async with serving(HttpLimits(address_requests=5)) as place:
        answers = [await place.client.get("/nowhere") for _ in range(6)]
        assert [each.status_code for each in answers] == [404] * 5 + [429]
        assert problem_of(answers[-1]) == "too-many-requests"
        assert int(answers[-1].headers["retry-after"]) in range(10, 15)


async def status(place: Place, **headers: str) -> int:
    answer: httpx.Response = await place.client.get("/nowhere", headers=headers)
    return answer.status_code


@pytest.mark.trio
async def test_clients_behind_a_proxy_have_limits_of_their_own() -> None:
    async with serving(HttpLimits(address_requests=1), proxies=["127.0.0.0/8"]) as place:
        forwarded = {"x-forwarded-for": "203.0.113.9, 198.51.100.1"}
        assert await status(place, **forwarded) == 404
        assert await status(place, **forwarded) == 429
        assert await status(place, **{"x-forwarded-for": "203.0.113.10, 198.51.100.1"}) == 429
        assert await status(place, **{"x-forwarded-for": "198.51.100.2"}) == 404
        assert await status(place, forwarded='for="[2001:db8::7]:1234";proto=https') == 404
        assert await status(place, forwarded="for=198.51.100.1") == 429


@pytest.mark.trio
async def test_nobody_else_is_believed() -> None:
    async with serving(HttpLimits(address_requests=1), proxies=["192.0.2.0/24"]) as place:
        assert await status(place, **{"x-forwarded-for": "198.51.100.1"}) == 404
        assert await status(place, **{"x-forwarded-for": "198.51.100.2"}) == 429


@pytest.mark.trio
async def test_requests_are_counted_by_what_they_asked_for() -> None:
    async with serving() as place:
        room = await place.open()
        await place.client.get(f"/v1/rooms/{room['room']}/messages")
        await place.client.get("/somewhere/else")
        await place.client.request("BREW", "/healthz")
        metrics = (await place.client.get("/metrics")).text
        assert 'p2ptun_http_requests_total{method="POST",route="/v1/rooms",status="201"} 1.0' in metrics
        assert 'p2ptun_http_requests_total{method="GET",route="/v1/rooms/{room}/messages",status="401"} 1.0' in metrics
        assert 'p2ptun_http_requests_total{method="GET",route="other",status="404"} 1.0' in metrics
        assert 'p2ptun_http_requests_total{method="other",route="/healthz",status="405"} 1.0' in metrics
        assert not re.search(rf'"{room["room"]}"|else|{room["side_token"]}', metrics)
