"""The server as a whole: how it begins, tells, and ends."""

from __future__ import annotations

import httpx
import pytest
import trio

from p2ptun.server.event import RoomsEvent
from p2ptun.server.http import serving as module
from p2ptun.server.http.options import HttpOptions
from p2ptun.server.http.serving import HttpServer
from p2ptun.server.rooms import RoomLimits, Rooms
from p2ptun.server.store.base import Changed, Warn
from p2ptun.server.store.memory import MemoryStore
from p2ptun.types import Endpoint
from tests.server.http.place import ADDRESS, OFFER, bearer, read_all, serving, until


@pytest.mark.trio
async def test_who_waits_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAREWELL", 10.0)  # it ends before
    async with serving() as place:
        room = await place.open()
        answers: list[httpx.Response] = []

        async def poll() -> None:
            url = f"/v1/rooms/{room['room']}/messages?wait=25"
            answers.append(await place.client.get(url, headers=bearer(room["side_token"]), timeout=30))

        idle, begun = await place.connect(), await place.connect()
        await begun.send_all(b"GET / HT")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await place.until_waiting()
            with trio.fail_after(20):
                await place.server.finish()
        assert answers[0].json() == {"messages": []}
        assert answers[0].headers["connection"] == "close"
        assert await read_all(idle) == b""
        assert await read_all(begun) == b""
        with pytest.raises(OSError, match="connect"):
            await place.connect()
        await idle.aclose()
        await begun.aclose()


@pytest.mark.trio
async def test_it_ends_though_clients_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAREWELL", 0.05)
    async with serving() as place, await place.connect() as stream:
        await stream.send_all(b"POST /v1/rooms/7/sides HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        await place.until(1)
        with trio.fail_after(5):
            await place.server.finish()


@pytest.mark.trio
async def test_how_much_there_is_is_told_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_INTERVAL", 0.01)
    told: list[RoomsEvent] = []
    async with serving() as place:
        await place.open()
        await place.client.get("/nowhere")

        async def report() -> None:
            await place.server.report(told.append)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(report)
            await until(lambda: len(told) == 2)
            nursery.cancel_scope.cancel()
    assert told == [RoomsEvent(1, 0, 0, 0, {"not-found": 1}), RoomsEvent(1, 0, 0, 0, {})]


class Late(MemoryStore):
    """A store that isn't there yet."""

    async def run(
        self, changed: Changed, warn: Warn, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await trio.sleep_forever()


@pytest.mark.trio
async def test_a_store_that_is_late_is_waited_for_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORE_PATIENCE", 0.01)
    async with serving(store=Late(RoomLimits())) as place:
        assert (await place.client.get("/metrics")).status_code == 200


@pytest.mark.trio
@pytest.mark.parametrize(
    ("name", "ports", "url"),
    [
        ("", [443], ""),
        ("rv.example.net", [], "https://rv.example.net"),
        ("rv.example.net", [443, 8443], "https://rv.example.net"),
        ("rv.example.net", [8443], "https://rv.example.net:8443"),
    ],
)
async def test_people_are_told_the_address_that_others_have(name: str, ports: list[int], url: str) -> None:
    listen = tuple(Endpoint.of(ADDRESS, port) for port in ports)
    server = HttpServer(HttpOptions((), listen, public_name=name), Rooms(MemoryStore(RoomLimits())), OFFER)
    listener = server.open(Endpoint.of(ADDRESS, 0), None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        async with httpx.AsyncClient(trust_env=False) as client:
            page = (await client.get(f"http://{ADDRESS}:{listener.local.port}/")).text
        await server.finish()
    assert (url in page) if url else ("https://rv" not in page)
