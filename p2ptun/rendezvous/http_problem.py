"""From what goes wrong with a request to what people are told: the server's refusals, and those of the network."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies_environment

from p2ptun.errors import ConfigError, RendezvousError, RoomCrowded, RoomGone, RoomUnknown
from p2ptun.rendezvous.base import BurnReason
from p2ptun.rendezvous.http_answer import Problem, Unreadable, read_answer, told
from p2ptun.rendezvous.http_url import ServerUrl, parse_server_url
from p2ptun.rendezvous.trouble import Trouble, TroubleKind

if TYPE_CHECKING:
    import httpx

PROBLEM: Final = "urn:p2ptun:problem:"
ROOM_UNKNOWN: Final = f"{PROBLEM}room-unknown"  # other things can be missing too: a path that a proxy made up
MAX_CAUSES: Final = 20  # exceptions behind an exception that are looked at
PASSING_STATUSES: Final = frozenset({408, 425, 429})  # and all of 5xx

_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_NEW_CODE: Final = "Ask the other side for a new code."
_ENDINGS: Final = {
    BurnReason.DONE.value: "The room was closed: the two in it have met.",
    BurnReason.WRONG_CODE.value: "The room was closed after somebody came with a wrong code.",
    BurnReason.SILENT.value: "The room was closed after somebody came who didn't show that he knows the code.",
    BurnReason.LEFT.value: "The room was closed: the other side has left.",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, as far as we look at it. Untrusted."""

    status: int
    media_type: str = ""
    body: bytes = field(default=b"", repr=False)  # it may hold a token
    location: str = ""
    retry_after: str = ""


def refusal(server: ServerUrl, path: str, reply: Reply) -> RendezvousError:
    """Say what an answer means that isn't a success; `path` is what was asked for."""
    if 300 <= reply.status < 400:
        return _redirection(server, path, reply)
    problem = _problem(reply)
    if reply.status >= 500 or reply.status in PASSING_STATUSES:
        return _passing(server, reply, problem)
    if reply.status == 407:
        return _closed_proxy()
    if reply.status == 413:
        return RendezvousError(
            f"{server} refuses a message as too large.",
            "Let the server, or the proxy before it, take bodies of 16 KiB.",
        )
    if problem is None:
        return foreign(server)
    return _refusal(server, reply.status, problem)


def foreign(server: ServerUrl) -> Trouble:
    """Say that something answers which isn't a rendezvous."""
    return Trouble(
        f"{server} answers, but not as a rendezvous of p2ptun.",
        "Check the URL; on a network with a login page, log in first.",
        TroubleKind.FOREIGN,
    )


def _refusal(server: ServerUrl, status: int, problem: Problem) -> RendezvousError:
    match status:
        case 401:
            return RoomUnknown(f"{server} doesn't know this side of the room any more.", "Meet anew, with a new code.")
        case 404 if problem.type == ROOM_UNKNOWN:
            return RoomUnknown(
                f"There is no such room at {server}.", "Check the code and that both sides use the same --rendezvous."
            )
        case 409:
            return RoomCrowded("Two are in the room already.", _NEW_CODE)
        case 410:
            reason = told(problem.reason, 40)
            return RoomGone(_ENDINGS.get(reason, "The room was closed."), _NEW_CODE, reason)
    title = told(problem.title).rstrip(".") or f"status {status}"
    detail = told(problem.detail).rstrip(".")
    return RendezvousError(f"{server} refused: {title}." + (f" {detail}." if detail else ""), told(problem.remedy))


def _redirection(server: ServerUrl, path: str, reply: Reply) -> Trouble:
    """Name the place that it points to, when one can see that it is another home of the same server."""
    location = reply.location
    base = location[: -len(path)] if location.endswith(f"/{path}") else ""
    try:
        home = parse_server_url(base)
    except ConfigError:
        return foreign(server)
    return Trouble(f"{server} points to another place.", f"Use --rendezvous {home}", TroubleKind.FOREIGN)


