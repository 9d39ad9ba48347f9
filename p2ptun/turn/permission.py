"""Permissions (RFC 8656 9): which addresses may send to us. They last 300 s and know no ports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from p2ptun.deadlines import earliest
from p2ptun.stun.turn import PERMISSION_LIFETIME
from p2ptun.turn.schedule import PEER_INTERVAL
from p2ptun.types import Endpoint, IPAddress

BATCH: Final = 16  # addresses in one request; our choice: with seal and names it fits any MTU
GATHERED: Final = 5.0  # seconds; our choice: what falls due so soon is refreshed together with what is due


@dataclass(slots=True)
class _Permission:
    """One address.

    Attributes:
        peers: Who of it is wanted; a permission without any isn't refreshed.
        due_at: When to ask for it; None while a request is in flight, and when it was refused.
        expires_at: Until when the server has granted it; None when it never has.
        refusal: The code with which it was refused.
    """

    peers: set[Endpoint] = field(default_factory=set)
    due_at: float | None = None
    expires_at: float | None = None
    refusal: int | None = None

    def next_timeout(self) -> float | None:
        return self.due_at if self.peers else self.expires_at


class Permissions:
    """The permissions of one allocation. Says what to ask for and when; asks nobody itself."""

    __slots__ = ("_permissions",)

    def __init__(self) -> None:
        self._permissions: dict[IPAddress, _Permission] = {}

    def admits(self, address: IPAddress) -> bool:
        """Tell whether data from `address` may come. The server's answer may be behind the first of it."""
        permission = self._permissions.get(address)
        return permission is not None and permission.refusal is None

    def refusal(self, address: IPAddress) -> int | None:
        """Give the code with which the server refused `address`; None when it didn't."""
        permission = self._permissions.get(address)
        return None if permission is None else permission.refusal

    def want(self, peer: Endpoint, now: float) -> None:
        """Have a permission for the address of `peer`, and keep it."""
        permission = self._permissions.get(peer.address)
        if permission is None:
            permission = self._permissions[peer.address] = _Permission(due_at=now)
        permission.peers.add(peer)

    def unwant(self, peer: Endpoint) -> None:
        """Refresh it no longer, unless another peer has the same address."""
        permission = self._permissions.get(peer.address)
        if permission is None:
            return
        permission.peers.discard(peer)
        if not permission.peers and (permission.expires_at is None or permission.refusal is not None):
            del self._permissions[peer.address]

    def take_due(self, now: float) -> tuple[IPAddress, ...]:
        """Give up to BATCH addresses to ask for now, none when nothing is due."""
        wanted = [(address, one) for address, one in self._permissions.items() if one.peers and one.due_at is not None]
        if not any(one.due_at is not None and one.due_at <= now for _, one in wanted):
            return ()
        soon = [(address, one) for address, one in wanted if one.due_at is not None and one.due_at <= now + GATHERED]
        soon.sort(key=lambda item: item[1].due_at or now)
        for _, permission in soon[:BATCH]:
            permission.due_at = None
        return tuple(address for address, _ in soon[:BATCH])

    def grant(self, addresses: Iterable[IPAddress], now: float) -> None:
        """Know that the server has granted them."""
        for permission in self._known(addresses):
            permission.expires_at = now + PERMISSION_LIFETIME
            permission.due_at = now + PEER_INTERVAL

    def postpone(self, addresses: Iterable[IPAddress], at: float) -> None:
        """Ask again at `at`: there was no answer, or the server could not do it."""
        for permission in self._known(addresses):
            permission.due_at = at

    def refuse(self, address: IPAddress, code: int) -> list[Endpoint]:
        """Know that the server won't have this address; give the peers which that concerns."""
        peers: list[Endpoint] = []
        for permission in self._known((address,)):
            permission.refusal, permission.due_at = code, None
            peers += sorted(permission.peers, key=lambda peer: peer.port)
        return peers

    def handle_timeout(self, now: float) -> None:
        """Forget what nobody wants and has run out."""
        over = [
            address
            for address, one in self._permissions.items()
            if not one.peers and one.expires_at is not None and one.expires_at <= now
        ]
        for address in over:
            del self._permissions[address]

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` or `take_due` has something to do."""
        return earliest(permission.next_timeout() for permission in self._permissions.values())

    def _known(self, addresses: Iterable[IPAddress]) -> list[_Permission]:
        return [self._permissions[address] for address in addresses if address in self._permissions]
