"""Requests that use an allocation: Refresh, CreatePermission, ChannelBind (RFC 8656 8.2, 10.2, 12.2).

Each function does what an authenticated request of the allocation's user asks for, and returns the attributes of the
success response; or changes nothing and returns the error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from p2ptun.relay.allocation import VERSIONS, Allocation, granted_lifetime
from p2ptun.relay.event import EndReason
from p2ptun.relay.registry import Registry
from p2ptun.stun.attribute import (
    CHANNEL_NUMBER,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    XOR_PEER_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.error import Code
from p2ptun.stun.message import Message, Method
from p2ptun.stun.turn import FIRST_CHANNEL, LAST_OLD_CHANNEL
from p2ptun.types import IPAddress

Result: TypeAlias = tuple[AttributeValue, ...] | Code


def refresh(registry: Registry, allocation: Allocation, request: Message, now: float) -> Result:
    """Refresh: move the end of the allocation, or of its one family that is named; lifetime 0 is the end."""
    relays = tuple(allocation.relays.values())
    family = request.get(REQUESTED_ADDRESS_FAMILY)
    if family is not None:
        relays = tuple(relay for relay in relays if relay.relayed.address.version == VERSIONS.get(family))
        if not relays:
            return Code.PEER_ADDRESS_FAMILY_MISMATCH
    requested = request.get(LIFETIME)
    if requested == 0:
        for relay in relays:
            registry.remove(relay, EndReason.DELETED)
        return ((LIFETIME, 0),)
    lifetime = granted_lifetime(requested, registry.means.config.limits.lifetime)
    for relay in relays:
        registry.extend(relay, now + lifetime)
    return ((LIFETIME, lifetime),)


def create_permission(registry: Registry, allocation: Allocation, request: Message, now: float) -> Result:
    """CreatePermission: permit every address that is named, or none of them."""
    addresses = {peer.address for peer in request.get_all(XOR_PEER_ADDRESS)}
    if not addresses:
        return Code.BAD_REQUEST
    if any(address.version not in allocation.relays for address in addresses):
        return Code.PEER_ADDRESS_FAMILY_MISMATCH
    if not all(registry.means.guard.allows_address(address) for address in addresses):
        return Code.FORBIDDEN
    if not _has_room(registry, allocation, addresses):
        return Code.INSUFFICIENT_CAPACITY
    for address in addresses:
        registry.permit(allocation, address, now)
    return ()


def bind_channel(registry: Registry, allocation: Allocation, request: Message, now: float) -> Result:
    """ChannelBind: bind a number to a peer, each of which may have no other partner, nor have had one lately."""
    number, peer = request.get(CHANNEL_NUMBER), request.get(XOR_PEER_ADDRESS)
    if number is None or peer is None or not FIRST_CHANNEL <= number <= LAST_OLD_CHANNEL:
        return Code.BAD_REQUEST
    channel = allocation.channels.get(number)
    if channel is not allocation.numbers.get(peer):
        return Code.BAD_REQUEST
    if peer.address.version not in allocation.relays:
        return Code.PEER_ADDRESS_FAMILY_MISMATCH
    if not registry.means.guard.allows(peer, registry.relays):
        return Code.FORBIDDEN
    is_full = channel is None and len(allocation.channels) >= registry.means.config.limits.channels
    if is_full or not _has_room(registry, allocation, {peer.address}):
        return Code.INSUFFICIENT_CAPACITY
    registry.bind(allocation, number, peer, now)
    return ()


def _has_room(registry: Registry, allocation: Allocation, addresses: set[IPAddress]) -> bool:
    return len(allocation.permissions.keys() | addresses) <= registry.means.config.limits.permissions


METHODS: Final[dict[Method, Callable[[Registry, Allocation, Message, float], Result]]] = {
    Method.REFRESH: refresh,
    Method.CREATE_PERMISSION: create_permission,
    Method.CHANNEL_BIND: bind_channel,
}
"""Which function serves which request."""