def _passing(server: ServerUrl, reply: Reply, problem: Problem | None) -> Trouble:
    retry_after = float(reply.retry_after) if _SECONDS.fullmatch(reply.retry_after) else None
    if reply.status == 429:
        wait = "a while" if retry_after is None else f"{retry_after:g} s"
        return Trouble(f"{server} asks to wait for {wait}.", "Try again then.", retry_after=retry_after)
    title = told(problem.title).rstrip(".") if problem is not None else ""
    return Trouble(
        f"{server} can't answer just now ({title or f'status {reply.status}'}).",
        "Wait, or ask who runs it.",
        is_unsure=reply.status in (502, 504),  # of a gateway that lost its server
        retry_after=retry_after,
    )


def _problem(reply: Reply) -> Problem | None:
    """Read the problem that a refusal of ours comes with; None when it has none."""
    if reply.media_type != "application/problem+json":
        return None
    try:
        problem = read_answer(reply.body, Problem)
    except Unreadable:
        return None
    return problem if problem.type.startswith(PROBLEM) else None


def trouble(server: ServerUrl, error: httpx.HTTPError) -> Trouble:
    """Say why a request got no answer."""
    import httpx

    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = told(cause.verify_message).rstrip(".")
            return Trouble(
                f"The certificate of {server} was refused: {reason}.",
                "If you trust who runs it, give its authority's certificate with --ca-file.",
                TroubleKind.LASTING,
            )
        if isinstance(cause, socket.gaierror):
            return _nameless(server, cause)
    if isinstance(error, httpx.ProxyError):
        return _blocked(server, told(str(error), 80))
    return _unreachable(server, error)


def _blocked(server: ServerUrl, answer: str) -> Trouble:
    """Say that the proxy refused to connect; `answer` is the status that it gave, and its words."""
    if answer.startswith("407"):
        return _closed_proxy()
    kind = TroubleKind.LASTING if answer.startswith("4") else TroubleKind.PASSING
    return Trouble(f"The proxy doesn't let us through to {server} ({answer}).", "Check HTTPS_PROXY and NO_PROXY.", kind)


def _closed_proxy() -> Trouble:
    return Trouble(
        "The proxy asks for a user name and a password.",
        "Put them into HTTPS_PROXY: http://USER:PASSWORD@PROXY:PORT.",
        TroubleKind.LASTING,
    )


def _nameless(server: ServerUrl, error: socket.gaierror) -> Trouble:
    if error.errno == socket.EAI_AGAIN:
        return Trouble(f"No name server answered for {server}.", "Check the network and DNS.")
    return Trouble(
        f"There is no host of the name in {server}.",
        "Check the spelling, and HTTPS_PROXY if it is set.",
        TroubleKind.LASTING,
    )


def _unreachable(server: ServerUrl, error: httpx.HTTPError) -> Trouble:
    import httpx

    is_connected = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            reason = told(getattr(cause, "reason", None) or "unexpected end").replace("_", " ").lower()
            kind = TroubleKind.PASSING if is_connected else TroubleKind.LASTING
            return Trouble(
                f"TLS with {server} failed ({reason}).",
                "Check scheme and port of the URL.",
                kind,
                is_unsure=is_connected,
            )
        if isinstance(cause, ConnectionRefusedError):
            return Trouble(f"{server} refused the connection.", _server_or_proxy("and that the server runs"))
    if is_connected:
        return Trouble(
            f"The connection to {server} broke.",
            "Check scheme and port of the URL, that the server runs, and the network.",
            is_unsure=True,
        )
    numbers = (
        each.errno for each in _causes(error) if isinstance(each, OSError) and not isinstance(each, ssl.SSLError)
    )
    reason = next((f" ({os.strerror(each)})" for each in numbers if each), "")
    return Trouble(f"{server} can't be reached{reason}.", _server_or_proxy("and the network"))


def _server_or_proxy(what: str) -> str:
    """Say what to check; where the environment names a proxy, it may as well be that which doesn't answer."""
    return f"Check the URL, {what}{'; or the proxy that the environment names' * bool(getproxies_environment())}."


def timeout(server: ServerUrl) -> Trouble:
    """Say that no answer came in time."""
    return Trouble(
        f"{server} doesn't answer.", "Check the URL, and whether the network lets it through.", is_unsure=True
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those behind it: several, where several addresses were tried."""
    queue = [error]
    for _ in range(MAX_CAUSES):
        if not queue:
            return
        cause = queue.pop(0)
        yield cause
        queue += [each for each in (cause.__cause__, cause.__context__) if each is not None]
        queue += getattr(cause, "exceptions", ())
