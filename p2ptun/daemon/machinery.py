"""Runs one machine of the core over UDP sockets of its own, from its first datagram to its last event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Generic, Protocol, TypeVar

import trio

from p2ptun.aead.buffer import Batch
from p2ptun.io.udp import LARGEST_DATAGRAM, UdpSocket
from p2ptun.types import Endpoint, Machine, SendError

EventT = TypeVar("EventT")
EventT_co = TypeVar("EventT_co", covariant=True)


class Finite(Machine[EventT_co], Protocol[EventT_co]):
    """A machine that is complete at some time."""

    @property
    def is_complete(self) -> bool: ...


class Machinery(Generic[EventT]):
    """The owner of one machine: carries its datagrams, keeps its time, hands on its events."""

    def __init__(
        self,
        machine: Finite[EventT],
        sockets: Sequence[UdpSocket],
        handle: Callable[[EventT], None],
        fail: Callable[[Endpoint, Endpoint, float], None],
    ) -> None:
        """`handle` takes events; `fail` is told which socket can't send where."""
        self._machine = machine
        self._sockets = {sock.local: sock for sock in sockets}
        self._handle = handle
        self._fail = fail
        self._batch = Batch(2 * LARGEST_DATAGRAM)
        self._news = trio.Event()

    async def run(self) -> None:
        """Drive the machine until it is complete."""
        async with trio.open_nursery() as nursery:
            for sock in self._sockets.values():
                nursery.start_soon(self._read, sock)
            await self._keep_time()
            nursery.cancel_scope.cancel()

    def flush(self) -> None:
        """Take everything that the machine has to give: call it after each command."""
        while (transmit := self._machine.next_transmit()) is not None:
            error = self._sockets[transmit.source].send(transmit.payload, transmit.destination)
            if error is not None and error is not SendError.WOULD_BLOCK:
                self._fail(transmit.source, transmit.destination, trio.current_time())
        while (event := self._machine.next_event()) is not None:
            self._handle(event)
        self._news.set()
        self._news = trio.Event()

    async def _keep_time(self) -> None:
        while not self._machine.is_complete:
            at = self._machine.next_timeout()
            with trio.move_on_at(inf if at is None else at):
                await self._news.wait()
                continue
            self._machine.handle_timeout(max(at or 0.0, trio.current_time()))
            self.flush()

    async def _read(self, sock: UdpSocket) -> None:
        sources: list[Endpoint] = []
        with suppress(trio.ClosedResourceError):
            while True:
                await sock.wait_readable()
                sock.receive_batch(self._batch, sources)
                for data, source in zip(self._batch, sources, strict=True):
                    self._machine.receive_datagram(bytes(data), source, sock.local, trio.current_time())
                self._batch.clear()
                sources.clear()
                self.flush()
