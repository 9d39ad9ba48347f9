"""Channels (RFC 8656 12): a number of 2 bytes for a peer, instead of the 36 bytes of an indication.

A binding lasts 600 s unless refreshed, and its number stays with its peer for 300 s more. We never give a number that
is in our books to another peer, so that data which overtakes the answer, or comes late, is never taken for another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p2ptun.deadlines import earliest
from p2ptun.stun.turn import CHANNEL_COOLDOWN, CHANNEL_LIFETIME, FIRST_CHANNEL, LAST_CHANNEL
from p2ptun.turn.schedule import PEER_INTERVAL
from p2ptun.types import Endpoint, Transport


class Channel(NamedTuple):
    """How data for one peer leaves on the hot path: in ChannelData frames `number (2) | length (2) | payload`.

    Attributes:
        token: The socket that they leave from.
        server: Where they go.
        is_padded: Whether frames are padded to a multiple of 4 bytes, as on every stream (RFC 8656 12.5).
    """

    number: int
    token: Endpoint
    server: Endpoint
    is_padded: bool


class Parcel(NamedTuple):
    """Where in a buffer a peer's payload lies, who sent it, and to which address of ours.

    A named tuple, as is `Channel`: one is made per datagram on the hot path, in a third of a frozen dataclass's time.
    """

    start: int
    end: int
    peer: Endpoint
    relayed: Endpoint


@dataclass(slots=True)
class _Binding:
    """A peer and its number.

    Attributes:
        due_at: When to ask for it, if it is wanted then; None while a request is in flight.
        expires_at: Until when the server may have it bound, as far as we can know.
        channel: What sends over it; None while the server hasn't said yes.
    """

    peer: Endpoint
    number: int
    due_at: float | None
    expires_at: float
    is_wanted: bool = True
    channel: Channel | None = None

    @property
    def freed_at(self) -> float:
        return self.expires_at + CHANNEL_COOLDOWN

    def next_timeout(self) -> float | None:
        expiry = self.expires_at if self.channel else None
        return earliest((expiry, self.due_at if self.is_wanted else self.freed_at))


class Channels:
    """The channels of one allocation. Says what to ask for and when; asks nobody itself."""

    __slots__ = ("_bindings", "_next_number", "_peers", "_server", "_token")

    def __init__(self, token: Endpoint, server: Endpoint) -> None:
        self._token = token
        self._server = server
        self._bindings: dict[Endpoint, _Binding] = {}
        self._peers: dict[int, Endpoint] = {}
        self._next_number = FIRST_CHANNEL

    def channel(self, peer: Endpoint) -> Channel | None:
        """Give the channel that is bound to `peer`."""
        binding = self._bindings.get(peer)
        return None if binding is None else binding.channel

    def peer(self, number: int) -> Endpoint | None:
        """Tell whose number it is, bound already or not."""
        return self._peers.get(number)

    def want(self, peer: Endpoint, now: float) -> None:
        """Have a channel for `peer`, and keep it; with all numbers taken there is none."""
        binding = self._bindings.get(peer)
        if binding is not None:
            binding.is_wanted = True
        elif len(self._peers) <= LAST_CHANNEL - FIRST_CHANNEL:
            number = self._take_number()
            self._peers[number] = peer
            self._bindings[peer] = _Binding(peer, number, now, now)

    def unwant(self, peer: Endpoint) -> None:
        """Refresh it no longer."""
        binding = self._bindings.get(peer)
        if binding is not None:
            binding.is_wanted = False

    def take_due(self, now: float) -> list[tuple[Endpoint, int]]:
        """Give peers and numbers to bind now."""
        due = []
        for binding in self._bindings.values():
            if binding.is_wanted and binding.due_at is not None and binding.due_at <= now:
                binding.due_at = None
                binding.expires_at = max(binding.expires_at, now + CHANNEL_LIFETIME)
                due.append((binding.peer, binding.number))
        return due

    def bind(self, peer: Endpoint, now: float) -> None:
        """Know that the server has bound it."""
        binding = self._bindings.get(peer)
        if binding is not None:
            is_padded = self._token.transport is not Transport.UDP
            binding.channel = Channel(binding.number, self._token, self._server, is_padded)
            binding.expires_at = now + CHANNEL_LIFETIME
            binding.due_at = now + PEER_INTERVAL

    def refuse(self, peer: Endpoint, now: float) -> None:
        """Know that the server would not bind or refresh it; ask again when a binding would be refreshed."""
        self.postpone(peer, now + PEER_INTERVAL)

    def postpone(self, peer: Endpoint, at: float) -> None:
        """Ask again at `at`. What the server has bound works until it runs out."""
        binding = self._bindings.get(peer)
        if binding is not None:
            binding.due_at = at

    def handle_timeout(self, now: float) -> None:
        """Stop using what has run out, and free numbers that nobody wants."""
        for binding in list(self._bindings.values()):
            if binding.expires_at <= now:
                binding.channel = None
            if binding.freed_at <= now and not binding.is_wanted:
                del self._bindings[binding.peer], self._peers[binding.number]

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` or `take_due` has something to do."""
        return earliest(binding.next_timeout() for binding in self._bindings.values())

    def _take_number(self) -> int:
        while self._next_number in self._peers:
            self._advance_number()
        number = self._next_number
        self._advance_number()
        return number

    def _advance_number(self) -> None:
        self._next_number = FIRST_CHANNEL if self._next_number == LAST_CHANNEL else self._next_number + 1
