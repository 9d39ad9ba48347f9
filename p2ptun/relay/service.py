"""TURN, for those who prove who they are (RFC 8656 5)."""

from __future__ import annotations

from typing import Final

from p2ptun.relay.allocate import Allocator
from p2ptun.relay.allocation import Allocation
from p2ptun.relay.carrier import Carrier
from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import EndReason, RequestRefused
from p2ptun.relay.guard import Guard
from p2ptun.relay.meter import Meter
from p2ptun.relay.method import METHODS
from p2ptun.relay.outbox import Exchange, Outbox
from p2ptun.relay.port import Ports
from p2ptun.relay.quota import Quota
from p2ptun.relay.registry import Means, Registry
from p2ptun.stun.attribute import ERROR_CODE, UNKNOWN_ATTRIBUTES
from p2ptun.stun.credential import CredentialStore, LongTermServer, Refused, SecurityFeature
from p2ptun.stun.error import Code
from p2ptun.stun.integrity import has_integrity
from p2ptun.stun.message import Message, Method, encode_message
from p2ptun.types import Endpoint, RandomBytes, Transmit

_SECRET_SIZE: Final = 32  # bytes


class RelayService:
    """Authenticates requests, and has them served."""

    def __init__(
        self,
        config: ServerConfig,
        credentials: CredentialStore,
        random_bytes: RandomBytes,
        guard: Guard,
        outbox: Outbox,
    ) -> None:
        """Raises ConfigError when the realm can't be used."""
        features = SecurityFeature.PASSWORD_ALGORITHMS
        if config.hides_usernames:
            features |= SecurityFeature.USERNAME_ANONYMITY
        self._authority = LongTermServer(config.realm, credentials, random_bytes(_SECRET_SIZE), features)
        self._outbox = outbox
        self.whole = Meter(config.limits.total_rate)
        means = Means(config, guard, Ports(config, random_bytes), Quota(config.limits), outbox, random_bytes)
        self.registry = Registry(means)
        self.carrier = Carrier(self.registry)
        self.allocator = Allocator(self.registry, self.whole)

    def receive_request(self, request: Message, client: Endpoint, local: Endpoint, now: float) -> None:
        """Take a request other than Binding from a client. Untrusted."""
        result = self._authority.authenticate(request, client, now)
        if isinstance(result, Refused):
            self._challenge(request, result.response, client, local, now)
            return
        exchange = Exchange(request, client, local, result.username, result.integrity)
        if request.unknown_required:
            unknown = (UNKNOWN_ATTRIBUTES, request.unknown_required)
            self._outbox.refuse(exchange, Code.UNKNOWN_ATTRIBUTE, unknown)
        elif request.method is Method.ALLOCATE:
            self.allocator.allocate(exchange, now)
        else:
            self._serve(exchange, self.registry.find(client, local), now)

    def connection_closed(self, client: Endpoint, local: Endpoint) -> None:
        """End what a stream's client has."""
        self.allocator.cancel(client, local)
        allocation = self.registry.find(client, local)
        if allocation is not None:
            self.registry.end(allocation, EndReason.DISCONNECTED)

    def _serve(self, exchange: Exchange, allocation: Allocation | None, now: float) -> None:
        serve = METHODS.get(exchange.request.method)
        if serve is None:
            self._outbox.refuse(exchange, Code.BAD_REQUEST)  # Send and Data are never requests
        elif allocation is None:
            self._outbox.refuse(exchange, Code.ALLOCATION_MISMATCH)
        elif allocation.user != exchange.user:
            self._outbox.refuse(exchange, Code.WRONG_CREDENTIALS)
        else:
            result = serve(self.registry, allocation, exchange.request, now)
            if isinstance(result, Code):
                self._outbox.refuse(exchange, result)
            else:
                self._outbox.answer(exchange, result)

    def _challenge(self, request: Message, response: Message, client: Endpoint, local: Endpoint, now: float) -> None:
        payload = encode_message(response, fingerprint=request.has_fingerprint)
        if not self._outbox.answer_stranger(Transmit(payload, local, client), client, len(request.raw), now):
            return
        error = response.get(ERROR_CODE)
        if error is not None and error.code != Code.STALE_NONCE and has_integrity(request):
            refused = RequestRefused(client, local, request.method, error.code, error.reason, "")
            self._outbox.record_refusal(refused)
