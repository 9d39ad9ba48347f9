"""The machine: a responder for our names and a querier for the other side's, on the same sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from p2ptun.deadlines import earliest
from p2ptun.errors import LocalProtocolError, MalformedPacket
from p2ptun.mdns.drop import DropReason
from p2ptun.mdns.event import MdnsEvent
from p2ptun.mdns.link import Locals
from p2ptun.mdns.message import decode_message
from p2ptun.mdns.name import is_acceptable, labels_of
from p2ptun.mdns.querier import Querier
from p2ptun.mdns.responder import Responder
from p2ptun.types import Endpoint, IPAddress, Transmit


class MdnsAgent:
    """Multicast DNS for names that hide addresses.

    The owner sees to it that what it hands in came over the link: to the multicast group, or to this host alone from an
    address of that link (RFC 6762 11). Nothing in multicast DNS is authenticated: an address that it tells is checked
    by ICE before anything else is sent there.
    """

    def __init__(self) -> None:
        self.drops: Counter[DropReason] = Counter()
        self._locals = Locals()
        self._responder = Responder(self._locals)
        self._querier = Querier(self._locals)

    # Commands

    def add_local(self, local: Endpoint, link: str, is_shared: bool, now: float) -> None:
        """Use the socket that `local` stands for: an address of the link, port 5353.

        Args:
            local: What `Transmit.source` and `receive_datagram` call it.
            link: The interface's name. Sockets of one link answer for the same names.
            is_shared: Whether another program on this machine has the port too.
            now: The time.
        """
        self._locals.add(local, link, is_shared)
        self._responder.add_local(local, now)
        self._querier.add_local(local)

    def remove_local(self, local: Endpoint) -> None:
        """Forget a socket; harmless when it isn't known."""
        self._locals.remove(local)
        self._responder.remove_local(local)

    def register(self, name: str, address: IPAddress, link: str, now: float) -> bool:
        """Answer for a name on one link, and announce it there; False when it is taken or there are too many.

        Raises:
            LocalProtocolError: If it isn't a name that `draw_name` gives.
        """
        if not is_acceptable(name):
            raise LocalProtocolError(f"{name!r} hides no address")
        return self._responder.register(labels_of(name), address, link, now)

    def unregister(self, name: str) -> None:
        """Take a name back; harmless when it isn't ours."""
        self._responder.unregister(labels_of(name))

    def resolve(self, names: Iterable[str], now: float) -> None:
        """Look names up on all links. Each ends in a `NameResolved`, or within 5 s in a `NameLost`."""
        self._querier.resolve(names, now)

    def close(self) -> None:
        """Take all names back and ask no more."""
        self._responder.close()
        self._querier.close()

    # Inputs

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take what came over a link. Untrusted."""
        reason = self._receive(data, source, local, now)
        if reason is not None:
            self.drops[reason] += 1

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        self._responder.handle_timeout(now)
        self._querier.handle_timeout(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Give a message to send, to a multicast group or to one host."""
        return self._responder.next_transmit() or self._querier.next_transmit()

    def next_event(self) -> MdnsEvent | None:
        """Give what became of a name that was asked for."""
        return self._querier.next_event()

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` is to be called."""
        times = (self._responder.next_timeout(), self._querier.next_timeout())
        return earliest(times)

    def _receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> DropReason | None:
        if local not in self._locals:
            return DropReason.UNKNOWN_SOCKET
        try:
            message = decode_message(data)
        except MalformedPacket:
            return DropReason.MALFORMED
        if message.is_refused:
            return DropReason.REFUSED
        if message.is_response:
            return self._querier.receive_response(message, source)
        return self._responder.receive_query(message, source, local, now)
