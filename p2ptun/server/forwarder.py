"""Channel data between clients and peers, in batches: taken by one call, sent by one, copied by the kernel only.

::

    from a client   | header | data | header | data | ...      leaves as   | data | data | ...
    from a peer     | data | data | ...                        leaves as   | header | data | header | data | ...

Most batches are of one source, one channel and one size, and are looked at as a whole. What isn't is sorted datagram by
datagram; what belongs to no bound channel goes through the slow doors of the core.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from p2ptun.io.mmsg import SLOT_SIZE, SLOTS, Inbox, Name, Outbox, Words, address_of, words
from p2ptun.io.offload import MAX_SEGMENTED_SIZE, MAX_SEGMENTS
from p2ptun.relay.server import Server
from p2ptun.relay.way import Inward, Outward
from p2ptun.server.port import UdpPort
from p2ptun.stun.turn import CHANNEL_HEADER, CHANNEL_HEADER_SIZE, FIRST_CHANNEL, LAST_OLD_CHANNEL, encode_channel_data
from p2ptun.types import Endpoint

MAX_ROUTES = 4096
"""Ways remembered. More are in use at once only where batches are small, and looking one up costs little then."""

MAX_PLACES = 256
"""Lists of addresses remembered, of two kilobytes each at most."""

_FIRST, _LAST = FIRST_CHANNEL >> 8, LAST_OLD_CHANNEL >> 8
_HEADERS = struct.Struct(">HHHH")

Key: TypeAlias = tuple[int, bytes, int]
"""The descriptor of the socket that a datagram came to, the name of its source, and its channel (0 from a peer)."""


class DataSink(Protocol):
    """A stream to a client."""

    def push_data(self, frame: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class ToPeer:
    """Data leaves bare, from `port` to `name`."""

    way: Outward
    port: UdpPort
    name: Name


@dataclass(frozen=True, slots=True)
class ToClient:
    """Data leaves behind a header, from `port` to `name`."""

    way: Inward
    port: UdpPort
    name: Name


@dataclass(frozen=True, slots=True)
class ToStream:
    """Data leaves as frames of a stream."""

    way: Inward
    sink: DataSink


Route: TypeAlias = ToPeer | ToClient | ToStream


@dataclass(slots=True)
class Sorted:
    """The datagrams of one way in a batch: addresses of their data, and how long it is."""

    route: Route
    bases: Words
    lengths: Words


class Forwarder:
    """Serves one socket at a time.

    `ports` and `sinks` belong to the owner, who adds and removes. A sink is known by client and listener.
    """

    def __init__(
        self, core: Server, ports: Mapping[Endpoint, UdpPort], sinks: Mapping[tuple[Endpoint, Endpoint], DataSink]
    ) -> None:
        self._core = core
        self._ports = ports
        self._sinks = sinks
        self._inbox = Inbox()
        self._outbox = Outbox()
        self._headers = bytearray(_HEADERS.size)  # of all datagrams but the last, and of the last
        self._first_header = address_of(self._headers)
        self._routes: dict[Key, Route] = {}
        self._known_places: dict[tuple[int, int, int, int], Words] = {}
        self._version = -1
        self._slow = 0

    def serve(self, port: UdpPort, now: float) -> tuple[int, int]:
        """Take one batch from a socket; return how many messages it had, and how many datagrams went the slow way.

        Raises:
            OSError: What the kernel says of the socket.
        """
        inbox = self._inbox
        count = inbox.receive(port.descriptor, port.limit)
        self._slow = 0
        if count:
            if self._version != self._core.ways_version:
                self.forget()
            has_joined = inbox.has_joined
            port.adapt(has_joined)
            if has_joined or not self._forward_alike(port, count, now):
                self._forward_slots(port, count, now)
        return count, self._slow

    # -- batches that are looked at as a whole ------------------------------------------------------------------------

    def _forward_alike(self, port: UdpPort, count: int, now: float) -> bool:
        """Forward slots of one datagram each, of one source, channel and size; False when they aren't."""
        inbox = self._inbox
        if not inbox.are_alike(count):
            return False
        number, skip, size = 0, 0, inbox.lengths[0]
        if not port.is_relay:
            if inbox.heads != inbox.heads[:CHANNEL_HEADER_SIZE] * count:
                return False
            number, size = _channel(inbox.raw, 0, size)
            skip = CHANNEL_HEADER_SIZE
            if not number:
                return False
        route = self._route(port, inbox.name(0, port.name_size), number)
        if route is None:
            return False
        self._send(route, self._places(0, skip, SLOT_SIZE, SLOTS)[:count], words([size]) * count, now)
        return True

    def _forward_joined(self, port: UdpPort, name: bytes, slot: int, now: float) -> bool:
        """Forward the datagrams that the kernel joined in one slot, if they have one channel; False when not."""
        inbox = self._inbox
        at, length, step = slot * SLOT_SIZE, inbox.lengths[slot], inbox.segments[slot]
        count, rest = divmod(length, step)
        number, skip, size, last = 0, 0, step, rest
        if not port.is_relay:
            number, size = _channel(inbox.raw, at, step)
            if not number or not _begin_alike(inbox.raw, at, step, count):
                return False
            skip = CHANNEL_HEADER_SIZE
            if rest:
                other, last = _channel(inbox.raw, at + count * step, rest)
                if other != number or last > size:
                    return False
        route = self._route(port, name, number)
        if route is None:
            return False
        lengths = words([size]) * count
        if rest:
            lengths.append(last)
        self._send(route, self._places(at, skip, step, len(lengths)), lengths, now)
        return True

    # -- batches that are sorted --------------------------------------------------------------------------------------

    def _forward_slots(self, port: UdpPort, count: int, now: float) -> None:
        inbox = self._inbox
        waiting: dict[Key, Sorted] = {}
        for slot in range(count):
            name = inbox.name(slot, port.name_size)
            length, step = inbox.lengths[slot], inbox.segments[slot]
            if step:
                self._flush(waiting, now)  # the order in which one source sent stays
                if self._forward_joined(port, name, slot, now):
                    continue
            at = slot * SLOT_SIZE
            for start in range(at, at + length, step or length) if length else (at,):  # an empty one is one as well
                self._sort(port, name, start, min(step or length, at + length - start), waiting, now)
        self._flush(waiting, now)

    def _sort(self, port: UdpPort, name: bytes, at: int, length: int, waiting: dict[Key, Sorted], now: float) -> None:
        """Put a datagram to others of its kind, or hand it to the core."""
        number, skip, size = 0, 0, length
        if not port.is_relay:
            number, size = _channel(self._inbox.raw, at, length)
            skip = CHANNEL_HEADER_SIZE
        if (port.is_relay or number) and (route := self._route(port, name, number)) is not None:
            found = waiting.get((port.descriptor, name, number))
            if found is None:
                found = waiting[port.descriptor, name, number] = Sorted(route, words(()), words(()))
            found.bases.append(self._inbox.address + at + skip)
            found.lengths.append(size)
            return
        self._flush(waiting, now)  # a request may end what the data before it uses
        self._slow += 1
        data, source = bytes(self._inbox.raw[at : at + length]), port.source(name)
        if port.is_relay:
            self._core.receive_relayed(data, source, port.local, now)
        else:
            self._core.receive_datagram(data, source, port.local, now)

    def _flush(self, waiting: dict[Key, Sorted], now: float) -> None:
        """Send what was sorted, in runs of one size."""
        for found in waiting.values():
            start = 0
            while start < len(found.lengths):
                end = _end_of_run(found.lengths, start)
                self._send(found.route, found.bases[start:end], found.lengths[start:end], now)
                start = end
        waiting.clear()

    # -- ways and sending ---------------------------------------------------------------------------------------------

    def _route(self, port: UdpPort, name: bytes, number: int) -> Route | None:
        key = (port.descriptor, name, number)
        found = self._routes.get(key)
        if found is None:
            found = self._find_route(port, name, number)
            if found is not None:
                if len(self._routes) >= MAX_ROUTES:
                    self._routes.clear()
                self._routes[key] = found
        return found

    def _find_route(self, port: UdpPort, name: bytes, number: int) -> Route | None:
        source = port.source(name)
        if not port.is_relay:
            outward = self._core.outward(source, port.local, number)
            return self._to_peer(outward) if outward else None
        inward = self._core.inward(port.local, source)
        if inward is None:
            return None
        sink = self._sinks.get((inward.client, inward.local))
        return ToStream(inward, sink) if sink else self._to_client(inward)

    def _to_peer(self, way: Outward) -> ToPeer | None:
        """Find the socket and the name; None where there is none, which the slow way finds too, and counts."""
        port = self._ports.get(way.relayed)
        name = port.name(way.peer) if port else None
        return ToPeer(way, port, name) if port and name else None

    def _to_client(self, way: Inward) -> ToClient | None:
        port = self._ports.get(way.local)
        name = port.name(way.client) if port else None
        return ToClient(way, port, name) if port and name else None

    def _send(self, route: Route, bases: Words, lengths: Words, now: float) -> None:
        """Send datagrams of one size, the last may be shorter, unless a cap is reached."""
        if not self._core.count_relayed(route.way, len(lengths), sum(lengths), now):
            return
        if isinstance(route, ToStream):
            self._push(route, bases, lengths)
            return
        most = min(MAX_SEGMENTS, MAX_SEGMENTED_SIZE // (lengths[0] + CHANNEL_HEADER_SIZE) or 1)
        if len(lengths) <= most:
            self._send_run(route, bases, lengths)
            return
        for start in range(0, len(lengths), most):
            self._send_run(route, bases[start : start + most], lengths[start : start + most])

    def _send_run(self, route: ToPeer | ToClient, bases: Words, lengths: Words) -> None:
        """Send what one message holds."""
        count, size = len(lengths), lengths[0]
        if isinstance(route, ToPeer):
            self._outbox.fill(bases, lengths)
            route.port.send_run(self._outbox, route.name, count, 1, size)
            return
        number = route.way.number
        _HEADERS.pack_into(self._headers, 0, number, size, number, lengths[-1])
        headers = words([self._first_header]) * count
        headers[-1] += CHANNEL_HEADER_SIZE
        self._outbox.fill_prefixed(headers, CHANNEL_HEADER_SIZE, bases, lengths)
        route.port.send_run(self._outbox, route.name, count, 2, size + CHANNEL_HEADER_SIZE)

    def _push(self, route: ToStream, bases: Words, lengths: Words) -> None:
        """Frame datagrams for a stream."""
        raw, way = self._inbox.raw, route.way
        for base, length in zip(bases, lengths, strict=True):
            at = base - self._inbox.address
            route.sink.push_data(encode_channel_data(way.number, bytes(raw[at : at + length]), way.is_padded))

    def _places(self, at: int, skip: int, step: int, count: int) -> Words:
        """Give the addresses of datagrams that lie `step` bytes apart. The same ones come again and again."""
        key = at, skip, step, count
        found = self._known_places.get(key)
        if found is None:
            if len(self._known_places) >= MAX_PLACES:
                self._known_places.clear()
            first = self._inbox.address + at + skip
            found = self._known_places[key] = words(range(first, first + count * step, step))
        return found

    def forget(self) -> None:
        """Forget the ways: the core has changed them."""
        self._routes.clear()
        self._version = self._core.ways_version


# -- what datagrams look like -----------------------------------------------------------------------------------------


def _channel(raw: bytearray, at: int, length: int) -> tuple[int, int]:
    """Read the header of an untrusted ChannelData frame: its channel and the size of its data; (0, 0) when it is none.

    What follows the data is padding (RFC 8656 12.5).
    """
    if length < CHANNEL_HEADER_SIZE or not _FIRST <= raw[at] <= _LAST:
        return 0, 0
    number, size = CHANNEL_HEADER.unpack_from(raw, at)
    return (number, size) if size <= length - CHANNEL_HEADER_SIZE else (0, 0)


def _begin_alike(raw: bytearray, at: int, step: int, count: int) -> bool:
    """Tell whether `count` datagrams, one every `step` bytes, begin with the same header."""
    end = at + count * step
    return all(raw[start:end:step].count(raw[start]) == count for start in range(at, at + CHANNEL_HEADER_SIZE))


def _end_of_run(lengths: Words, start: int) -> int:
    """Tell where a run ends that begins at `start`: datagrams of one size, and one shorter behind them."""
    size = lengths[start]
    end = start + 1
    while end < len(lengths) and lengths[end] == size:
        end += 1
    return end + (end < len(lengths) and 0 < lengths[end] < size)
