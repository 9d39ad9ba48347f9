"""The keypairs of one session: current, previous and pending (WireGuard calls the last one next)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator

from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.timing import Timing

MAX_PREVIOUS = 3
"""What is still on its way under the keys before. Both sides may have rekeyed at once, and then each direction has keys
of its own; when that happens once more, those two and the first of the new ones are previous."""

MAX_PENDING = 2  # of each kind, bound and unbound: a retried handshake leaves one behind


class Keyring:
    """Which keypair seals, and which ones may still open.

    * `current` seals and opens. The initiator makes a keypair current as soon as it has the response; the responder
      only when something sealed with it arrived.
    * `previous` ones open what was sealed before the change, until they are too old.
    * `pending` ones belong to the responder, whose initiator hasn't proven them yet. They open, they never seal.

    A pending keypair can only be pushed out by a newer one of its own kind: an initiation that isn't bound to this
    session, and so may be a replay, never costs one that is.

    Every keypair that leaves is wiped and its index released.
    """

    def __init__(self, timing: Timing, release_index: Callable[[SessionIndex], None]) -> None:
        self._timing = timing
        self._release_index = release_index
        self._current: Keypair | None = None
        self._previous: list[Keypair] = []
        self._pending: list[Keypair] = []
        self._by_index: dict[int, Keypair] = {}
        self._last_binder = b""

    def __iter__(self) -> Iterator[Keypair]:
        """Yield every keypair that may open, the current one first."""
        if self._current is not None:
            yield self._current
        yield from self._previous
        yield from self._pending

    @property
    def current(self) -> Keypair | None:
        """The keypair that seals."""
        return self._current

    @property
    def newest_binder(self) -> bytes:
        """The binder that the next initiation should carry; it outlives the keys. Empty before the first session."""
        return self._last_binder

    @property
    def next_change_at(self) -> float | None:
        """When `expire` will have something to do."""
        return min((self._expires_at(keypair) for keypair in self), default=None)

    def find(self, index: int) -> Keypair | None:
        """Return the keypair that opens datagrams with `index`."""
        return self._by_index.get(index)

    def knows_binder(self, binder: bytes) -> bool:
        """Tell whether `binder` comes from a session that we remember."""
        known = [keypair.binder for keypair in self] + [self._last_binder]
        return bool(binder) and any(hmac.compare_digest(binder, one) for one in known)

    def has_pending(self, keypair: Keypair) -> bool:
        """Tell whether `keypair` waits for its first datagram."""
        return keypair in self._pending

    def add_pending(self, keypair: Keypair) -> None:
        """Keep what a handshake made that the peer initiated."""
        rivals = [other for other in self._pending if other.is_bound == keypair.is_bound]
        for other in rivals[: len(rivals) + 1 - MAX_PENDING]:
            self._drop(other)
        self._pending.append(keypair)
        self._by_index[keypair.local_index] = keypair

    def confirm(self, keypair: Keypair) -> None:
        """Make a pending keypair current: its first datagram arrived. None will arrive for older pending ones."""
        age = self._pending.index(keypair)
        older = self._pending[:age]
        self._pending.remove(keypair)
        for other in older:
            self._drop(other)
        self.rotate(keypair)

    def rotate(self, keypair: Keypair) -> None:
        """Make `keypair` current, and the current one previous."""
        if self._current is not None:
            self._previous.append(self._current)
        for other in self._previous[:-MAX_PREVIOUS]:
            self._drop(other)
        self._current = keypair
        self._by_index[keypair.local_index] = keypair
        self._last_binder = keypair.binder

    def expire(self, now: float) -> bool:
        """Drop what is too old at `now`; True when the current keypair stopped sealing by that."""
        for keypair in [keypair for keypair in self if keypair is not self._current]:
            if self._expires_at(keypair) <= now:
                self._drop(keypair)
        current = self._current
        if current is None or self._expires_at(current) > now:
            return False
        self._current = None
        self._previous.append(current)
        if self._expires_at(current) <= now:
            self._drop(current)
        return True

    def clear(self) -> None:
        """Wipe and drop everything."""
        for keypair in list(self):
            self._drop(keypair)

    def _expires_at(self, keypair: Keypair) -> float:
        lifetime = self._timing.reject_after if keypair is self._current else self._timing.forget_after
        return keypair.created_at + lifetime

    def _drop(self, keypair: Keypair) -> None:
        for keypairs in (self._previous, self._pending):
            if keypair in keypairs:
                keypairs.remove(keypair)
        if keypair is self._current:
            self._current = None
        del self._by_index[keypair.local_index]
        keypair.wipe()
        self._release_index(keypair.local_index)
