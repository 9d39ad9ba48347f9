"""The description of the API (OpenAPI 3.1), served at `/openapi.json`: programs check clients and this server by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from p2ptun import __version__
from p2ptun.rendezvous.base import MAX_MESSAGE_SIZE, BurnReason, Notice
from p2ptun.server.http.body import MAX_WAIT, OCTETS
from p2ptun.server.http.page import COUNTED
from p2ptun.server.http.problem import MEDIA_TYPE, URN, Slug

Json: TypeAlias = dict[str, Any]

NUMBER: Final = "^[1-9][0-9]{0,8}$"
NAME: Final = "^[0-9a-f]{64}$"
TOKEN: Final = "^([1-9][0-9]{0,8}|[0-9a-f]{64})\\.[A-Za-z0-9_-]{43}$"  # noqa: S105  # a form, no token

EVERYWHERE: Final = (
    *(Slug.BAD_REQUEST, Slug.TOO_SLOW, Slug.TOO_MANY_REQUESTS, Slug.HEAD_TOO_LARGE, Slug.INTERNAL),
    *(Slug.METHOD_NOT_ALLOWED, Slug.UNAVAILABLE),
)
"""Any call may be answered with these."""

IN_A_ROOM: Final = (Slug.ROOM_UNKNOWN, Slug.NOT_FOUND, Slug.ROOM_BURNT)
WITH_A_TOKEN: Final = (Slug.UNAUTHORIZED,)
WITH_A_BODY: Final = (Slug.BODY_TOO_LARGE, Slug.MEDIA_TYPE)

_MEANING: Final = {
    Slug.BAD_REQUEST: "What was sent can't be understood.",
    Slug.UNAUTHORIZED: "There is no token, or it is none of a side of this room.",
    Slug.NOT_FOUND: "There is nothing at this path.",
    Slug.ROOM_UNKNOWN: "There is no such room, or it is long over.",
    Slug.METHOD_NOT_ALLOWED: "The path doesn't take this method.",
    Slug.TOO_SLOW: "The request didn't come in time.",
    Slug.ROOM_CROWDED: "Two sides are in the room. Both get a notice, once.",
    Slug.ROOM_BURNT: "A side ended the room; `reason` says why.",
    Slug.BODY_TOO_LARGE: "The body is too large. The rest of it isn't read.",
    Slug.MEDIA_TYPE: f"A message is sent as {OCTETS}.",
    Slug.MAILBOX_FULL: "The other side has too many unread messages.",
    Slug.TOO_MANY_REQUESTS: "This address asks too often.",
    Slug.TOO_MANY_ROOMS: "This address has too many rooms.",
    Slug.HEAD_TOO_LARGE: "The head of the request is too large.",
    Slug.INTERNAL: "A mistake of the server.",
    Slug.FULL: "The server has no room for more.",
    Slug.UNAVAILABLE: "The server can't reach its store.",
}


def describe() -> bytes:
    """Write the description."""
    return msgspec.json.encode(document())


def document() -> Json:
    """Build the description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "p2ptun rendezvous",
            "version": __version__,
            "description": "Rooms in which two sides leave sealed messages for each other until they have met.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "side": {"type": "http", "scheme": "bearer", "description": "The token of a side: ROOM.SECRET"}
            },
        },
    }


def _paths() -> Json:
    return {
        "/v1/rooms": {"post": _open()},
        "/v1/rooms/{room}": {"delete": _burn()},
        "/v1/rooms/{room}/sides": {"post": _join(), "put": _enter()},
        "/v1/rooms/{room}/messages": {"get": _read(), "post": _post()},
        "/v1/ice": {"get": _ice()},
        "/healthz": {"get": _call("health", "Tell whether all is well.", {"200": _json("All is well.", "Health")})},
        "/metrics": {"get": _plain("metrics", "Tell Prometheus.", "text/plain")},
        "/counts": {"get": _call("counts", "Tell how many there are.", {"200": _json("They follow.", "Counts")})},
        "/": {"get": _plain("page", "Tell people what this is.", "text/html")},
        "/openapi.json": {"get": _plain("openapi", "Describe all this.", "application/json")},
    }


def _open() -> Json:
    success = {"201": _json("The room is open.", "Seat")}
    refusals = (Slug.BODY_TOO_LARGE, Slug.TOO_MANY_ROOMS, Slug.FULL)
    return _call("open", "Open a numbered room.", success, refusals)


def _join() -> Json:
    success = {"201": _json("The side is in, its first message left.", "Joined")}
    refusals = (*IN_A_ROOM, *WITH_A_BODY, *WITH_A_TOKEN, Slug.ROOM_CROWDED, Slug.MAILBOX_FULL, Slug.FULL)
    summary = "Join a numbered room as its second side; once more with the same token of one's own, if no answer came."
    call = _call("join", summary, success, refusals)
    return {**call, "parameters": [_room(NUMBER)], "requestBody": _message(0), **_PERHAPS_SECURED}


def _enter() -> Json:
    summary = "Enter a named room as the side that the token is; what that side left before is forgotten."
    success = {"200": _json("The side is in, its first message left.", "Joined")}
    refusals = (*IN_A_ROOM, *WITH_A_BODY, *WITH_A_TOKEN, Slug.ROOM_CROWDED, Slug.MAILBOX_FULL)
    call = _call("enter", summary, success, (*refusals, Slug.TOO_MANY_ROOMS, Slug.FULL))
    return {**call, "parameters": [_room(NAME)], "requestBody": _message(0), **_SECURED}


