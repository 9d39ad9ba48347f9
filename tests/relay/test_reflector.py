"""Binding on one listener, on four, and over streams."""

from __future__ import annotations

import pytest

from p2ptun.relay.config import ServerConfig
from p2ptun.relay.event import DropReason
from p2ptun.relay.server import Server
from p2ptun.stun.attribute import (
    CHANGE_REQUEST,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    UNKNOWN_ATTRIBUTES,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.codec import Change
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
)
from p2ptun.types import Endpoint, Transmit, Transport
from tests.relay.world import code_of

NOW = 1000.0
A1P1, A1P2 = Endpoint.of("203.0.113.1", 3478), Endpoint.of("203.0.113.1", 3479)
A2P1, A2P2 = Endpoint.of("203.0.113.2", 3478), Endpoint.of("203.0.113.2", 3479)
CLIENT = Endpoint.of("198.51.100.7", 40000)
CLIENT6 = Endpoint.of("2001:db8::7", 40000)
NOTHING, BOTH = Change(0), Change.ADDRESS | Change.PORT


def server(*listeners: tuple[Endpoint, Endpoint | None]) -> Server:
    one = Server(ServerConfig(), None, lambda count: bytes(count))
    for local, alternate in listeners:
        one.add_listener(local, alternate)
    return one


def two_addresses() -> Server:
    return server((A1P1, A2P2), (A1P2, A2P1), (A2P1, A1P2), (A2P2, A1P1))


def request(*attributes: AttributeValue, fingerprint: bool = True) -> bytes:
    message = Message(Method.BINDING, MessageClass.REQUEST, TransactionId(b"t" * 12), attributes)
    return encode_message(message, fingerprint=fingerprint)


def ask(of: Server, data: bytes, client: Endpoint = CLIENT, local: Endpoint = A1P1) -> Transmit | None:
    of.receive_datagram(data, client, local, NOW)
    transmit = of.next_transmit()
    assert of.next_transmit() is None
    return transmit


def answer(of: Server, *attributes: AttributeValue, client: Endpoint = CLIENT, local: Endpoint = A1P1) -> Message:
    transmit = ask(of, request(*attributes), client, local)
    assert transmit is not None
    return decode_message(transmit.payload)


@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_a_client_learns_how_it_looks(client: Endpoint) -> None:
    transmit = ask(server((A1P1, None)), request(), client)
    assert transmit is not None
    assert (transmit.source, transmit.destination) == (A1P1, client)
    response = decode_message(transmit.payload)
    assert response.attributes == ((XOR_MAPPED_ADDRESS, client),)
    assert response.has_fingerprint


def test_a_request_without_fingerprint_gets_none_back() -> None:
    transmit = ask(server((A1P1, None)), request(fingerprint=False))
    assert transmit is not None
    assert not decode_message(transmit.payload).has_fingerprint
    assert len(transmit.payload) == 32  # the smallest answer that there is


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
def test_a_stream_is_served_too(transport: Transport) -> None:
    local = Endpoint(A1P1.address, 3478, transport)
    client = Endpoint(CLIENT.address, 40000, transport)
    transmit = ask(server((local, None)), request(), client, local)
    assert transmit is not None
    assert (transmit.source, transmit.destination) == (local, client)
    assert decode_message(transmit.payload).get(XOR_MAPPED_ADDRESS) == CLIENT


def test_two_addresses_are_told() -> None:
    response = answer(two_addresses())
    assert response.get(RESPONSE_ORIGIN) == A1P1
    assert response.get(OTHER_ADDRESS) == A2P2
    assert answer(two_addresses(), local=A2P1).get(OTHER_ADDRESS) == A1P2


@pytest.mark.parametrize(
    ("change", "origin"), [(NOTHING, A1P1), (Change.PORT, A1P2), (Change.ADDRESS, A2P1), (BOTH, A2P2)]
)
def test_the_answer_leaves_from_where_it_is_wanted(change: Change, origin: Endpoint) -> None:
    transmit = ask(two_addresses(), request((CHANGE_REQUEST, change)))
    assert transmit is not None
    assert (transmit.source, transmit.destination) == (origin, CLIENT)
    response = decode_message(transmit.payload)
    assert response.get(RESPONSE_ORIGIN) == origin
    assert response.get(OTHER_ADDRESS) == A2P2
    assert response.get(XOR_MAPPED_ADDRESS) == CLIENT


