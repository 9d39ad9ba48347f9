"""One allocation: a relayed address, or one of each family, on one socket (RFC 8656).

A Refresh goes out every 15 to 25 s. It keeps the NAT's binding, prolongs the allocation, and asks the only question
whose authentic answer tells that both are still there: a server that was restarted answers a Binding request, too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from p2ptun.deadlines import Deadlines, earliest
from p2ptun.errors import MalformedPacket
from p2ptun.stun.attribute import CHANNEL_NUMBER, DATA, ICMP, LIFETIME, XOR_PEER_ADDRESS
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.error import Code
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    decode_message,
    encode_message,
    new_transaction_id,
)
from p2ptun.stun.turn import decode_channel_data, encode_channel_data, is_channel_data
from p2ptun.turn.allocation import (
    STEPS_DOWN,
    WISHES,
    Arrived,
    ClientEvent,
    Ended,
    Failed,
    Grant,
    Refused,
    read_grant,
    read_lifetime,
    read_refusal,
)
from p2ptun.turn.channel import Channels
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import DropReason, LossReason, Problem
from p2ptun.turn.permission import Permissions
from p2ptun.turn.request import UNUSABLE, Answer, Purpose, Request, Requests
from p2ptun.turn.schedule import PEER_RETRY, refresh_after, uniform
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, IPAddress, RandomBytes, Transmit, Transport

LARGEST_ANSWER: Final = 4096
"""Bytes. None that we know of needs a quarter, and what a challenge offers is repeated in each of our requests."""

LARGEST_PAYLOAD: Final = 65_000
"""Bytes of a datagram to a peer: below what UDP and a message's length field hold, with headers to spare."""

_PASSING: Final = frozenset({UNUSABLE, Code.ALLOCATION_QUOTA_REACHED, Code.SERVER_ERROR, Code.INSUFFICIENT_CAPACITY})
"""Answers to a CreatePermission after which it is worth asking again."""


class _Timer(Enum):
    KEEPALIVE = auto()
    EXPIRY = auto()  # the granted lifetime is over


