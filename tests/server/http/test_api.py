"""The calls, each over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import trio

from p2ptun.server.http.guard import MISS_COST
from p2ptun.server.http.options import HttpLimits
from p2ptun.server.refusal import Kind, Refusal
from p2ptun.server.rooms import RoomLimits
from p2ptun.server.store.base import Tally
from p2ptun.server.store.memory import MemoryStore
from tests.server.http.place import NAME, OCTETS, Place, bearer, problem_of, serving

ONE, TWO, THREE = (f"{NAME}.{letter * 43}" for letter in "xyz")


async def read(place: Place, token: str, after: int = 0, wait: float = 0) -> list[dict[str, Any]]:
    url = f"/v1/rooms/{token.partition('.')[0]}/messages?after={after}&wait={wait}"
    answer = await place.client.get(url, headers=bearer(token), timeout=30)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["messages"])


async def post(place: Place, token: str, message: bytes) -> int:
    url = f"/v1/rooms/{token.partition('.')[0]}/messages"
    answer = await place.client.post(url, content=message, headers=bearer(token) | OCTETS)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["sequence"])


def message(sequence: int, body: bytes) -> dict[str, Any]:
    return {"sequence": sequence, "body": base64.b64encode(body).decode()}


@pytest.mark.trio
async def test_two_sides_meet_in_a_numbered_room() -> None:
    async with serving() as place:
        room = await place.open()
        assert room["side_token"].startswith(room["room"] + ".")
        assert room["ttl"] == 3600
        joining = await place.client.post(f"/v1/rooms/{room['room']}/sides", content=b"\0hi", headers=OCTETS)
        assert joining.status_code == 201
        joined = joining.json()
        assert joined["messages"] == []
        assert await read(place, room["side_token"]) == [{"sequence": 1, "notice": "joined"}, message(2, b"\0hi")]
        assert await post(place, room["side_token"], b"hello") == 1
        assert await read(place, joined["side_token"]) == [message(1, b"hello")]
        assert await read(place, joined["side_token"], after=1) == []


@pytest.mark.trio
async def test_a_third_is_told_and_so_are_the_two() -> None:
    async with serving() as place:
        room = await place.open()
        path = f"/v1/rooms/{room['room']}/sides"
        assert (await place.client.post(path)).status_code == 201
        third = await place.client.post(path)
        assert (third.status_code, problem_of(third)) == (409, "room-crowded")
        assert [each.get("notice") for each in await read(place, room["side_token"])] == ["joined", "crowded"]


@pytest.mark.trio
async def test_a_poll_comes_back_with_what_it_waited_for() -> None:
    async with serving() as place:
        room = await place.open()
        joined = (await place.client.post(f"/v1/rooms/{room['room']}/sides")).json()
        found: list[dict[str, Any]] = []

        async def poll() -> None:
            found.extend(await read(place, joined["side_token"], wait=25))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poll)
                await place.until_waiting()
                await post(place, room["side_token"], b"at last")
        assert found == [message(1, b"at last")]


@pytest.mark.trio
async def test_a_named_room_is_entered_by_tokens_of_ones_own() -> None:
    async with serving() as place:
        for token, opening in ((ONE, b"one"), (TWO, b"two"), (ONE, b"one again")):
            headers = bearer(token) | OCTETS
            answer = await place.client.put(f"/v1/rooms/{NAME}/sides", content=opening, headers=headers)
            assert answer.status_code == 200
            assert answer.json()["side_token"] == token
        bodies = [each["body"] for each in await read(place, TWO) if "body" in each]
        assert bodies == [base64.b64encode(b"one again").decode()]
        third = await place.client.put(f"/v1/rooms/{NAME}/sides", headers=bearer(THREE))
        assert (third.status_code, problem_of(third)) == (409, "room-crowded")


@pytest.mark.trio
@pytest.mark.parametrize("reason", ["done", "wrong-code", "silent", "left"])
async def test_a_burnt_room_says_why(reason: str) -> None:
    async with serving() as place:
        room = await place.open()
        path = f"/v1/rooms/{room['room']}"
        answer = await place.client.delete(f"{path}?reason={reason}", headers=bearer(room["side_token"]))
        assert (answer.status_code, answer.content) == (204, b"")
        for gone in (
            await place.client.post(f"{path}/sides"),
            await place.client.get(f"{path}/messages", headers=bearer(room["side_token"])),
            await place.client.get("/v1/ice", headers=bearer(room["side_token"])),
        ):
            assert (gone.status_code, problem_of(gone), gone.json()["reason"]) == (410, "room-burnt", reason)


@pytest.mark.trio
async def test_servers_are_told_with_credentials() -> None:
    async with serving() as place:
        room = await place.open()
        ice = (await place.client.get("/v1/ice", headers=bearer(room["side_token"]))).json()
        assert ice["ttl"] == 86400
        assert ice["servers"][0] == {"urls": ["stun:rv.example.net"]}
        assert ice["servers"][1]["credential"]
        assert room["ice"]["servers"][0] == ice["servers"][0]


@pytest.mark.trio
@pytest.mark.parametrize("token", ["7", "7.x", "x.y", f"7.{'a' * 43}", f"{NAME}.{'a' * 43}"])
async def test_who_has_no_token_of_a_room_is_told_of_no_servers(token: str) -> None:
    async with serving() as place:
        answer = await place.client.get("/v1/ice", headers=bearer(token))
        assert (answer.status_code, problem_of(answer)) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.trio
async def test_the_token_of_another_side_opens_nothing() -> None:
    async with serving() as place:
        room, other = await place.open(), await place.open()
        for token in (other["side_token"], room["side_token"][:-1] + "!", f"{room['room']}.{'a' * 43}"):
            headers = bearer(token) | OCTETS
            path = f"/v1/rooms/{room['room']}"
            for answer in (
                await place.client.get(f"{path}/messages", headers=headers),
                await place.client.post(f"{path}/messages", content=b"x", headers=headers),
                await place.client.delete(path, headers=headers),
            ):
                assert (answer.status_code, problem_of(answer)) == (401, "unauthorized")


@pytest.mark.trio
async def test_an_address_has_so_many_rooms_at_a_time() -> None:
    async with serving(HttpLimits(address_rooms=2)) as place:
        rooms = [await place.open() for _ in range(2)]
        refused = await place.client.post("/v1/rooms")
        assert (refused.status_code, problem_of(refused)) == (429, "too-many-rooms")
        assert int(refused.headers["retry-after"]) > 0
        path = f"/v1/rooms/{rooms[0]['room']}"
        assert (await place.client.delete(path, headers=bearer(rooms[0]["side_token"]))).status_code == 204
        await place.open()


@pytest.mark.trio
async def test_an_address_opens_so_many_rooms_a_minute() -> None:
    async with serving(HttpLimits(address_entries=3)) as place:
        answers = [await place.client.post("/v1/rooms") for _ in range(4)]
        assert [each.status_code for each in answers] == [201] * 3 + [429]
        assert problem_of(answers[-1]) == "too-many-requests"
        assert int(answers[-1].headers["retry-after"]) in range(18, 23)


@pytest.mark.trio
async def test_who_tries_one_number_after_the_other_comes_into_few_rooms() -> None:
    tries = 20
    async with serving() as place:
        room = await place.open()
        numbers = [number for number in range(1, tries + 1) if str(number) != room["room"]]
        answers = [await place.client.post(f"/v1/rooms/{number}/sides") for number in numbers]
        missed = [problem_of(each) for each in answers].count("room-unknown")
        assert missed == HttpLimits().address_entries // (1 + MISS_COST)
        assert problem_of(await place.client.post(f"/v1/rooms/{room['room']}/sides")) == "too-many-requests"


@pytest.mark.trio
async def test_a_full_mailbox_passes() -> None:
    async with serving(store=MemoryStore(RoomLimits(messages=1))) as place:
        room = await place.open()
        await place.client.post(f"/v1/rooms/{room['room']}/sides")
        await post(place, room["side_token"], b"x")
        url, headers = f"/v1/rooms/{room['room']}/messages", bearer(room["side_token"]) | OCTETS
        refused = await place.client.post(url, content=b"y", headers=headers)
        assert (refused.status_code, problem_of(refused)) == (429, "mailbox-full")


class Away(MemoryStore):
    """A store that can't be reached."""

    async def tally(self, now: float) -> Tally:
        raise Refusal(Kind.UNAVAILABLE)


@pytest.mark.trio
async def test_a_store_that_is_away_is_told() -> None:
    async with serving(store=Away(RoomLimits())) as place:
        answer = await place.client.get("/healthz")
        assert (answer.status_code, problem_of(answer)) == (503, "unavailable")
        assert answer.headers["retry-after"]
        metrics = (await place.client.get("/metrics")).text
        assert "p2ptun_store_up 0.0" in metrics


@pytest.mark.trio
async def test_what_there_is_is_described() -> None:
    async with serving() as place:
        description = (await place.client.get("/openapi.json")).json()
        assert "/v1/rooms/{room}/messages" in description["paths"]
        assert (await place.client.get("/healthz")).json() == {"status": "ok"}
