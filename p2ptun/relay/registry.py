"""All allocations, and everything that hangs on them and expires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from p2ptun.relay.allocation import (
    RESERVATION_LIFETIME,
    Allocation,
    Channel,
    FiveTuple,
    Permission,
    Relay,
    Reservation,
)
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import AllocationEnded, AllocationMade, EndReason
from p2ptun.relay.guard import Guard
from p2ptun.relay.order import CloseRelay
from p2ptun.relay.outbox import Outbox
from p2ptun.relay.port import Ports
from p2ptun.relay.quota import Quota
from p2ptun.relay.way import Ways
from p2ptun.relay.wheel import Wheel
from p2ptun.stun.turn import CHANNEL_LIFETIME, PERMISSION_LIFETIME
from p2ptun.types import Endpoint, IPAddress, RandomBytes

TOKEN_SIZE: Final = 8  # bytes, RFC 8656 18.10

Expiring: TypeAlias = Relay | Permission | Channel | Reservation


@dataclass(frozen=True, slots=True)
class Means:
    """What the registry gives out, and under which rules."""

    config: ServerConfig
    guard: Guard
    ports: Ports
    quota: Quota
    outbox: Outbox
    random_bytes: RandomBytes


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of everything there is, for metrics: what the memory that clients take is proportional to.

    Attributes:
        allocations: Allocations, those whose sockets are still being bound left out.
        permissions: Permissions of all of them.
        channels: Channels of all of them, those that cool down included.
        ways: Channels that carry data at the moment.
        ports: Ports that are relayed from, reserved, or being bound.
        deadlines: What will expire.
    """

    allocations: int = 0
    permissions: int = 0
    channels: int = 0
    ways: int = 0
    ports: int = 0
    deadlines: int = 0


