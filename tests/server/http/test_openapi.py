"""The description of the API."""

from __future__ import annotations

import re
import time
from typing import Any

from jsonschema import Draft202012Validator

from p2ptun.server.http.api import Api
from p2ptun.server.http.guard import Guard
from p2ptun.server.http.metrics import Metrics
from p2ptun.server.http.openapi import NAME, NUMBER, TOKEN, describe, document
from p2ptun.server.http.options import HttpLimits
from p2ptun.server.http.page import PageFacts, page_routes
from p2ptun.server.http.problem import MEDIA_TYPE, Slug
from p2ptun.server.rooms import RoomLimits, Rooms
from p2ptun.server.store.memory import MemoryStore
from tests.server.http.place import OFFER

DOCUMENT: dict[str, Any] = document()
CALLS = [(path, method, call) for path, calls in DOCUMENT["paths"].items() for method, call in calls.items()]


def test_every_call_is_described_and_nothing_else() -> None:
    rooms = Rooms(MemoryStore(RoomLimits()))
    table = Api(rooms, OFFER, Guard(HttpLimits(), time.monotonic), Metrics()).table()
    there = {(path, method.lower()) for path, methods in table.items() for method in methods}
    pages = {route.path for route in page_routes(PageFacts(rooms.count, "", ""))}
    there |= {(path, "get") for path in pages if "." not in path}  # its files are its own matter
    assert {(path, method) for path, method, _ in CALLS} == there


def test_every_call_has_a_name_a_success_and_problems() -> None:
    assert len({call["operationId"] for _, _, call in CALLS}) == len(CALLS)
    for _, _, call in CALLS:
        statuses = set(call["responses"])
        assert len(statuses & {"200", "201", "204"}) == 1
        assert {"400", "405", "408", "429", "431", "500", "503"} <= statuses
        assert ("401" in statuses) == ("security" in call)
        for status, response in call["responses"].items():
            assert response["description"]
            assert (int(status) >= 400) == (MEDIA_TYPE in response.get("content", {}))


def test_every_problem_is_there_somewhere() -> None:
    text = describe().decode()
    for slug in Slug:
        assert f"urn:p2ptun:problem:{slug.value}" in text


def test_references_lead_somewhere_and_schemas_are_schemas() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name in re.findall(r"#/components/schemas/(\w+)", describe().decode()):
        assert name in schemas
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_forms_are_those_of_rooms_and_tokens() -> None:
    assert re.search(NUMBER, "42")
    assert not re.search(NUMBER, "042")
    assert re.search(NAME, "0f" * 32)
    assert re.search(TOKEN, "42." + "a" * 43)
    assert not re.search(TOKEN, "42." + "a" * 42)