@pytest.mark.parametrize("change", [NOTHING, Change.PORT, Change.ADDRESS, BOTH])
def test_one_address_offers_no_change(change: Change) -> None:
    response = answer(server((A1P1, None)), (CHANGE_REQUEST, change))
    assert code_of(response) == 420
    assert response.get(UNKNOWN_ATTRIBUTES) == (CHANGE_REQUEST.number,)


def test_a_listener_that_is_missing_is_not_offered() -> None:
    three = server((A1P1, A2P2), (A1P2, A2P1), (A2P2, A1P1))
    assert code_of(answer(three, (CHANGE_REQUEST, Change.ADDRESS))) == 420
    assert code_of(answer(three, (CHANGE_REQUEST, Change.PORT))) == 0


def test_the_answer_goes_to_the_port_that_is_wanted() -> None:
    transmit = ask(server((A1P1, None)), request((RESPONSE_PORT, 41000)))
    assert transmit is not None
    assert (transmit.source, transmit.destination) == (A1P1, Endpoint(CLIENT.address, 41000))
    assert decode_message(transmit.payload).get(XOR_MAPPED_ADDRESS) == CLIENT


def test_port_and_change_go_together() -> None:
    transmit = ask(two_addresses(), request((RESPONSE_PORT, 41000), (CHANGE_REQUEST, BOTH)))
    assert transmit is not None
    assert (transmit.source, transmit.destination) == (A2P2, Endpoint(CLIENT.address, 41000))


def test_port_zero_and_port_with_padding_are_bad_requests() -> None:
    assert code_of(answer(server((A1P1, None)), (RESPONSE_PORT, 0))) == 400
    assert code_of(answer(server((A1P1, None)), (RESPONSE_PORT, 9), (PADDING, bytes(500)))) == 400


@pytest.mark.parametrize("size", [100, 1500, 1501, 3000, 65_000])
@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_a_padded_answer_is_as_large_as_the_request(size: int, client: Endpoint) -> None:
    data = request((PADDING, bytes(size)))
    transmit = ask(two_addresses(), data, client)
    assert transmit is not None
    assert len(data) - 4 <= len(transmit.payload) <= len(data)
    assert decode_message(transmit.payload).get(XOR_MAPPED_ADDRESS) == client


def test_a_padding_too_small_to_matter_is_answered_with_an_empty_one() -> None:
    response = answer(two_addresses(), (PADDING, bytes(8)))
    assert response.get(PADDING) == b""


@pytest.mark.parametrize("attribute", [(CHANGE_REQUEST, NOTHING), (RESPONSE_PORT, 41000), (PADDING, bytes(100))])
def test_a_stream_follows_nothing_of_this(attribute: AttributeValue) -> None:
    local = Endpoint(A1P1.address, 3478, Transport.TCP)
    client = Endpoint(CLIENT.address, 40000, Transport.TCP)
    one = server((local, Endpoint(A2P2.address, 3479, Transport.TCP)))
    response = answer(one, attribute, client=client, local=local)
    assert code_of(response) == 420
    assert response.get(UNKNOWN_ATTRIBUTES) == (attribute[0].number,)
    assert answer(one, client=client, local=local).get(OTHER_ADDRESS) == A2P2


def test_unknown_attributes_are_listed_once() -> None:
    data = bytearray(request(fingerprint=False))
    data += b"\x7f\x01\x00\x00" * 2 + b"\x7f\x02\x00\x00"
    data[3] = 12
    transmit = ask(server((A1P1, None)), bytes(data))
    assert transmit is not None
    assert decode_message(transmit.payload).get(UNKNOWN_ATTRIBUTES) == (0x7F01, 0x7F02)


def test_strangers_are_answered_no_faster_than_the_rate() -> None:
    one = two_addresses()
    data = request(fingerprint=False)
    answers = [ask(one, data) for _ in range(10_000)]
    excess = sum(len(transmit.payload) - len(data) for transmit in answers if transmit)
    assert 16_000 < excess <= 16_384
    assert one.drops[DropReason.RATE_LIMIT] == sum(transmit is None for transmit in answers)
    assert ask(one, data, Endpoint.of("198.51.100.8", 1)) is not None
