"""The relays of a tunnel: told to the node with credentials, and what becomes of them told to the person."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn, TypeAlias

import trio

from p2ptun.daemon.event import relay_event, server_text
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.relay_problem import explain
from p2ptun.daemon.turn_credentials import Issued
from p2ptun.io.driver import Driver
from p2ptun.node.event import CredentialWanted, NodeEvent, RelayFound, RelayLost, RelayRefused
from p2ptun.node.node import Node
from p2ptun.stun.credential import LongTermCredential
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint

ProblemOf: TypeAlias = Callable[[Server], str]

LEAST_GAIN = 10.0  # seconds that a credential made of a secret has to be good for longer than the last


class Relays:
    """Cares for the relays that the person named, as long as the tunnel lives.

    One server may have several addresses, and be named with several transports; the node tells of a problem when none
    of them works.

    Attributes:
        borrowed_ended: Set when a credential that a rendezvous gave is to be renewed; whoever does puts a new one in
            its place.
    """

    def __init__(
        self,
        options: AdhocOptions,
        node: Node,
        narrator: Narrator,
        notices: Notices,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives Unix time, which the user names of time-limited credentials hold."""
        self._options = options
        own = {uri.host: options.credentials_for(uri.host) for uri in options.relays}
        self._credentials = {host: given for host, given in own.items() if given is not None}
        self._node = node
        self._narrator = narrator
        self._notices = notices
        self._clock = clock
        self._problem_of: ProblemOf = _nothing_more
        self._issued: dict[str, Issued | None] = {}
        self._wanted: dict[str, None] = {}
        self._bell, self._news = trio.Event(), trio.Event()
        self._described: set[Endpoint] = set()
        self._lent: set[str] = set()
        self.borrowed_ended = trio.Event()

    @property
    def names(self) -> list[str]:
        """The servers that have given us an address, as people read them."""
        return list(dict.fromkeys(map(relay_name, self._narrator.relays.values())))

    def add(self, server: Server, now: float) -> None:
        """Let the node ask a server for an address."""
        if server.name not in self._issued:
            self._issued[server.name] = self._issue(server.name)
        issued = self._issued[server.name]
        credential = None if issued is None else issued.credential
        self._node.add_turn_server(server, credential, _end(issued, now), now)

    def has_own(self, name: str) -> bool:
        """Tell whether the person gave credentials for the server of that name."""
        return name in self._credentials

    def accept(self, name: str, credential: LongTermCredential, lifetime: float | None, now: float) -> None:
        """Take a credential that a rendezvous gave for the server of that name, unless the person named another."""
        if name in self._credentials:
            return
        known, issued = name in self._issued, Issued(credential, lifetime=lifetime)
        self._lent.add(name)
        self._issued[name] = issued
        if known:
            self._node.set_turn_credential(name, credential, _end(issued, now), now)

    async def settle(self, *, is_wanted: bool) -> None:
        """Wait until there is an address on a relay, or none is to be expected soon, if one `is_wanted` at all."""
        while is_wanted and not self._narrator.relays and not self._node.relays.is_settled:
            await self._news.wait()

    def note_described(self) -> None:
        """Know that the other side is told of the relays there are now."""
        self._described = set(self._narrator.relays)

    def wake(self) -> None:
        """Hand out new credentials, for time may have passed that no timer has seen."""
        self._want(*self._issued)

    def handle(self, event: NodeEvent) -> None:
        """Take an event of the node, after the narrator."""
        match event.event:
            case RelayFound(server, _):
                self._notices.withdraw(_health_id(server))
                self._compare()
            case RelayLost():
                self._compare()
            case RelayRefused(server, reason, code):
                self._complain(server, reason, code)
            case CredentialWanted(name):
                self._want(name)
            case _:
                return
        self._news.set()
        self._news = trio.Event()

    async def run(self, driver: Driver, problem_of: ProblemOf) -> NoReturn:
        """Give the node credentials when it wants new ones, until cancelled. `problem_of` knows what ailed a socket."""
        self._problem_of = problem_of
        while True:
            await self._bell.wait()
            self._bell = trio.Event()
            names, self._wanted = list(self._wanted), {}
            for name in names:
                self._renew(name)
            driver.flush()

    def _want(self, *names: str) -> None:
        self._wanted |= dict.fromkeys(names)
        self._bell.set()

    def _renew(self, name: str) -> None:
        """Hand out the next credential, if it is another one and is good for longer than the last."""
        if name in self._lent:
            self.borrowed_ended.set()
            return
        if name not in self._credentials:
            return
        self._credentials[name] = self._credentials[name].reread()
        issued, last, now = self._issue(name), self._issued.get(name), trio.current_time()
        if issued is not None and (last is None or _is_news(issued, last)):
            self._issued[name] = issued
            self._node.set_turn_credential(name, issued.credential, _end(issued, now), now)

    def _issue(self, name: str) -> Issued | None:
        return None if name not in self._credentials else self._credentials[name].issue(self._clock())

    def _compare(self) -> None:
        """Describe this side anew when no relay is left of those that the other side knows, and there is another."""
        living = set(self._narrator.relays)
        if living and not living & self._described:
            change = "This side's address on the relay has changed." if self._described else "A relay is ready now."
            self._narrator.describe_anew(change)

    def _complain(self, server: Server, reason: str, code: int | None) -> None:
        sentence, remedy = explain(server, reason, code, self._issued.get(server.name))
        sentence = " ".join(filter(None, (sentence, self._problem_of(server))))
        self._notices.emit(relay_event(server, None, "refused", sentence))
        self._notices.warn(_health_id(server), sentence, remedy)


def relay_name(server: Server) -> str:
    """Name a relay for people: `turn.example.net:443 (tls)`."""
    return f"{server_text(server)} ({server.endpoint.transport.value})"


def _health_id(server: Server) -> str:
    return f"relay-{server.name}"


def _nothing_more(server: Server) -> str:
    return ""


def _end(issued: Issued | None, now: float) -> float | None:
    """Tell when a credential that was issued just now ends, in seconds of `now`; None when that isn't known."""
    return None if issued is None or issued.lifetime is None else now + issued.lifetime


def _is_news(issued: Issued, last: Issued) -> bool:
    """Tell whether a credential is worth another try. One that a relay refuses, it refuses a second later as well."""
    if issued.is_minted and issued.ends_at is not None and last.ends_at is not None:
        return issued.ends_at >= last.ends_at + LEAST_GAIN
    return issued.credential != last.credential