class Registry:
    """What exists. Whether somebody may have it is asked before; only sizes follow from `quota` and `Limits`."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.ways = Ways()
        self.relays: dict[Endpoint, Relay] = {}
        self._allocations: dict[FiveTuple, Allocation] = {}
        self._reservations: dict[bytes, Reservation] = {}
        self._towards: dict[Endpoint, dict[Channel, None]] = {}  # channels by peer, where the peer is a relay of ours
        self._wheel: Wheel[Expiring] = Wheel()

    def __len__(self) -> int:
        return len(self._allocations)

    # Getters

    def find(self, client: Endpoint, local: Endpoint) -> Allocation | None:
        """Give the allocation of a 5-tuple."""
        return self._allocations.get((client, local))

    def usage(self) -> Usage:
        """Count what exists."""
        allocations = self._allocations.values()
        return Usage(
            len(allocations),
            sum(len(allocation.permissions) for allocation in allocations),
            sum(len(allocation.channels) for allocation in allocations),
            len(self.ways),
            self.means.ports.taken,
            len(self._wheel),
        )

    def next_timeout(self) -> float | None:
        """Tell when something expires."""
        return self._wheel.next()

    # Allocations

    def add(self, allocation: Allocation, expires_at: float) -> None:
        """Enter a new allocation. Quota and ports are taken already."""
        self._allocations[allocation.five_tuple] = allocation
        for relayed in allocation.relayed:
            relay = Relay(allocation, relayed, expires_at)
            allocation.relays[relayed.address.version] = relay
            self.relays[relayed] = relay
            self._wheel.set(relay, expires_at)
        self.means.outbox.events.append(
            AllocationMade(allocation.client, allocation.local, allocation.relayed, allocation.user)
        )

    def extend(self, relay: Relay, expires_at: float) -> None:
        """Move the end of a relayed address, either way."""
        relay.expires_at = expires_at
        self._wheel.set(relay, expires_at)

    def remove(self, relay: Relay, reason: EndReason) -> None:
        """Take a relayed address away with all that hangs on it; the last one ends the allocation."""
        allocation, version = relay.allocation, relay.relayed.address.version
        for channel in [one for one in allocation.channels.values() if one.peer.address.version == version]:
            self._unbind(channel)
        for permission in [one for one in allocation.permissions.values() if one.address.version == version]:
            self._forbid(permission)
        self._wheel.cancel(relay)
        del allocation.relays[version]
        del self.relays[relay.relayed]
        for channel in self._towards.pop(relay.relayed, {}):
            self.ways.close(channel)
        self.means.ports.release(relay.relayed)
        self.means.outbox.orders.append(CloseRelay(relay.relayed))
        if not allocation.relays:
            self._end(allocation, reason)

    def end(self, allocation: Allocation, reason: EndReason) -> None:
        """End an allocation."""
        for relay in tuple(allocation.relays.values()):
            self.remove(relay, reason)

    def _end(self, allocation: Allocation, reason: EndReason) -> None:
        del self._allocations[allocation.five_tuple]
        self.means.quota.remove(allocation.user, allocation.client.address)
        meter = allocation.meter
        self.means.outbox.events.append(
            AllocationEnded(
                allocation.client,
                allocation.local,
                allocation.relayed,
                allocation.user,
                reason,
                meter.packets,
                meter.bytes,
            )
        )

    # Reserved ports

    def reserve(self, relayed: Endpoint, user: str, client: Endpoint, now: float) -> bytes:
        """Keep a port for whoever shows the token that this returns. Quota and port are taken already."""
        token = self.means.random_bytes(TOKEN_SIZE)
        reservation = Reservation(token, relayed, user, client)
        self._reservations[token] = reservation
        self._wheel.set(reservation, now + RESERVATION_LIFETIME)
        return token

    def redeem(self, token: bytes, user: str) -> Endpoint | None:
        """Give the port that `user` had reserved; None when there is no such reservation, or no more."""
        reservation = self._reservations.get(token)
        if reservation is None or reservation.user != user:
            return None
        self._wheel.cancel(reservation)
        self._forget(reservation)
        return reservation.relayed

    def _forget(self, reservation: Reservation) -> None:
        del self._reservations[reservation.token]
        self.means.quota.remove(reservation.user, reservation.client.address)

    # Permissions and channels

    def permit(self, allocation: Allocation, address: IPAddress, now: float) -> None:
        """Give or refresh a permission."""
        permission = allocation.permissions.get(address)
        expires_at = now + PERMISSION_LIFETIME
        if permission is not None:
            permission.expires_at = expires_at
        else:
            permission = Permission(allocation, address, expires_at)
            allocation.permissions[address] = permission
            self._wheel.set(permission, expires_at)
        for channel in allocation.channels.values():
            if channel.peer.address == address:
                self._open(channel, now)

    def bind(self, allocation: Allocation, number: int, peer: Endpoint, now: float) -> None:
        """Bind a channel, or refresh it, and the permission with it (RFC 8656 12.2)."""
        channel = allocation.channels.get(number)
        expires_at = now + CHANNEL_LIFETIME
        if channel is not None:
            channel.expires_at = expires_at
        else:
            channel = Channel(allocation, number, peer, expires_at)
            allocation.channels[number] = allocation.numbers[peer] = channel
        self._wheel.set(channel, expires_at)
        self.permit(allocation, peer.address, now)

    def _open(self, channel: Channel, now: float) -> None:
        peer = channel.peer
        if now < channel.expires_at and self.means.guard.allows_port(peer, self.relays):
            self.ways.open(channel, channel.allocation.relays[peer.address.version])
            if peer in self.relays:
                self._towards.setdefault(peer, {})[channel] = None

    def _close(self, channel: Channel) -> None:
        self.ways.close(channel)
        channels = self._towards.get(channel.peer, {})
        if channel in channels:
            del channels[channel]
            if not channels:
                del self._towards[channel.peer]

    def _unbind(self, channel: Channel) -> None:
        self._close(channel)
        self._wheel.cancel(channel)
        del channel.allocation.channels[channel.number]
        del channel.allocation.numbers[channel.peer]

    def _forbid(self, permission: Permission) -> None:
        allocation = permission.allocation
        self._wheel.cancel(permission)
        del allocation.permissions[permission.address]
        for channel in allocation.channels.values():
            if channel.peer.address == permission.address:
                self._close(channel)

    # Time

    def handle_timeout(self, now: float) -> None:
        """End what has expired."""
        for item in self._wheel.pop_expired(now):
            match item:
                case Relay() if self.relays.get(item.relayed) is item:
                    self.remove(item, EndReason.EXPIRED)
                case Permission() if item.allocation.permissions.get(item.address) is item:
                    self._expire_permission(item, now)
                case Channel() if item.allocation.channels.get(item.number) is item:
                    self._expire_channel(item, now)
                case Reservation():
                    self._forget(item)
                    self.means.ports.release(item.relayed)
                case _:
                    pass  # it went together with a relayed address that expired in the same second

    def _expire_permission(self, permission: Permission, now: float) -> None:
        if now < permission.expires_at:
            self._wheel.set(permission, permission.expires_at)
        else:
            self._forbid(permission)

    def _expire_channel(self, channel: Channel, now: float) -> None:
        if now < channel.free_at:
            self._close(channel)
            self._wheel.set(channel, channel.free_at)
        else:
            self._unbind(channel)
