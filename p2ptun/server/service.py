"""`p2ptun serve` without its command line: opens what was asked for, runs it, and closes it again."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import trio

from p2ptun.errors import ConfigError, DeviceError
from p2ptun.io.netlink import list_addresses
from p2ptun.io.notify import notify_stopping
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import AllocationEnded, AllocationMade, RelayEvent, RequestRefused
from p2ptun.relay.server import Server
from p2ptun.server.admission import Admission
from p2ptun.server.certificate import Certificate
from p2ptun.server.event import (
    AllocationEvent,
    ClosedEvent,
    ErrorEvent,
    Event,
    ListeningEvent,
    ReadyEvent,
    RefusedEvent,
    ReloadedEvent,
)
from p2ptun.server.exchange import Exchange
from p2ptun.server.herald import herald
from p2ptun.server.layout import Place, expand, lay_out
from p2ptun.server.options import ServeOptions
from p2ptun.server.port import open_port
from p2ptun.server.stream_listener import StreamListener, open_listener
from p2ptun.server.teller import Teller
from p2ptun.types import Endpoint, IPAddress, Transport, without_zone

if TYPE_CHECKING:
    from p2ptun.server.http.serving import HttpServer

ADDRESS_INTERVAL = 10.0
"""Seconds between two looks at the addresses of this machine: IPv6 changes its temporary ones every day (RFC 8981)."""


class Service:
    """One server, from its first socket to its last word."""

    def __init__(self, options: ServeOptions, emit: Callable[[Event], None], settle: Callable[[], object]) -> None:
        """`settle` is called once every listener is bound: whoever needed rights for that may give them up."""
        self._options = options
        self._emit = _heralded(emit)
        self._settle = settle
        self._teller = Teller(self._emit)
        self._certificate = Certificate(*options.certificate) if options.certificate else None
        self._certificates = [self._certificate] if self._certificate else []
        self._admission = Admission()
        self._listeners: list[StreamListener] = []

    async def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            P2ptunError: If something that was asked for can't be had.
        """
        own = _own_addresses()
        _raise_descriptor_limit()
        core = Server(replace(self._options.core, own_addresses=own), self._options.credentials, os.urandom)
        exchange = Exchange(core, self._tell)
        with ExitStack() as stack:
            signals = stack.enter_context(trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            stack.callback(exchange.close)
            stack.callback(self._close_listeners)
            places = self._open(exchange, own)
            http = self._open_http(own)
            if http is not None:
                stack.callback(http.close)
            self._settle()
            self._emit(_ready(self._options, places))
            began_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exchange.run)
                nursery.start_soon(self._teller.run)
                nursery.start_soon(keep_out_of_machine, core)
                for listener in self._listeners:
                    nursery.start_soon(listener.run)
                if http is not None:
                    http.metrics.observe("p2ptun_relay_allocations", "Allocations.", lambda: core.allocation_count)
                    nursery.start_soon(http.run)
                    nursery.start_soon(http.report, self._emit)
                await self._obey(signals)
                if http is not None:
                    await http.finish()
                nursery.cancel_scope.cancel()
            self._teller.settle()
            packets, size = core.relayed
            drops = dict(exchange.drops + self._admission.refused + (http.drops if http else Counter()))
            self._emit(ClosedEvent(trio.current_time() - began_at, packets, size, drops))

    def _open(self, exchange: Exchange, own: frozenset[IPAddress]) -> list[Place]:
        """Open every listener that was asked for; return those of UDP."""
        options = self._options
        places = lay_out(options.stun_listen, own)
        for place in places:
            port = open_port(place.local, is_relay=False)
            exchange.add_listener(port)
            exchange.core.add_listener(place.local, place.alternate)
            self._emit(_listening(place.local))
        for place in places:
            alternate = replace(place.alternate, transport=Transport.TCP) if place.alternate else None
            self._open_stream(exchange, place.local, None, alternate)
        for local in expand(options.tls_listen, own):
            self._open_stream(exchange, local, self._certificate, None)
        _check_relay_addresses(options.core, own)
        return places

    def _open_stream(
        self, exchange: Exchange, local: Endpoint, certificate: Certificate | None, alternate: Endpoint | None
    ) -> None:
        listener = open_listener(local, exchange, self._admission, certificate)
        self._listeners.append(listener)
        exchange.core.add_listener(listener.local, alternate)
        self._emit(_listening(listener.local))

    def _open_http(self, own: frozenset[IPAddress]) -> HttpServer | None:
        """Open what serves rooms, if any are wanted."""
        if self._options.http is None:
            return None
        from p2ptun.server.http.opening import open_http

        server, certificate = open_http(self._options, self._options.http, own, self._emit)
        if certificate is not None:
            self._certificates.append(certificate)
        return server

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        """Return when a signal ends the server. SIGHUP has the certificate read again; at a terminal it is its end."""
        has_terminal = sys.stdin.isatty()
        async for number in signals:
            if number != signal.SIGHUP or has_terminal:
                notify_stopping()
                return
            if not self._certificates:
                continue
            try:
                for certificate in self._certificates:
                    certificate.reload()
            except ConfigError as error:
                self._emit(ErrorEvent(str(error), f"The old certificate stays in use. {error.remedy}"))
            else:
                self._emit(ReloadedEvent())

    def _tell(self, event: RelayEvent) -> None:
        self._teller.tell(_told(event))

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()


async def keep_out_of_machine(core: Server) -> NoReturn:
    """Tell the core which addresses this machine has, as they come and go: nobody reaches its services through us."""
    while True:
        await trio.sleep(ADDRESS_INTERVAL)
        with suppress(DeviceError):  # the kernel is busy, and asked again soon
            core.set_own_addresses(_own_addresses())


def _heralded(emit: Callable[[Event], None]) -> Callable[[Event], None]:
    """Have the service manager hear of events before all others."""

    def tell(event: Event) -> None:
        herald(event)
        emit(event)

    return tell


def _own_addresses() -> frozenset[IPAddress]:
    return frozenset(without_zone(each.address) for each in list_addresses())


def _told(event: RelayEvent) -> Event:
    """Write what happened in the core as programs and people are told."""
    client, transport = str(event.client), event.client.transport.value
    match event:
        case AllocationMade():
            return AllocationEvent("made", transport, client, [str(each) for each in event.relayed], event.user)
        case AllocationEnded():
            relayed = [str(each) for each in event.relayed]
            counts = event.packets, event.bytes
            return AllocationEvent("ended", transport, client, relayed, event.user, event.reason.value, *counts)
        case RequestRefused():
            method = event.method.name.lower()
            return RefusedEvent(transport, client, method, event.code, event.reason, event.user)


def _listening(local: Endpoint) -> ListeningEvent:
    return ListeningEvent(local.transport.value, str(local.address), local.port)


def _ready(options: ServeOptions, places: list[Place]) -> ReadyEvent:
    core = options.core
    return ReadyEvent(
        any(place.alternate for place in places),
        [str(each) for each in core.relay_addresses],
        core.lowest_port,
        core.highest_port,
        bool(options.stun_listen or options.tls_listen),
        options.http.store_name if options.http else "",
    )


def _check_relay_addresses(core: ServerConfig, own: frozenset[IPAddress]) -> None:
    """Refuse to start with an address that no relay socket could have. Raises DeviceError."""
    for address in core.relay_addresses:
        if address not in own and not address.is_loopback:
            raise DeviceError(
                f"{address} is no address of this machine.",
                "Give --relay-address one of its own: ip -br address",
            )


def _raise_descriptor_limit() -> None:
    """Use as many descriptors as we may: every allocation has a socket of its own."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
