"""People and programs that meet at a rendezvous server which really runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import h11
import msgspec
import pytest
import trio

from p2ptun.daemon.introduction import Introduced
from p2ptun.daemon.options import Side
from p2ptun.rendezvous import backoff
from p2ptun.rendezvous.base import Rendezvous
from p2ptun.rendezvous.registry import open_rendezvous
from p2ptun.signal.code import Code
from tests.daemon.person import Person
from tests.rendezvous.place import Surroundings
from tests.server.serving import ADDRESS, HttpServing

PATIENCE = 30.0  # seconds for a whole test, of which it needs one or two
OCTETS = "application/octet-stream"
MANY = (
    *("--address-connections", "5000", "--address-rooms", "5000"),
    *("--address-requests", "100000", "--address-entries", "100000"),
)
"""Options of a server at which one address plays many."""


LONGEST_WAIT = 0.2  # seconds


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Let clients here ask again much sooner than they do, so that no test waits for them."""
    for name in ("FIRST_CEILING", "LAST_CEILING", "MAX_TOLD"):
        patch.setattr(backoff, name, LONGEST_WAIT)


class Company:
    """Who is there: each with a rendezvous of his own, closed at the end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self._rendezvous: list[Rendezvous] = []

    def at(self, server: HttpServing | str, surroundings: Surroundings | None = None) -> Rendezvous:
        """Go to a server as a client does."""
        url = server if isinstance(server, str) else server.url
        rendezvous = open_rendezvous((url,), (surroundings or Surroundings()).context)
        self._rendezvous.append(rendezvous)
        return rendezvous

    async def share(self, server: HttpServing | str) -> Person:
        """Share at a server; return who does, with a code."""
        person = Person(Side.SHARE, self.at(server))
        self.nursery.start_soon(person.run, self.nursery)
        await person.coded.wait()
        return person

    async def join(self, server: HttpServing | str, code: Code) -> Person:
        """Join at a server; return who did, when that has come to an end."""
        person = Person(Side.JOIN, self.at(server), code)
        await person.run(self.nursery)
        return person

    async def leave(self) -> None:
        for each in self._rendezvous:
            await each.aclose()


@asynccontextmanager
async def company() -> AsyncIterator[Company]:
    """Gather people for as long as the context lasts."""
    async with trio.open_nursery() as nursery:
        here = Company(nursery)
        with trio.fail_after(PATIENCE):
            yield here
            await here.leave()
        nursery.cancel_scope.cancel()


def check_introduced(alice: Person, bob: Person) -> None:
    """Check that the two know each other, and the same of each other, as the sides that they are."""
    one, other = alice.result, bob.result
    assert isinstance(one, Introduced), one
    assert isinstance(other, Introduced), other
    for each in (one, other):
        assert each.offer.public_key == alice.tunnel.keys.public
        assert each.answer.public_key == bob.tunnel.keys.public
        assert each.offer.session_id == each.answer.session_id == one.offer.session_id
    assert one.secrets == other.secrets
    assert one.secrets
    assert alice.introduction.standing_secret == bob.introduction.standing_secret != b""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; the company's patience ends it."""
    while not condition():  # noqa: ASYNC110 (what is looked at has no event)
        await trio.sleep(0.005)


class RawClient:
    """One connection to a server, from any address of loopback, over which anything can be asked."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._parser = h11.Connection(h11.CLIENT)

    @classmethod
    async def connect(cls, server: HttpServing, source: str = ADDRESS) -> RawClient:
        return cls(await trio.open_tcp_stream(ADDRESS, server.port, local_address=source))

    async def ask(self, method: str, path: str, body: bytes = b"", token: str = "") -> tuple[int, dict[str, Any]]:
        """Ask for something; return the status and the document."""
        status, answer = await self.ask_text(method, path, body, token)
        return status, msgspec.json.decode(answer) if answer else {}

    async def ask_text(self, method: str, path: str, body: bytes = b"", token: str = "") -> tuple[int, bytes]:
        """Ask for something; return the status and the body."""
        headers = [("Host", ADDRESS), ("Content-Length", str(len(body)))]
        headers += [("Content-Type", OCTETS)] if body else []
        headers += [("Authorization", f"Bearer {token}")] if token else []
        request = h11.Request(method=method, target=path, headers=headers)
        for part in (request, h11.Data(data=body), h11.EndOfMessage()):
            await self._stream.send_all(self._parser.send(part) or b"")
        status, answer = 0, bytearray()
        while not isinstance(event := self._parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                self._parser.receive_data(bytes(await self._stream.receive_some()))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                answer += event.data
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE:
            self._parser.start_next_cycle()
        return status, bytes(answer)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def measure(server: HttpServing, name: str) -> float:
    """Ask a server for one of its metrics; what it hasn't counted yet is 0."""
    client = await RawClient.connect(server)
    _, text = await client.ask_text("GET", "/metrics")
    await client.aclose()
    return next((float(line.split()[-1]) for line in text.decode().splitlines() if line.split()[0] == name), 0)


async def until_measured(server: HttpServing, name: str, least: float) -> None:
    """Wait until a metric is that much, or more."""
    while await measure(server, name) < least:  # noqa: ASYNC110 (it is another process)
        await trio.sleep(0.01)


async def until_health(server: HttpServing, status: int) -> None:
    """Wait until /healthz answers so; while nothing answers, that isn't it."""
    while True:
        with suppress(OSError):
            client = await RawClient.connect(server)
            try:
                if (await client.ask("GET", "/healthz"))[0] == status:
                    return
            finally:
                await client.aclose()
        await trio.sleep(0.01)