def _post() -> Json:
    success = {"201": _json("The message is left.", "Sequence")}
    refusals = (*IN_A_ROOM, *WITH_A_BODY, *WITH_A_TOKEN, Slug.MAILBOX_FULL, Slug.FULL)
    call = _call("post", "Leave a message for the other side.", success, refusals)
    return {**call, "parameters": [_room(f"{NUMBER}|{NAME}")], "requestBody": _message(1), **_SECURED}


def _read() -> Json:
    summary = "Read the messages of the other side, and the notices of the room, or wait for some."
    success = {"200": _json("What came; nothing, when that took too long.", "Messages")}
    call = _call("read", summary, success, (*IN_A_ROOM, *WITH_A_TOKEN, Slug.FULL))
    parameters = [
        _room(f"{NUMBER}|{NAME}"),
        _query("after", "The sequence number of the last entry seen.", _integer(0, 10**15 - 1, 0)),
        _query("wait", "Seconds to wait for an entry.", _integer(0, int(MAX_WAIT), 0)),
    ]
    return {**call, "parameters": parameters, **_SECURED}


def _burn() -> Json:
    reasons = {"type": "string", "enum": [each.value for each in BurnReason], "default": BurnReason.LEFT.value}
    call = _call("burn", "End a room.", {"204": {"description": "It is over."}}, (*IN_A_ROOM, *WITH_A_TOKEN))
    parameters = [_room(f"{NUMBER}|{NAME}"), _query("reason", "Why.", reasons)]
    return {**call, "parameters": parameters, **_SECURED}


def _ice() -> Json:
    summary = "Ask for STUN and TURN servers, with credentials for a while."
    success = {"200": _json("What WebRTC calls iceServers.", "Ice")}
    return {**_call("ice", summary, success, (Slug.ROOM_BURNT, *WITH_A_TOKEN)), **_SECURED}


def _plain(name: str, summary: str, media_type: str) -> Json:
    return _call(name, summary, {"200": {"description": "It follows.", "content": {media_type: {}}}})


_SECURED: Final[Json] = {"security": [{"side": []}]}
_PERHAPS_SECURED: Final[Json] = {"security": [{}, {"side": []}]}


def _call(name: str, summary: str, success: Json, refusals: Iterable[Slug] = ()) -> Json:
    """Describe a call: what it answers when it succeeds, and all that may be in the way."""
    by_status: dict[int, list[Slug]] = {}
    for slug in dict.fromkeys((*refusals, *EVERYWHERE)):
        by_status.setdefault(slug.status, []).append(slug)
    problems = {str(status): _problem(by_status[status]) for status in sorted(by_status)}
    return {"operationId": name, "summary": summary, "responses": {**success, **problems}}


def _problem(slugs: list[Slug]) -> Json:
    types = [URN + each.value for each in slugs]
    schema = {"allOf": [_schema("Problem"), {"properties": {"type": {"enum": types}}}]}
    described: Json = {
        "description": " Or: ".join(_MEANING[each] for each in slugs),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    headers = {
        401: {"WWW-Authenticate": "Bearer."},
        405: {"Allow": "What the path takes."},
        429: {"Retry-After": "Seconds after which to ask again."},
        503: {"Retry-After": "Seconds after which to ask again."},
    }.get(slugs[0].status)
    if headers:
        described["headers"] = {name: _header(name, what) for name, what in headers.items()}
    return described


def _header(name: str, what: str) -> Json:
    schema = _integer(1) if name == "Retry-After" else {"type": "string"}
    return {"description": what, "schema": schema, "required": True}


def _json(what: str, name: str) -> Json:
    return {"description": what, "content": {"application/json": {"schema": _schema(name)}}}


def _schema(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _room(pattern: str) -> Json:
    return {"name": "room", "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _query(name: str, what: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": what, "schema": schema}


def _integer(least: int, most: int | None = None, default: int | None = None) -> Json:
    schema: Json = {"type": "integer", "minimum": least}
    schema |= {} if most is None else {"maximum": most}
    return schema | ({} if default is None else {"default": default})


def _message(least: int) -> Json:
    """Describe a body: opaque bytes."""
    schema = {"type": "string", "format": "binary", "minLength": least, "maxLength": MAX_MESSAGE_SIZE}
    return {"required": least > 0, "content": {OCTETS: {"schema": schema}}}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _array(name: str) -> Json:
    return {"type": "array", "items": _schema(name)}


def _schemas() -> Json:
    text: Json = {"type": "string"}
    seat = {"room": text, "side_token": {**text, "pattern": TOKEN}, "ttl": _integer(1), "ice": _schema("Ice")}
    sequence = _integer(1)
    message = _object(sequence=sequence, body={**text, "contentEncoding": "base64"})
    notice = _object(sequence=sequence, notice={**text, "enum": [each.value for each in Notice]})
    server = _object(urls={"type": "array", "items": text, "minItems": 1})
    relay = {**server["properties"], "username": text, "credential": text}
    problem = _object(
        type={**text, "enum": [URN + each.value for each in Slug]},
        title=text,
        status={**_integer(400), "maximum": 599},
        detail=text,
        remedy=text,
    )
    problem["properties"]["reason"] = {**text, "enum": [each.value for each in BurnReason]}
    return {
        "Seat": _object(**seat),
        "Joined": _object(**seat, messages=_array("Entry")),
        "Messages": _object(messages=_array("Entry")),
        "Sequence": _object(sequence=sequence),
        "Entry": {"oneOf": [message, notice]},
        "Ice": _object(servers=_array("IceServer"), ttl={"type": ["integer", "null"]}),
        "IceServer": {"oneOf": [server, _object(**relay)]},
        "Health": _object(status={**text, "const": "ok"}),
        "Counts": _object(**{name: _integer(0) for name in COUNTED}),
        "Problem": problem,
    }
