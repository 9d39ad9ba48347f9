"""One allocation against a scripted server: every code, every timer, data both ways."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2ptun.stun.attribute import (
    ADDITIONAL_ADDRESS_FAMILY,
    CHANNEL_NUMBER,
    DATA,
    ICMP,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    SOFTWARE,
    XOR_PEER_ADDRESS,
)
from p2ptun.stun.codec import IcmpError
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import Integrity
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.stun.turn import encode_channel_data
from p2ptun.turn.allocation import Arrived, ClientEvent, Ended, Failed, Grant, Refused
from p2ptun.turn.client import LARGEST_PAYLOAD, Client
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import DropReason, LossReason, Problem
from p2ptun.types import Endpoint, Transport

from .world import (
    ALICE,
    MAPPED,
    NOWHERE,
    OTHER_PEER,
    PEER,
    SIXTH_PEER,
    START,
    Relay,
    Script,
    indication,
    random_bytes_from,
    refuse,
    server_at,
)

RELAYED, SIXTH = Endpoint.of("203.0.113.77", 50000), Endpoint.of("2001:db8::77", 50000)


class Table:
    """A client and its server, face to face."""

    def __init__(
        self,
        transport: Transport = Transport.UDP,
        credential: LongTermCredential | None = ALICE,
        config: PoolConfig | None = None,
    ) -> None:
        server = server_at("203.0.113.1", transport)
        self.now = START
        self.relay = Relay(server.endpoint)
        self.drops: Counter[DropReason] = Counter()
        self.events: list[ClientEvent] = []
        token = Endpoint.of(NOWHERE, 1, transport)
        settings = config or PoolConfig()
        self.client = Client(server, token, credential, random_bytes_from(2), settings, self.drops, START)

    def flush(self) -> None:
        while (transmit := self.client.next_transmit()) is not None:
            assert (transmit.source, transmit.destination) == (self.client.token, self.client.server.endpoint)
            reply = self.relay.receive(transmit.payload, self.now)
            if reply is not None:
                self.client.receive(reply, self.now)
        self.events += iter(self.client.next_event, None)

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while (timeout := self.client.next_timeout()) is not None and timeout <= until:
            self.now = max(self.now, timeout)
            self.client.handle_timeout(self.now)
            following = self.client.next_timeout()
            assert following is None or following > self.now
            self.flush()
        self.now = until

    def permit(self, *peers: Endpoint) -> None:
        self.client.permit(peers, self.now)
        self.flush()

    def receive(self, data: bytes) -> None:
        self.client.receive(data, self.now)
        self.flush()

    def bound(self, peer: Endpoint = PEER) -> int:
        channel = self.client.channels.channel(peer)
        assert channel is not None
        return channel.number


def ready(transport: Transport = Transport.UDP, config: PoolConfig | None = None, **options: object) -> Table:
    """Have an allocation, its events taken."""
    table = Table(transport, config=config)
    for name, value in options.items():
        setattr(table.relay, name, value)
    table.flush()
    assert isinstance(table.events.pop(), Grant)
    table.relay.seen.clear()
    return table


def test_an_allocation_is_asked_for_at_once() -> None:
    table = Table()
    table.client.send(b"too soon", PEER)
    table.client.permit([PEER], START)
    table.flush()
    assert table.events == [Grant((RELAYED,), MAPPED, 600.0)]
    assert table.client.relayed_for(PEER) == RELAYED
    assert table.client.relayed_for(SIXTH_PEER) is None
    assert table.client.rtt == 0.0
    assert table.drops == {DropReason.REFUSED_PEER: 1}
    assert table.relay.requests(Method.CREATE_PERMISSION) == []


def script(answers: list[Code | None]) -> Script:
    """Refuse with one code after the other; None accepts."""

    def answer(request: Message, integrity: Integrity | None) -> Message | None:
        code = answers.pop(0)
        return Relay(MAPPED).answer(request, integrity) if code is None else error_response(request, code)

    return answer


@pytest.mark.parametrize("first", [Code.UNKNOWN_ATTRIBUTE, Code.ADDRESS_FAMILY_NOT_SUPPORTED])
def test_less_is_wished_for_step_by_step(first: Code) -> None:
    table = Table()
    table.relay.relayed = [SIXTH]
    refusals = [first, Code.ADDRESS_FAMILY_NOT_SUPPORTED]

    def answer(request: Message, integrity: Integrity | None) -> Message | None:
        return error_response(request, refusals.pop(0)) if refusals else table.relay.answer(request, integrity)

    table.relay.scripts[Method.ALLOCATE] = answer
    table.flush()
    assert table.events == [Grant((SIXTH,), MAPPED, 600.0)]
    asked = table.relay.accepted(Method.ALLOCATE)
    assert [message.get(ADDITIONAL_ADDRESS_FAMILY) for message in asked] == [2, None, None]
    assert [message.get(REQUESTED_ADDRESS_FAMILY) for message in asked] == [None, None, 2]


def test_no_family_at_all() -> None:
    table = Table()
    table.relay.scripts[Method.ALLOCATE] = refuse(Code.ADDRESS_FAMILY_NOT_SUPPORTED)
    table.flush()
    assert table.events == [Failed(Problem.NO_FAMILY, 440)]
    assert len(table.relay.accepted(Method.ALLOCATE)) == 3
    assert table.client.next_timeout() is None


def test_a_wrong_password() -> None:
    table = Table(credential=LongTermCredential("alice", "wrong"))
    table.flush()
    assert table.events == [Failed(Problem.WRONG_CREDENTIALS, 401)]


def test_no_password() -> None:
    table = Table(credential=None)
    table.flush()
    assert table.events == [Failed(Problem.NO_CREDENTIALS, 401)]


def test_a_silent_server() -> None:
    table = Table()
    table.relay.is_down = True
    table.flush()
    table.advance(39.4)
    assert table.events == []
    table.advance(0.2)
    assert table.events == [Failed(Problem.NO_ANSWER, None)]


def test_an_allocation_that_makes_no_sense_is_given_back() -> None:
    table = Table()
    table.relay.scripts[Method.ALLOCATE] = lambda request, _: success_response(request)
    table.flush()
    assert table.events == [Failed(Problem.UNUSABLE, None)]
    assert table.relay.requests(Method.REFRESH)[0].get(LIFETIME) == 0


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TLS])
def test_a_redirection_is_believed_when_it_is_sealed_or_over_tls(transport: Transport) -> None:
    table = Table(transport)
    payload = table.client.next_transmit()
    assert payload is not None
    bare = error_response(decode_message(payload.payload), Code.TRY_ALTERNATE)
    table.receive(encode_message(bare))
    problem = Problem.UNPROVEN_REDIRECT if transport is Transport.UDP else Problem.UNUSABLE
    assert table.events == [Failed(problem, 300)]


# Keeping it


def test_it_is_refreshed_every_15_to_25_seconds_and_never_ends() -> None:
    table = ready()
    table.advance(3600)
    refreshes = table.relay.requests(Method.REFRESH)
    assert 3600 / 25 <= len(refreshes) <= 3600 / 15
    assert all(message.get(LIFETIME) is None for message in refreshes)
    assert table.events == []
    assert table.client.expires_at is not None
    assert table.client.expires_at > table.now + 500


def test_a_short_lifetime_is_refreshed_at_its_half() -> None:
    table = ready(lifetime=20)
    table.advance(100)
    assert len(table.relay.requests(Method.REFRESH)) == 20
    assert table.events == []


@pytest.mark.parametrize("code", [Code.SERVER_ERROR, Code.ALLOCATION_QUOTA_REACHED, Code.BAD_REQUEST])
def test_a_server_that_will_not_prolong_it(code: Code) -> None:
    table = ready()
    table.relay.scripts[Method.REFRESH] = refuse(code)
    table.advance(599)
    assert table.events == []
    assert len(table.relay.requests(Method.REFRESH)) > 20
    table.advance(2)
    assert table.events == [Ended(LossReason.EXPIRED)]
    assert table.client.next_timeout() is None


def test_a_refresh_that_grants_nothing_is_the_end() -> None:
    table = ready()
    table.relay.scripts[Method.REFRESH] = lambda request, _: success_response(request, (LIFETIME, 0))
    table.advance(30)
    assert table.events == [Ended(LossReason.EXPIRED)]


def test_a_silent_server_is_noticed_by_the_keepalive() -> None:
    table = ready()
    table.relay.is_down = True
    table.advance(15)
    assert table.events == []
    table.advance(20)
    assert table.events == [Ended(LossReason.SILENT)]


def test_a_probe_takes_two_and_a_half_seconds() -> None:
    table = ready()
    table.client.probe(table.now)
    table.client.probe(table.now)
    table.flush()
    assert len(table.relay.requests(Method.REFRESH)) == 1
    table.advance(10)
    assert table.events == []
    table.relay.is_down = True
    table.client.probe(table.now)
    table.client.probe(table.now)
    table.flush()
    table.advance(2.4)
    assert table.events == []
    table.advance(0.2)
    assert table.events == [Ended(LossReason.SILENT)]
    table.client.probe(table.now)
    assert table.client.next_transmit() is None


def test_no_probe_before_there_is_anything_to_ask_for() -> None:
    table = Table()
    table.client.probe(table.now)
    assert len(list(iter(table.client.next_transmit, None))) == 1


def test_a_probe_answered_does_not_double_the_keepalive() -> None:
    table = ready(config=PoolConfig(keepalive_interval=(20.0, 20.0), keepalive_patience=100.0))
    table.relay.is_down = True
    table.advance(20.0)  # a Refresh is in flight
    table.relay.is_down = False
    table.client.probe(table.now)
    transmits = list(iter(table.client.next_transmit, None))
    reply = table.relay.receive(transmits[-1].payload, table.now)
    assert reply is not None
    table.receive(reply)
    table.relay.is_down = True
    table.advance(20.5)
    assert table.events == []


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (Code.ALLOCATION_MISMATCH, LossReason.FORGOTTEN),
        (Code.WRONG_CREDENTIALS, LossReason.CREDENTIALS),
    ],
)
def test_what_ends_it_whatever_was_asked(method: Method, code: Code, reason: LossReason) -> None:
    table = ready()
    table.relay.scripts[method] = refuse(code)
    table.permit(PEER)
    table.advance(25)
    assert table.events == [Ended(reason)]


def test_a_password_that_was_changed_ends_it() -> None:
    table = ready()
    table.relay.credentials = {"alice": "another"}
    table.relay.restart(b"anew")
    table.advance(25)
    assert table.events == [Ended(LossReason.CREDENTIALS)]


def test_a_restarted_server_is_recognised_by_its_nonce() -> None:
    table = ready()
    table.relay.restart(b"anew")
    table.permit(PEER)
    table.advance(600)
    assert table.events == []
    assert table.bound()


def test_after_a_long_sleep_there_is_one_end() -> None:
    table = ready()
    table.relay.is_down = True
    table.advance(25)  # a Refresh is in flight
    table.client.permit([PEER], table.now)
    table.client.probe(table.now)
    table.client.handle_timeout(table.now + 10_000)
    assert list(iter(table.client.next_event, None)) == [Ended(LossReason.SILENT)]


# Peers


def test_permission_and_channel_are_asked_for_at_once() -> None:
    table = ready()
    table.client.permit([PEER, OTHER_PEER, SIXTH_PEER], table.now)
    sent = [decode_message(transmit.payload) for transmit in iter(table.client.next_transmit, None)]
    assert [message.method for message in sent] == [
        *(Method.CREATE_PERMISSION, Method.CHANNEL_BIND, Method.CHANNEL_BIND)
    ]
    assert [peer.address for peer in sent[0].get_all(XOR_PEER_ADDRESS)] == [PEER.address, OTHER_PEER.address]
    assert [message.get(CHANNEL_NUMBER) for message in sent[1:]] == [0x4000, 0x4001]


def test_they_are_refreshed_every_240_seconds_for_peers_still_wanted() -> None:
    table = ready()
    table.permit(PEER, OTHER_PEER)
    table.permit(PEER)
    table.relay.seen.clear()
    table.client.forget(OTHER_PEER)
    table.advance(241)
    assert [message.get(XOR_PEER_ADDRESS) for message in table.relay.requests(Method.CHANNEL_BIND)] == [PEER]
    (permission,) = table.relay.requests(Method.CREATE_PERMISSION)
    assert [peer.address for peer in permission.get_all(XOR_PEER_ADDRESS)] == [PEER.address]
    table.advance(1200)
    assert table.bound() == 0x4000
    assert table.client.channels.peer(0x4001) is None
    assert table.events == []


@pytest.mark.parametrize("code", [Code.FORBIDDEN, Code.PEER_ADDRESS_FAMILY_MISMATCH])
def test_one_that_is_refused_does_not_sink_the_others(code: Code) -> None:
    table = ready()

    def answer(request: Message, integrity: Integrity | None) -> Message | None:
        peers = [peer.address for peer in request.get_all(XOR_PEER_ADDRESS)]
        if PEER.address in peers:
            return error_response(request, code)
        return table.relay.answer(request, integrity)

    table.relay.scripts[Method.CREATE_PERMISSION] = table.relay.scripts[Method.CHANNEL_BIND] = answer
    table.permit(PEER, OTHER_PEER)
    assert table.events == [Refused(PEER, code)]
    assert table.bound(OTHER_PEER)
    again = Endpoint(PEER.address, 9)
    table.permit(again)
    assert table.events.pop() == Refused(again, code)
    table.client.send(b"x", PEER)
    assert table.drops == {DropReason.REFUSED_PEER: 1}
    table.relay.seen.clear()
    table.advance(241)
    assert all(
        peer.address == OTHER_PEER.address for message in table.relay.seen for peer in message.get_all(XOR_PEER_ADDRESS)
    )
    table.client.forget(PEER)
    table.client.forget(again)
    table.relay.scripts.clear()
    table.permit(PEER)
    assert table.bound(PEER)


@pytest.mark.parametrize("code", [Code.SERVER_ERROR, Code.INSUFFICIENT_CAPACITY, Code.ALLOCATION_QUOTA_REACHED])
def test_a_permission_that_can_not_be_had_now_is_asked_for_again(code: Code) -> None:
    table = ready()
    table.relay.scripts[Method.CREATE_PERMISSION] = refuse(code)
    table.permit(PEER, OTHER_PEER)
    assert table.events == []
    table.relay.scripts.clear()
    table.relay.seen.clear()
    table.advance(10.1)
    (permission,) = table.relay.requests(Method.CREATE_PERMISSION)
    assert len(permission.get_all(XOR_PEER_ADDRESS)) == 2


@pytest.mark.parametrize("code", [Code.INSUFFICIENT_CAPACITY, Code.FORBIDDEN, Code.BAD_REQUEST])
def test_without_channels_indications_go_on(code: Code) -> None:
    table = ready()
    table.relay.scripts[Method.CHANNEL_BIND] = refuse(code)
    table.permit(PEER)
    table.advance(20)
    table.client.send(b"payload", PEER)
    table.flush()
    (sent,) = table.relay.requests(Method.SEND)
    assert (sent.get(XOR_PEER_ADDRESS), sent.get(DATA)) == (PEER, b"payload")
    table.relay.scripts.clear()
    table.advance(221)
    assert table.bound() == 0x4000
    assert table.events == []


def test_requests_about_peers_that_stay_unanswered_are_repeated() -> None:
    table = ready()
    lost = [Method.CREATE_PERMISSION, Method.CHANNEL_BIND]
    for method in lost:
        table.relay.scripts[method] = lambda request, _: None
    table.permit(PEER)
    table.advance(8)
    table.relay.scripts.clear()
    table.relay.seen.clear()
    table.advance(11)
    assert {message.method for message in table.relay.accepted(Method.CREATE_PERMISSION)} == {Method.CREATE_PERMISSION}
    assert table.bound() == 0x4000
    assert table.events == []


# Data


@pytest.mark.parametrize("transport", Transport)
def test_channel_data_replaces_indications_when_it_is_bound(transport: Transport) -> None:
    table = ready(transport)
    table.client.permit([PEER], table.now)
    table.client.send(b"early", PEER)
    table.flush()
    table.client.send(b"late!", PEER)
    table.flush()
    assert table.relay.requests(Method.SEND)[0].get(DATA) == b"early"
    assert table.relay.frames == [encode_channel_data(0x4000, b"late!", transport is not Transport.UDP)]
    assert len(table.relay.frames[0]) == (9 if transport is Transport.UDP else 12)


def test_requests_overtake_data() -> None:
    table = ready()
    table.permit(PEER)
    table.client.send(b"data", PEER)
    table.client.probe(table.now)
    first, second = iter(table.client.next_transmit, None)
    assert decode_message(first.payload).method is Method.REFRESH
    assert second.payload == encode_channel_data(0x4000, b"data", is_padded=False)


def test_data_comes_by_indication_and_by_channel_even_before_it_is_bound() -> None:
    table = ready()
    table.client.permit([PEER], table.now)
    table.receive(encode_channel_data(0x4000, b"one", is_padded=False))
    table.receive(indication(PEER, b"two"))
    table.receive(indication(PEER, b""))
    assert table.events == [Arrived(b"one", PEER), Arrived(b"two", PEER), Arrived(b"", PEER)]


def test_a_mapped_peer_address_is_its_ipv4_address() -> None:
    table = ready()
    table.permit(PEER)
    mapped = f"::ffff:{PEER.address}"
    table.receive(indication(Endpoint.of(mapped, PEER.port), b"x"))
    assert table.events == [Arrived(b"x", PEER)]


def test_what_is_dropped_is_counted() -> None:
    table = ready()
    table.permit(PEER)
    error = (ICMP, IcmpError(3, 1, 0))
    identity = TransactionId(bytes(12))
    table.receive(b"\x40")
    table.receive(encode_channel_data(0x4ABC, b"x", is_padded=False))
    table.receive(indication(OTHER_PEER, b"x"))
    table.receive(b"\x00garbage")
    table.receive(encode_message(Message(Method.DATA, MessageClass.INDICATION, identity, ((XOR_PEER_ADDRESS, PEER),))))
    table.receive(
        encode_message(Message(Method.DATA, MessageClass.INDICATION, identity, ((XOR_PEER_ADDRESS, PEER), error)))
    )
    table.receive(encode_message(Message(Method.SEND, MessageClass.INDICATION, identity)))
    table.receive(encode_message(Message(Method.DATA, MessageClass.REQUEST, identity)))
    large = Message(Method.REFRESH, MessageClass.SUCCESS, identity, tuple((SOFTWARE, "x" * 700) for _ in range(7)))
    table.receive(encode_message(large))
    table.receive(encode_message(Message(Method.REFRESH, MessageClass.SUCCESS, identity)))
    table.client.send(bytes(LARGEST_PAYLOAD + 1), PEER)
    assert table.events == []
    assert table.drops == {
        DropReason.MALFORMED: 2,
        DropReason.UNKNOWN_CHANNEL: 1,
        DropReason.UNKNOWN_PEER: 1,
        DropReason.UNEXPECTED: 3,
        DropReason.ICMP: 1,
        DropReason.TOO_LARGE: 2,
        DropReason.UNKNOWN_TRANSACTION: 1,
    }


def test_the_largest_payload_fits_both_ways() -> None:
    table = ready()
    table.client.permit([PEER], table.now)
    table.client.send(bytes(LARGEST_PAYLOAD), PEER)
    table.flush()
    table.client.send(bytes(LARGEST_PAYLOAD), PEER)
    table.flush()
    assert len(table.relay.frames) == len(table.relay.requests(Method.SEND)) == 1


def test_a_full_queue_drops_the_oldest() -> None:
    table = ready(config=PoolConfig(max_queued=2))
    table.permit(PEER)
    for payload in (b"a", b"b", b"c"):
        table.client.send(payload, PEER)
    table.flush()
    assert [frame[4:] for frame in table.relay.frames] == [b"b", b"c"]
    assert table.drops == {DropReason.QUEUE_FULL: 1}


# The end


def test_it_is_given_back() -> None:
    table = ready()
    table.permit(PEER)
    table.client.close(table.now)
    table.flush()
    assert table.relay.seen[-1].get(LIFETIME) == 0
    assert table.client.next_timeout() is None
    table.receive(indication(PEER, b"x"))
    table.client.handle_timeout(table.now + 1e6)
    table.client.close(table.now)
    assert table.client.next_transmit() is None
    assert table.events == []


@pytest.mark.parametrize(("transport", "farewells"), [(Transport.UDP, 1), (Transport.TCP, 0)])
def test_what_may_have_been_made_is_given_back_too(transport: Transport, farewells: int) -> None:
    table = Table(transport)
    first = table.client.next_transmit()
    assert first is not None
    reply = table.relay.receive(first.payload, table.now)
    assert reply is not None
    table.client.receive(reply, table.now)
    assert len(list(iter(table.client.next_transmit, None))) == 1  # the signed request, whose answer is lost
    table.client.close(table.now)
    assert len(list(iter(table.client.next_transmit, None))) == farewells


def test_what_never_was_needs_no_farewell() -> None:
    table = Table()
    list(iter(table.client.next_transmit, None))
    table.client.close(table.now)
    assert table.client.next_transmit() is None


# Whatever comes


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 8), st.floats(0, 400)), max_size=25), st.integers(1, 2000))
@example([(8, 0.0), (0, 399.0), (0, 272.0), (0, 149.0), (2, 80.0), (0, 0.0)], 1)  # a number that has just become free
def test_timeouts_are_always_ahead(steps: list[tuple[int, float]], lifetime: int) -> None:
    table = Table()
    table.relay.lifetime = lifetime
    peers = [Endpoint.of("192.0.2.1", port) for port in (1, 2)] + [OTHER_PEER, SIXTH_PEER]
    for action, seconds in steps:
        match action:
            case 0 | 1:
                table.permit(peers[action], peers[action + 2])
            case 2:
                table.client.forget(peers[0])
            case 3:
                table.client.probe(table.now)
            case 4:
                table.relay.is_down = not table.relay.is_down
            case 5:
                table.client.send(b"x", peers[1])
            case 6:
                table.relay.restart(bytes([int(seconds) % 256]))
            case 7:
                table.relay.scripts[Method.CHANNEL_BIND] = refuse(Code.INSUFFICIENT_CAPACITY)
            case _:
                table.relay.scripts[Method.CREATE_PERMISSION] = refuse(Code.FORBIDDEN)
        table.flush()
        table.advance(seconds)
        table.client.handle_timeout(table.now)
        following = table.client.next_timeout()
        assert following is None or following > table.now


@given(st.binary(max_size=80))
def test_random_bytes_never_raise_and_change_nothing(data: bytes) -> None:
    table = ready()
    table.permit(PEER)
    before = table.client.next_timeout()
    table.receive(data)
    assert table.client.next_timeout() == before
    assert sum(table.drops.values()) + len(table.events) == 1


def test_truncated_answers_never_raise() -> None:
    table = Table()
    first = table.client.next_transmit()
    assert first is not None
    reply = table.relay.receive(first.payload, table.now)
    assert reply is not None
    for length in range(len(reply)):
        table.client.receive(reply[:length], table.now)
    assert table.drops == {DropReason.MALFORMED: len(reply)}
    table.client.receive(reply, table.now)
    table.flush()
    assert isinstance(table.events[0], Grant)
