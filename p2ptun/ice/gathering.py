"""Server-reflexive candidates: ask every STUN server from every socket, and keep what the NAT gave (RFC 8445 5.1.1.2).

All servers are asked at once (5 ms apart, RFC 8445 14.2) and each answer counts as it comes; a slow one delays nobody
and is given up in the background: gathering goes on without it, and it is asked again later, for it may come back, and
so may the way to it. While people carry descriptions about, every binding is renewed from its own socket
(RFC 8445 5.1.1.4), and the owner learns when the NAT has changed it. A 300 isn't followed: nothing seals it (RFC 8489
14.8).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

from p2ptun.deadlines import earliest
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.consent import uniform
from p2ptun.ice.event import DropReason
from p2ptun.ice.pacer import Pacer
from p2ptun.ice.scope import destination_from
from p2ptun.stun.attribute import MAPPED_ADDRESS, OTHER_ADDRESS, XOR_MAPPED_ADDRESS
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, encode_message, new_transaction_id
from p2ptun.stun.transaction import Transaction
from p2ptun.stun.trust import may_follow
from p2ptun.types import Endpoint, RandomBytes, Transmit


@dataclass(frozen=True, slots=True)
class Mapping:
    """What one server saw of one socket. `alternative` numbers the server."""

    base: Endpoint
    server: Endpoint
    alternative: int
    endpoint: Endpoint


class BindingState(Enum):
    """What is known of a binding."""

    ASKED = "asked"  # never answered yet
    BOUND = "bound"
    LOST = "lost"  # given up: nobody waits for it


RETRY_INTERVAL = 1.0
"""Seconds until a server is asked again to which the kernel had no way; each further time takes twice as long."""

MOST_REFUSALS = 5  # of which note is taken: the usual interval is shorter than what would follow


@dataclass(slots=True)
class _Binding:
    """One socket at one server; either a transaction runs or `due_at` tells when the next one begins, or neither.

    `is_in_turn`: the pacer keeps that time free for it. `refusals`: how often in succession the kernel didn't send.
    """

    base: Endpoint
    server: Endpoint
    alternative: int
    transaction_id: TransactionId
    transaction: Transaction | None
    state: BindingState = BindingState.ASKED
    due_at: float | None = None
    is_in_turn: bool = False
    refusals: int = 0

    def next_timeout(self) -> float | None:
        return self.transaction.next_timeout() if self.transaction else self.due_at


class Gathering:
    """Every binding of an agent. Reports by `next_mapping` what servers saw; makes no candidates itself."""

    def __init__(self, config: AgentConfig, random_bytes: RandomBytes, pacer: Pacer) -> None:
        self._config = config
        self._pacer = pacer
        self._random_bytes = random_bytes
        self._bases: list[Endpoint] = []
        self._servers: list[Endpoint] = []
        self._has_all_servers = False
        self._keeps_bindings = True
        self._bindings: dict[tuple[Endpoint, Endpoint], _Binding] = {}
        self._mappings: deque[Mapping] = deque()

    @property
    def is_complete(self) -> bool:
        """Whether nothing more will come: all servers are known and every binding has its result."""
        done, total = self.progress
        return self._has_all_servers and done == total

    @property
    def progress(self) -> tuple[int, int]:
        """How many bindings have a result, and how many there are."""
        done = sum(binding.state is not BindingState.ASKED for binding in self._bindings.values())
        return done, len(self._bindings)

    def add_base(self, base: Endpoint, now: float) -> None:
        """Ask all servers from a new socket."""
        self._bases.append(base)
        for alternative, server in enumerate(self._servers):
            self._bind(base, server, alternative, now)

    def remove_base(self, base: Endpoint) -> None:
        """Forget a socket. Harmless when it isn't known, as a relayed address isn't."""
        if base not in self._bases:
            return
        self._bases.remove(base)
        for key in [key for key in self._bindings if key[0] == base]:
            del self._bindings[key]

    def add_server(self, server: Endpoint, now: float) -> None:
        """Ask one more server from all sockets; one that is known, or one too many, is left out."""
        if server in self._servers or len(self._servers) >= self._config.max_servers:
            return
        self._servers.append(server)
        for base in self._bases:
            self._bind(base, server, len(self._servers) - 1, now)

    def end_of_servers(self) -> None:
        """Know that no more servers come."""
        self._has_all_servers = True

    def rest(self) -> None:
        """Keep bindings alive no longer: the selected pair has its own checks (RFC 8445 5.1.1.4)."""
        if not self._keeps_bindings:
            return
        self._keeps_bindings = False
        for binding in self._bindings.values():
            if binding.state is not BindingState.ASKED:
                binding.due_at, binding.is_in_turn = None, False

    def renew(self, now: float) -> None:
        """Ask every server again, and keep the bindings alive: a restart gathers anew (RFC 8445 9).

        Whoever waits for a turn keeps it: restarts in quick succession shall not take the turns of other agents.
        """
        self._keeps_bindings = True
        for binding in self._bindings.values():
            if binding.transaction is None and not binding.is_in_turn:
                self._ask_in_turn(binding, now)

    def record_send_error(self, base: Endpoint, server: Endpoint, now: float) -> None:
        """Give a binding up for now: there is no way from this socket to this server."""
        binding = self._bindings.get((base, server))
        if binding is not None and binding.transaction is not None and binding.state is not BindingState.BOUND:
            self._give_up(binding)
            self._ask_later(binding, RETRY_INTERVAL * 2**binding.refusals, now)
            binding.refusals = min(binding.refusals + 1, MOST_REFUSALS)

    def has_asked(self, message: Message) -> bool:
        """Tell whether a response belongs to one of our requests."""
        return self._find(message) is not None

    def receive_response(self, message: Message, source: Endpoint, base: Endpoint, now: float) -> DropReason | None:
        """Take in a server's answer. Nothing seals it: the transaction ID and the addresses have to fit."""
        binding = self._find(message)
        if binding is None or (binding.base, binding.server) != (base, source):
            return DropReason.UNKNOWN_TRANSACTION
        seen = _mapped_address(message, base)
        if seen is None:
            self._give_up(binding)
            return None
        binding.state, binding.refusals = BindingState.BOUND, 0
        binding.transaction = None
        self._ask_later(binding, math.inf, now)
        self._mappings.append(Mapping(base, source, binding.alternative, seen))
        self._ask_elsewhere(message.get(OTHER_ADDRESS), source, now)
        return None

    def handle_timeout(self, now: float) -> None:
        """Repeat, renew or give up what is due."""
        for binding in self._bindings.values():
            if binding.transaction is not None:
                self._advance(binding, binding.transaction, now)
            elif binding.due_at is not None and binding.due_at <= now:
                self._ask(binding, now)

    def next_transmit(self) -> Transmit | None:
        """Give a request to send."""
        for binding in self._bindings.values():
            payload = binding.transaction.next_transmit() if binding.transaction else None
            if payload is not None:
                return Transmit(payload, binding.base, binding.server)
        return None

    def next_mapping(self) -> Mapping | None:
        """Give what a server saw."""
        return self._mappings.popleft() if self._mappings else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        times = (binding.next_timeout() for binding in self._bindings.values())
        return earliest(times)

    def _ask_elsewhere(self, other: Endpoint | None, server: Endpoint, now: float) -> None:
        """Ask a lone server at its other address, too: two answers tell what our mappings depend on (RFC 5780 4.3)."""
        is_lone = len(self._servers) == 1 and self._has_all_servers
        if is_lone and other is not None and other.address != server.address and may_follow(server, other):
            self.add_server(other, now)

    def _bind(self, base: Endpoint, server: Endpoint, alternative: int, now: float) -> None:
        if destination_from(base, server) == server:
            binding = _Binding(base, server, alternative, TransactionId(b""), None)
            self._bindings[base, server] = binding
            self._ask_in_turn(binding, now)

    def _ask_in_turn(self, binding: _Binding, now: float) -> None:
        """Ask now, or as soon as it is our turn among all agents."""
        binding.due_at, binding.is_in_turn = self._pacer.reserve(now), True
        if binding.due_at <= now:
            self._ask(binding, now)

    def _ask(self, binding: _Binding, now: float) -> None:
        binding.transaction_id = new_transaction_id(self._random_bytes)
        binding.due_at, binding.is_in_turn = None, False
        request = Message(Method.BINDING, MessageClass.REQUEST, binding.transaction_id)
        binding.transaction = Transaction(encode_message(request), now)

    def _advance(self, binding: _Binding, transaction: Transaction, now: float) -> None:
        transaction.handle_timeout(now)
        if not transaction.is_expired:
            return
        binding.transaction = None
        if binding.state is BindingState.ASKED:
            binding.state = BindingState.LOST
        self._ask_later(binding, math.inf, now)  # the server may come back, and others may rely on this address

    def _ask_later(self, binding: _Binding, most: float, now: float) -> None:
        """Ask again after the usual interval, or after `most` seconds if that is sooner."""
        if self._keeps_bindings:
            binding.due_at = now + min(uniform(self._config.binding_interval, self._random_bytes), most)

    def _give_up(self, binding: _Binding) -> None:
        binding.state = BindingState.LOST
        binding.transaction = None

    def _find(self, message: Message) -> _Binding | None:
        running = (binding for binding in self._bindings.values() if binding.transaction)
        return next((binding for binding in running if binding.transaction_id == message.transaction_id), None)


def _mapped_address(message: Message, base: Endpoint) -> Endpoint | None:
    """Give where a server saw `base`; None when it refused, or can't honestly have seen that."""
    seen = message.get(XOR_MAPPED_ADDRESS) or message.get(MAPPED_ADDRESS)
    if seen is None or message.message_class is MessageClass.ERROR or message.unknown_required:
        return None
    is_nobody = seen.port == 0 or seen.address.is_unspecified or seen.address.is_multicast
    return None if is_nobody or seen.address.version != base.address.version else seen
