"""Which initiations a responder spends time on, and what a replayed one can do.

There is no wall clock, so an initiation carries no timestamp (WireGuard's does). What takes its place:

1. Every authentic initiation's ephemeral key is remembered, 512 of them. Whoever sends one of those again costs us a
   look-up.
2. An initiation from somebody who had a session with us carries that session's *binder*, a secret of that handshake.
   It is *bound*: made after that session. The only bound initiations that an attacker can send are some that he held
   back before they reached us; who can hold back can also cut the line.
3. All others are *unbound*: first contacts, peers that restarted, and replays of such from before we started, or older
   than the 512. They are admitted one every 2.5 s.

So a replay costs at most three X25519 and one answer smaller than itself, and leaves a pending keypair that nobody can
ever confirm. It can push out another unbound pending one, which delays a restarted peer by one retry at worst; it never
touches a keypair in use, nor a rekey on its way, since those are bound.

Above 20 initiations a second, authentic or not, a sender must first show that it receives at its source (`cookie`).
"""

from __future__ import annotations

import hmac
from collections import deque

from p2ptun.tunnel.cookie import CookieIssuer, mac1_key, mac_of
from p2ptun.tunnel.event import Refusal
from p2ptun.tunnel.wire import CookieReply, Initiation, Response
from p2ptun.types import RandomBytes

REMEMBERED = 512
HANDSHAKES_PER_SECOND = 20.0
HANDSHAKE_BURST = 40
UNBOUND_PER_SECOND = 0.4  # twice what an honest peer sends that knows us no more
UNBOUND_BURST = 4


class TokenBucket:
    """At most `burst` at once and `rate` a second in the long run."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at = float("-inf")

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = max(now, self._filled_at)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Gate:
    """Looks at handshake messages before and after their costly part."""

    def __init__(self, public: bytes, random_bytes: RandomBytes) -> None:
        self._mac1_key = mac1_key(public)
        self._issuer = CookieIssuer(public, random_bytes)
        self._seen: set[bytes] = set()
        self._seen_in_order: deque[bytes] = deque()
        self._from_anywhere = TokenBucket(HANDSHAKES_PER_SECOND, HANDSHAKE_BURST)
        self._from_shown_source = TokenBucket(HANDSHAKES_PER_SECOND, HANDSHAKE_BURST)
        self._responses = TokenBucket(HANDSHAKES_PER_SECOND, HANDSHAKE_BURST)
        self._unbound = TokenBucket(UNBOUND_PER_SECOND, UNBOUND_BURST)

    def inspect_initiation(self, initiation: Initiation, source: bytes, now: float) -> Refusal | CookieReply | None:
        """Tell, before any X25519, whether to read an initiation: None, or why not, or what to answer instead."""
        if not self._has_valid_mac1(initiation):
            return Refusal.WRONG_MAC
        if initiation.ephemeral in self._seen:
            return Refusal.REPLAYED
        if self._from_anywhere.take(now):
            return None
        if not source:
            return Refusal.OVERLOADED
        if not self._issuer.has_valid_mac2(initiation, source, now):
            return self._issuer.reply(initiation, source, now)
        return None if self._from_shown_source.take(now) else Refusal.OVERLOADED

    def inspect_response(self, response: Response, now: float) -> Refusal | None:
        """Tell, before any X25519, whether to read a response to our initiation."""
        if not self._has_valid_mac1(response):
            return Refusal.WRONG_MAC
        return None if self._responses.take(now) else Refusal.OVERLOADED

    def admit(self, initiation: Initiation, is_bound: bool, now: float) -> bool:
        """Remember an initiation that proved authentic; False when it is unbound and one too many."""
        self._remember(initiation.ephemeral)
        return is_bound or self._unbound.take(now)

    def _has_valid_mac1(self, message: Initiation | Response) -> bool:
        return hmac.compare_digest(mac_of(self._mac1_key, message.body), message.mac1)

    def _remember(self, ephemeral: bytes) -> None:
        self._seen.add(ephemeral)
        self._seen_in_order.append(ephemeral)
        if len(self._seen_in_order) > REMEMBERED:
            self._seen.discard(self._seen_in_order.popleft())