class Client:
    """Five doors around one allocation, which is asked for at once. Its owner looks at who sent what comes in.

    The socket may still be about to connect: what it is to send waits there.
    """

    def __init__(
        self,
        server: Server,
        token: Endpoint,
        credential: LongTermCredential | None,
        random_bytes: RandomBytes,
        config: PoolConfig,
        drops: Counter[DropReason],
        now: float,
    ) -> None:
        self.server = server
        self.token = token
        self.grant: Grant | None = None
        self.channels = Channels(token, server.endpoint)
        self.expires_at: float | None = None
        self._drops = drops
        self._config = config
        self._random_bytes = random_bytes
        self._requests = Requests(credential, random_bytes, token.transport is not Transport.UDP)
        self._permissions = Permissions()
        self._wishes = deque(WISHES)
        self._is_over = False
        self._outbox: deque[bytes] = deque()
        self._events: deque[ClientEvent] = deque()
        self._deadlines: Deadlines[_Timer] = Deadlines()
        self._requests.ask(Purpose.ALLOCATE, self._wishes[0].request, now)

    # Getters

    @property
    def rtt(self) -> float | None:
        """The last measured round trip to the server, in seconds."""
        return self._requests.rtt

    def relayed_for(self, peer: Endpoint) -> Endpoint | None:
        """Give our address that talks with `peer`."""
        return self.grant.relayed_for(peer) if self.grant else None

    # Commands

    def permit(self, peers: Iterable[Endpoint], now: float) -> None:
        """Let peers in, as far as there is an address of their family: permission and channel, both at once."""
        for peer in peers:
            if self.relayed_for(peer) is None:
                continue
            self._permissions.want(peer, now)
            refusal = self._permissions.refusal(peer.address)
            if refusal is None:
                self.channels.want(peer, now)
            else:
                self._events.append(Refused(peer, refusal))
        self._ask_due(now)

    def forget(self, peer: Endpoint) -> None:
        """Let a peer in no longer than what was granted lasts."""
        self._permissions.unwant(peer)
        self.channels.unwant(peer)

    def send(self, payload: bytes, peer: Endpoint) -> None:
        """Send a datagram to a peer that was permitted: as ChannelData, or as an indication until that is bound.

        Nothing waits for the server's yes: what comes too early for it is lost, as datagrams may be.
        """
        channel = self.channels.channel(peer)
        if len(payload) > LARGEST_PAYLOAD:
            self._drops[DropReason.TOO_LARGE] += 1
        elif channel is not None:
            self._queue(encode_channel_data(channel.number, payload, channel.is_padded))
        elif not self._permissions.admits(peer.address):
            self._drops[DropReason.REFUSED_PEER] += 1
        else:
            transaction_id = new_transaction_id(self._random_bytes)
            attributes = ((XOR_PEER_ADDRESS, peer), (DATA, payload))
            indication = Message(Method.SEND, MessageClass.INDICATION, transaction_id, attributes)
            self._queue(encode_message(indication, fingerprint=False))

    def probe(self, now: float) -> None:
        """Ask the server whether it is there, and don't wait for long."""
        if self.grant is not None and not self._is_over and not self._requests.awaits(Purpose.PROBE):
            self._requests.ask(Purpose.PROBE, (), now, now + self._config.probe_patience)

    def close(self, now: float) -> None:
        """Give the allocation back, or one that may have been made by now, without waiting for an answer.

        A stream needs no such words before there is an allocation: its end says the same.
        """
        is_datagram = self.token.transport is Transport.UDP
        if not self._is_over and (self.grant is not None or (is_datagram and self._requests.may_have_passed)):
            self._requests.ask(Purpose.REFRESH, ((LIFETIME, 0),), now)
        self._stop()

    # Inputs

    def receive(self, data: bytes, now: float) -> None:
        """Take in one STUN message or ChannelData frame that the server has sent."""
        reason = None
        if self._is_over:
            return
        if is_channel_data(data):
            reason = self._receive_channel_data(data)
        else:
            try:
                reason = self._receive_message(decode_message(data), now)
            except MalformedPacket:
                reason = DropReason.MALFORMED
        if reason is not None:
            self._drops[reason] += 1

    def handle_timeout(self, now: float) -> None:
        """Repeat, refresh, give up what is due."""
        for request in self._requests.handle_timeout(now):
            self._take_silence(request, now)
        for timer in self._deadlines.pop_expired(now):
            if timer is _Timer.EXPIRY:
                self._end(Ended(LossReason.EXPIRED))
            else:
                self._requests.ask(Purpose.REFRESH, (), now, now + self._config.keepalive_patience)
        if self._is_over:
            return
        self._permissions.handle_timeout(now)
        self.channels.handle_timeout(now)
        self._ask_due(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Give what is to be sent. Requests overtake data."""
        payload = self._requests.next_transmit()
        if payload is None and self._outbox:
            payload = self._outbox.popleft()
        return None if payload is None else Transmit(payload, self.token, self.server.endpoint)

    def next_event(self) -> ClientEvent | None:
        """Give what has happened."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        if self._is_over:
            return None
        machines = (self._requests, self._permissions, self.channels)
        return earliest((self._deadlines.next(), *(machine.next_timeout() for machine in machines)))

    # What comes in

    def _receive_channel_data(self, data: bytes) -> DropReason | None:
        try:
            number, payload = decode_channel_data(data)
        except MalformedPacket:
            return DropReason.MALFORMED
        peer = self.channels.peer(number)
        if peer is None:
            return DropReason.UNKNOWN_CHANNEL
        self._events.append(Arrived(payload, peer))
        return None

    def _receive_message(self, message: Message, now: float) -> DropReason | None:
        if message.is_response:
            return self._receive_response(message, now)
        if message.message_class is not MessageClass.INDICATION or message.method is not Method.DATA:
            return DropReason.UNEXPECTED
        peer, payload = message.get(XOR_PEER_ADDRESS), message.get(DATA)
        if peer is None or payload is None or message.unknown_required:
            return DropReason.UNEXPECTED if message.get(ICMP) is None else DropReason.ICMP
        if not self._permissions.admits(peer.address):
            return DropReason.UNKNOWN_PEER
        self._events.append(Arrived(payload, peer))
        return None

    def _receive_response(self, response: Message, now: float) -> DropReason | None:
        if len(response.raw) > LARGEST_ANSWER:
            return DropReason.TOO_LARGE
        answer = self._requests.receive(response, now)
        if isinstance(answer, Answer):
            self._take_answer(answer, now)
            return None
        return answer

    def _take_answer(self, answer: Answer, now: float) -> None:
        if answer.request.purpose is Purpose.ALLOCATE:
            self._take_allocation(answer, now)
        elif answer.is_rejected or answer.code == Code.WRONG_CREDENTIALS:
            self._end(Ended(LossReason.CREDENTIALS))
        elif answer.code == Code.ALLOCATION_MISMATCH:
            self._end(Ended(LossReason.FORGOTTEN))
        elif answer.request.purpose is Purpose.PERMIT:
            self._take_permission(answer, now)
        elif answer.request.purpose is Purpose.BIND:
            self._take_channel(answer, now)
        else:
            self._take_refresh(answer, now)
        if not self._is_over:
            self._ask_due(now)

    def _take_silence(self, request: Request, now: float) -> None:
        addresses = [peer.address for peer in request.peers]
        match request.purpose:
            case Purpose.ALLOCATE:
                self._end(Failed(Problem.NO_ANSWER, None))
            case Purpose.REFRESH | Purpose.PROBE:
                self._end(Ended(LossReason.SILENT))
            case Purpose.PERMIT:
                self._permissions.postpone(addresses, now + PEER_RETRY)
            case _:
                self.channels.postpone(request.peers[0], now + PEER_RETRY)

    # The allocation

    def _take_allocation(self, answer: Answer, now: float) -> None:
        if answer.is_rejected:
            self._end(Failed(self._rejection(), answer.code))
        elif answer.code is None:
            self._take_grant(answer, now)
        elif answer.code in STEPS_DOWN and len(self._wishes) > 1:
            self._wishes.popleft()
            self._requests.ask(Purpose.ALLOCATE, self._wishes[0].request, now)
        else:
            is_proven = answer.request.signed.integrity is not None or self.token.transport is Transport.TLS
            self._end(read_refusal(answer.message, answer.code, self.server.endpoint, is_proven))

    def _take_grant(self, answer: Answer, now: float) -> None:
        grant = read_grant(answer.message, self._wishes[0])
        if grant is None:
            self.close(now)
            self._events.append(Failed(Problem.UNUSABLE, None))
            return
        self.grant = grant
        self._prolong(grant.lifetime, now)
        self._events.append(grant)

    def _take_refresh(self, answer: Answer, now: float) -> None:
        if answer.code is None:
            self._requests.drop(Purpose.REFRESH, Purpose.PROBE)  # what was asked before is answered, too
            self._prolong(read_lifetime(answer.message), now)
        else:
            self._deadlines.set(_Timer.KEEPALIVE, now + uniform(self._config.keepalive_interval, self._random_bytes))

    def _prolong(self, lifetime: float, now: float) -> None:
        """Count from a granted lifetime: a server that answers with none has ended it."""
        if lifetime <= 0:
            self._end(Ended(LossReason.EXPIRED))
            return
        self.expires_at = now + lifetime
        interval = uniform(self._config.keepalive_interval, self._random_bytes)
        self._deadlines.set(_Timer.EXPIRY, now + lifetime)
        self._deadlines.set(_Timer.KEEPALIVE, now + min(interval, refresh_after(lifetime)))

    def _rejection(self) -> Problem:
        return Problem.NO_CREDENTIALS if self._requests.is_anonymous else Problem.WRONG_CREDENTIALS

    # Permissions and channels

    def _ask_due(self, now: float) -> None:
        while addresses := self._permissions.take_due(now):
            self._ask_permission(addresses, now)
        for peer, number in self.channels.take_due(now):
            self._requests.ask(Purpose.BIND, ((CHANNEL_NUMBER, number), (XOR_PEER_ADDRESS, peer)), now)

    def _ask_permission(self, addresses: Iterable[IPAddress], now: float) -> None:
        peers = tuple((XOR_PEER_ADDRESS, Endpoint(address, 0)) for address in addresses)
        self._requests.ask(Purpose.PERMIT, peers, now)

    def _take_permission(self, answer: Answer, now: float) -> None:
        addresses = [peer.address for peer in answer.request.peers]
        if answer.code is None:
            self._permissions.grant(addresses, now)
        elif answer.code in _PASSING:
            self._permissions.postpone(addresses, now + PEER_RETRY)
        elif len(addresses) > 1:
            for address in addresses:  # one of them is the reason, and the others shall not suffer for it
                self._ask_permission((address,), now)
        else:
            for peer in self._permissions.refuse(addresses[0], answer.code):
                self.channels.unwant(peer)
                self._events.append(Refused(peer, answer.code))

    def _take_channel(self, answer: Answer, now: float) -> None:
        """Use the channel; or go on with indications, and ask again when it would be refreshed."""
        (peer,) = answer.request.peers
        if answer.code is None:
            self.channels.bind(peer, now)
        else:
            self.channels.refuse(peer, now)

    # Ends

    def _queue(self, payload: bytes) -> None:
        if len(self._outbox) >= self._config.max_queued:
            self._outbox.popleft()
            self._drops[DropReason.QUEUE_FULL] += 1
        self._outbox.append(payload)

    def _end(self, event: ClientEvent) -> None:
        if not self._is_over:
            self._stop()
            self._events.append(event)

    def _stop(self) -> None:
        self._is_over = True
        self._requests.drop(*Purpose)
        self._deadlines.clear()
