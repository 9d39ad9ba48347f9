"""The rendezvous server, from its listeners to its last answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from p2ptun import __version__
from p2ptun.server.event import RoomsEvent
from p2ptun.server.http.api import Api
from p2ptun.server.http.app import Application
from p2ptun.server.http.client import ClientFinder
from p2ptun.server.http.guard import Guard
from p2ptun.server.http.listener import HttpListener, open_http_listener
from p2ptun.server.http.metrics import Metrics
from p2ptun.server.http.page import PageFacts, page_routes
from p2ptun.server.http.reception import Reception
from p2ptun.server.refusal import Refusal

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

    from p2ptun.server.certificate import Certificate
    from p2ptun.server.http.connection import Connection
    from p2ptun.server.http.ice import IceOffer
    from p2ptun.server.http.options import HttpOptions
    from p2ptun.server.rooms import Rooms
    from p2ptun.types import Endpoint

HEAD_SIZE: Final = 1 << 14
"""Bytes of a request's head. Ours need a few hundred; proxies and browsers add some."""

FAREWELL: Final = 0.5
"""Seconds that what is being answered has left when the server ends."""

STORE_PATIENCE: Final = 2.0
"""Seconds that the first clients wait for a store that isn't there yet."""

REPORT_INTERVAL: Final = 60.0  # seconds

HTTP_PROTOCOLS: Final = ["http/1.1"]  # RFC 7301 6


class HttpServer:
    """Serves rooms over HTTP."""

    def __init__(self, options: HttpOptions, rooms: Rooms, offer: IceOffer) -> None:
        self.metrics = Metrics()
        self.listeners: list[HttpListener] = []
        finder = ClientFinder(options.trusted_proxies)
        limits = options.limits
        self.reception = Reception(limits.connections, limits.address_connections, finder.is_trusted)
        guard = Guard(limits, trio.current_time)
        api = Api(rooms, offer, guard, self.metrics)
        pages = page_routes(PageFacts(rooms.count, _public_url(options), __version__))
        self._rooms = rooms
        self._app = ASGIWrapper(cast("ASGIFramework", Application(api, pages, finder, guard, self.metrics)))
        self._config = _configure()
        self._context = WorkerContext(None)
        self._has_rooms = trio.Event()
        self._ended = trio.Event()
        self.metrics.observe("p2ptun_http_connections", "Connections.", lambda: len(self.reception))

    @property
    def drops(self) -> Counter[str]:
        """Connections that came to nothing, by reason."""
        found = Counter(self.reception.refused)
        for listener in self.listeners:
            found.update({f"http: {reason}": count for reason, count in listener.failures.items()})
        return found

    def open(self, local: Endpoint, certificate: Certificate | None) -> HttpListener:
        """Listen somewhere. Raises DeviceError."""
        listener = open_http_listener(local, certificate)
        self.listeners.append(listener)
        return listener

    async def run(self) -> None:
        """Serve until `finish`. Those who come before the store is there wait a little, then hear that it is away."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_rooms)
            with trio.move_on_after(STORE_PATIENCE):
                await self._has_rooms.wait()
            async with trio.open_nursery() as listening:
                for listener in self.listeners:
                    listening.start_soon(listener.run, self.reception, self._serve)
            self._ended.set()
            nursery.cancel_scope.cancel()

    async def report(self, emit: Callable[[RoomsEvent], None]) -> NoReturn:
        """Tell now and then how much there is."""
        last = None
        while True:
            await trio.sleep(REPORT_INTERVAL)
            with suppress(Refusal):
                counts = await self._rooms.count()
                event = RoomsEvent(
                    counts.numbered, counts.named, counts.waiting, counts.messages, self.metrics.take_refused()
                )
                if event != last:
                    emit(event)
                last = event

    async def finish(self) -> None:
        """Accept nobody any more, have polls come back, and let what is being answered be answered, if it is soon."""
        for listener in self.listeners:
            listener.stop()
        await self._context.terminated.set()
        self._rooms.close()
        for connection in self.reception:
            connection.end()
        with trio.move_on_after(FAREWELL):
            await self._ended.wait()

    def close(self) -> None:
        """Close the listeners."""
        for listener in self.listeners:
            listener.close()

    async def _keep_rooms(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._rooms.run)
            self._has_rooms.set()

    async def _serve(self, connection: Connection) -> None:
        await connection.run(self._app, self._config, self._context)


def _configure() -> Config:
    """Configure hypercorn, which writes and installs nothing."""
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = HEAD_SIZE
    config.keep_alive_max_requests = 1 << 30
    return config


def _public_url(options: HttpOptions) -> str:
    """Give the address that people are told: what the name serves on 443 by the look of it."""
    if not options.public_name:
        return ""
    own = [each.port for each in options.https_listen]
    return f"https://{options.public_name}" + (f":{own[0]}" if own and 443 not in own else "")
