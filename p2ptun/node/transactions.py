"""Who asked: the transaction IDs of STUN requests on their way, and whose answers are whose."""

from __future__ import annotations

from p2ptun.stun.message import MessageClass, TransactionId, peek_header

LIFETIME = 40.0
"""Seconds after its last copy for which the answer to a request finds its way: longer than an unanswered transaction
lasts with an RTO of 500 ms (39.5 s, RFC 8489 6.2.1) and than consent does (30 s, RFC 7675 5.1)."""

MAX_REMEMBERED = 1 << 16
"""Entries of either table. With a new transaction every 5 ms (RFC 8445 14.2) and a consent check every 4 s for each of
5,000 paths a lifetime sees 58,000. Beyond that answers may be lost, as packets may."""


class TransactionTable:
    """Remembers which peer sent a request, for as long as an answer may come.

    Two tables take turns. What is sent is noted in the young one; when that has been in use for a lifetime it becomes
    the old one, and what stood in the old one is forgotten. So an entry lives for one to two lifetimes after the last
    copy of its request, an answer that comes twice finds its way twice, and nothing is ever searched through.
    """

    def __init__(self) -> None:
        self._young: dict[TransactionId, str] = {}
        self._old: dict[TransactionId, str] = {}
        self._turned_at = float("-inf")

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def record_sent(self, payload: bytes, name: str) -> None:
        """Take note of a datagram that the peer called `name` sends. Only STUN requests matter."""
        header = peek_header(payload)
        if header is None or header[0] is not MessageClass.REQUEST:
            return
        if len(self._young) >= MAX_REMEMBERED:
            self._turn()
        self._young[header[1]] = name

    def find(self, transaction_id: TransactionId) -> str | None:
        """Name the peer that a response is for; None when nobody of ours asked."""
        return self._young.get(transaction_id) or self._old.get(transaction_id)

    def handle_timeout(self, now: float) -> None:
        """Let the tables change places when it is time. Calling it late or not at all makes entries live longer."""
        if now - self._turned_at >= LIFETIME:
            self._turn()
            self._turned_at = now

    def _turn(self) -> None:
        self._young, self._old = {}, self._young
