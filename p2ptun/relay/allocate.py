"""Allocate requests (RFC 8656 7.2). An answer waits until the owner has bound the sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from p2ptun.errors import LocalProtocolError
from p2ptun.relay.allocation import VERSIONS, Allocation, FiveTuple, granted_lifetime
from p2ptun.relay.event import DropReason
from p2ptun.relay.meter import Meter
from p2ptun.relay.order import CloseRelay, OpenRelay
from p2ptun.relay.outbox import Exchange
from p2ptun.relay.port import Parity
from p2ptun.relay.registry import Registry
from p2ptun.stun.attribute import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    DONT_FRAGMENT,
    EVEN_PORT,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.codec import AddressError, AddressFamily
from p2ptun.stun.ephemeral import expiry_of
from p2ptun.stun.error import Code
from p2ptun.stun.message import Message
from p2ptun.stun.turn import UDP
from p2ptun.types import Endpoint

MAX_ATTEMPTS: Final = 8  # ports that the kernel may refuse; our choice, beyond it more is wrong than a port in use
_FAMILIES: Final = {version: family for family, version in VERSIONS.items()}


@dataclass(frozen=True, slots=True)
class _Wish:
    """What an Allocate request asks for: relayed addresses of these IP versions, and of which kind."""

    versions: tuple[int, ...]
    parity: Parity


@dataclass(slots=True, eq=False)
class _Pending:
    """An Allocate request whose sockets are being bound."""

    exchange: Exchange
    parity: Parity
    waiting: int = 0
    opened: list[Endpoint] = field(default_factory=list)
    failures: list[AddressError] = field(default_factory=list)
    is_cancelled: bool = False


@dataclass(slots=True, eq=False)
class _Opening:
    """A socket that is being bound. Refused ports stay taken until it is settled, so that each is tried once."""

    pending: _Pending
    relayed: Endpoint
    is_fixed: bool
    refused: list[Endpoint] = field(default_factory=list)


class Allocator:
    """Makes allocations. Requests come here authenticated and with no attribute unknown."""

    def __init__(self, registry: Registry, whole: Meter) -> None:
        self._registry = registry
        self._means = registry.means
        self._whole = whole
        self._pending: dict[FiveTuple, _Pending] = {}
        self._openings: dict[int, _Opening] = {}
        self._last_order_id = 0

    # Commands

    def allocate(self, exchange: Exchange, now: float) -> None:
        """Serve an Allocate request."""
        if self._repeats(exchange):
            return
        wish = self._read_wish(exchange.request)
        if isinstance(wish, Code):
            unsupported = ((UNKNOWN_ATTRIBUTES, (DONT_FRAGMENT.number,)),) if wish == Code.UNKNOWN_ATTRIBUTE else ()
            self._means.outbox.refuse(exchange, wish, *unsupported)
            return
        token = exchange.request.get(RESERVATION_TOKEN)
        reserved = None if token is None else self._registry.redeem(token, exchange.user)
        if token is not None and reserved is None:
            self._means.outbox.refuse(exchange, Code.INSUFFICIENT_CAPACITY)
            return
        refusal = self._means.quota.refusal(exchange.user, exchange.client.address, wish.parity.ports)
        if refusal is None:
            self._begin(exchange, wish, reserved, now)
            return
        self._means.outbox.refuse(exchange, refusal)
        if reserved is not None:
            self._means.ports.release(reserved)

    def cancel(self, client: Endpoint, local: Endpoint) -> None:
        """Make nothing of a request whose client has gone."""
        pending = self._pending.get((client, local))
        if pending is not None:
            pending.is_cancelled = True

    def relay_opened(self, order_id: int, relayed: Endpoint, now: float) -> None:
        """Take a bound socket. Raises LocalProtocolError when it wasn't ordered."""
        opening = self._openings.get(order_id)
        if opening is None or opening.relayed != relayed:
            raise LocalProtocolError(f"{relayed} isn't what order {order_id} was for")
        opening.pending.opened.append(relayed)
        self._settle(order_id, now)

    def relay_refused(self, order_id: int, now: float) -> None:
        """Try another port, or give up. Raises LocalProtocolError when it wasn't ordered."""
        opening = self._openings.get(order_id)
        if opening is None:
            raise LocalProtocolError(f"there is no order {order_id}")
        pending, version = opening.pending, opening.relayed.address.version
        opening.refused.append(opening.relayed)
        if pending.parity is Parity.PAIR:
            opening.refused.append(_next_to(opening.relayed))
        attempts = len(opening.refused) // pending.parity.ports
        relayed = None
        if not (opening.is_fixed or pending.is_cancelled or attempts >= MAX_ATTEMPTS):
            relayed = self._means.ports.take(version, pending.parity, _owner(pending.exchange))
        if relayed is None:
            pending.failures.append(_address_error(version, Code.INSUFFICIENT_CAPACITY))
            self._settle(order_id, now)
            return
        opening.relayed = relayed
        del self._openings[order_id]
        self._order(opening)

    # What is asked for

    def _repeats(self, exchange: Exchange) -> bool:
        """Answer a request from a 5-tuple that has, or is about to have, an allocation."""
        pending = self._pending.get((exchange.client, exchange.local))
        if pending is not None and pending.exchange.request.transaction_id == exchange.request.transaction_id:
            self._means.outbox.drop(DropReason.UNFINISHED)
            return True
        existing = self._registry.find(exchange.client, exchange.local)
        if pending is None and existing is None:
            return False
        if existing is not None and (existing.transaction_id, existing.user) == (
            exchange.request.transaction_id,
            exchange.user,
        ):
            self._means.outbox.answer(exchange, existing.success)
        else:
            self._means.outbox.refuse(exchange, Code.ALLOCATION_MISMATCH)
        return True

    def _read_wish(self, request: Message) -> _Wish | Code:
        """Read what a request asks for; the order of the checks is that of RFC 8656 7.2."""
        transport = request.get(REQUESTED_TRANSPORT)
        if transport is None:
            return Code.BAD_REQUEST
        if transport != UDP:
            return Code.UNSUPPORTED_TRANSPORT_PROTOCOL
        if request.get(DONT_FRAGMENT):
            return Code.UNKNOWN_ATTRIBUTE
        family, additional = request.get(REQUESTED_ADDRESS_FAMILY), request.get(ADDITIONAL_ADDRESS_FAMILY)
        reserves = request.get(EVEN_PORT)
        has_token = request.get(RESERVATION_TOKEN) is not None
        if has_token and not (reserves is None and family is None and additional is None):
            return Code.BAD_REQUEST
        if additional is not None and (family is not None or reserves or additional != AddressFamily.IPV6):
            return Code.BAD_REQUEST
        parity = Parity.ANY if reserves is None else Parity.PAIR if reserves else Parity.EVEN
        if additional is not None:
            return self._offered((4, 6), parity)
        return self._offered((4,) if family is None else (VERSIONS.get(family, 0),), parity, has_token)

    def _offered(self, versions: tuple[int, ...], parity: Parity, has_token: bool = False) -> _Wish | Code:
        offers = any(self._means.ports.has_family(version) for version in versions)
        return _Wish(versions, parity) if offers or has_token else Code.ADDRESS_FAMILY_NOT_SUPPORTED

    # From the request to the allocation

    def _begin(self, exchange: Exchange, wish: _Wish, reserved: Endpoint | None, now: float) -> None:
        self._means.quota.add(exchange.user, exchange.client.address, wish.parity.ports)
        pending = _Pending(exchange, wish.parity)
        self._pending[exchange.client, exchange.local] = pending
        openings = [_Opening(pending, reserved, True)] if reserved else []
        for version in () if reserved else wish.versions:
            relayed = self._means.ports.take(version, wish.parity, _owner(exchange))
            if relayed is not None:
                openings.append(_Opening(pending, relayed, False))
            elif self._means.ports.has_family(version):
                pending.failures.append(_address_error(version, Code.INSUFFICIENT_CAPACITY))
            else:
                pending.failures.append(_address_error(version, Code.ADDRESS_FAMILY_NOT_SUPPORTED))
        pending.waiting = len(openings)
        for opening in openings:
            self._order(opening)
        if not openings:
            self._finish(pending, now)

    def _order(self, opening: _Opening) -> None:
        self._last_order_id += 1
        self._openings[self._last_order_id] = opening
        self._means.outbox.orders.append(OpenRelay(self._last_order_id, opening.relayed))

    def _settle(self, order_id: int, now: float) -> None:
        opening = self._openings.pop(order_id)
        for relayed in opening.refused:
            self._means.ports.release(relayed)
        opening.pending.waiting -= 1
        if not opening.pending.waiting:
            self._finish(opening.pending, now)

    def _finish(self, pending: _Pending, now: float) -> None:
        exchange = pending.exchange
        del self._pending[exchange.client, exchange.local]
        if pending.is_cancelled or not pending.opened:
            self._give_back(pending)
        else:
            self._make(pending, now)

    def _give_back(self, pending: _Pending) -> None:
        exchange = pending.exchange
        self._means.quota.remove(exchange.user, exchange.client.address, pending.parity.ports)
        for relayed in pending.opened:
            self._means.ports.release(relayed)
            if pending.parity is Parity.PAIR:
                self._means.ports.release(_next_to(relayed))
            self._means.outbox.orders.append(CloseRelay(relayed))
        if not pending.is_cancelled:
            self._means.outbox.refuse(exchange, Code.INSUFFICIENT_CAPACITY)

    def _make(self, pending: _Pending, now: float) -> None:
        exchange, limits = pending.exchange, self._means.config.limits
        relayed = tuple(sorted(pending.opened, key=lambda endpoint: endpoint.address.version))
        lifetime = granted_lifetime(exchange.request.get(LIFETIME), limits.lifetime)
        success: list[AttributeValue] = [(XOR_RELAYED_ADDRESS, endpoint) for endpoint in relayed]
        success += [(LIFETIME, lifetime), (XOR_MAPPED_ADDRESS, exchange.client)]
        success += [(ADDRESS_ERROR_CODE, failure) for failure in pending.failures]
        if pending.parity is Parity.PAIR:
            token = self._registry.reserve(_next_to(relayed[0]), exchange.user, exchange.client, now)
            success.append((RESERVATION_TOKEN, token))
        meter = Meter(limits.allocation_rate, self._whole)
        transaction_id, user = exchange.request.transaction_id, exchange.user
        allocation = Allocation(exchange.client, exchange.local, user, transaction_id, tuple(success), relayed, meter)
        self._registry.add(allocation, now + lifetime)
        self._means.outbox.answer(exchange, tuple(success))


def _next_to(relayed: Endpoint) -> Endpoint:
    return Endpoint(relayed.address, relayed.port + 1)


def _owner(exchange: Exchange) -> str:
    """Name who asks, the same after a restart of either side: not by a client port or an expiry, which are new then."""
    user = exchange.user
    label = user if expiry_of(user) is None else user.partition(":")[2]
    return f"{exchange.client.address} {label}"


def _address_error(version: int, code: Code) -> AddressError:
    return AddressError(_FAMILIES[version], int(code), code.reason)
