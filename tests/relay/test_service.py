"""Who may ask for a relay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2ptun.errors import ConfigError
from p2ptun.relay.event import RequestRefused
from p2ptun.relay.server import Server
from p2ptun.stun.attribute import (
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    UNKNOWN_ATTRIBUTES,
    USERHASH,
    USERNAME,
)
from p2ptun.stun.credential import NONCE_LIFETIME, StaticCredentials
from p2ptun.stun.ephemeral import EphemeralCredentials, ephemeral_credential
from p2ptun.stun.integrity import HMAC_SHA1, HMAC_SHA256, Integrity, compute_mac, long_term_key
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, decode_message, encode_message
from p2ptun.types import Transport
from tests.relay.world import ALICE, BOB, CONFIG, LISTENER, UDP_TRANSPORT, USERS, Client, World, code_of
from tests.relay.world import REALM as REALM_NAME

BARE = Message(Method.ALLOCATE, MessageClass.REQUEST, TransactionId(b"t" * 12), (UDP_TRANSPORT,))


def challenged(world: World, message: Message = BARE) -> Message:
    (transmit,) = world.deliver(encode_message(message), ALICE)
    return decode_message(transmit.payload)


def test_a_stranger_is_challenged_and_nothing_else() -> None:
    world = World()
    response = challenged(world)
    assert code_of(response) == 401
    assert response.get(REALM) == REALM_NAME
    assert response.get(NONCE) is not None
    assert response.get(PASSWORD_ALGORITHMS) is not None
    assert world.orders == []
    assert world.events == []
    assert world.server.usage() == World().server.usage()


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_every_method_needs_credentials(method: Method) -> None:
    assert code_of(challenged(World(), replace(BARE, method=method))) == 401


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("mallory", "secret")])
def test_wrong_credentials_are_refused_and_told(user: str, password: str) -> None:
    world = World()
    response = Client(world, ALICE, user, password).ask(Method.ALLOCATE, UDP_TRANSPORT)
    assert code_of(response) == 401
    assert world.events == [RequestRefused(ALICE, LISTENER, Method.ALLOCATE, 401, "Unauthenticated", "")]
    assert world.server.allocation_count == 0


def test_clients_sign_with_sha256_and_old_ones_with_sha1() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    assert client.signed.message.get(PASSWORD_ALGORITHM) is not None
    nonce = challenged(world).get(NONCE)
    attributes = (UDP_TRANSPORT, (USERNAME, "bob"), (REALM, REALM_NAME), (NONCE, nonce))
    old = replace(BARE, attributes=attributes)
    key = long_term_key("bob", REALM_NAME, USERS["bob"])
    (transmit,) = world.deliver(encode_message(old, Integrity(HMAC_SHA1, key)), ALICE)
    assert code_of(decode_message(transmit.payload)) == 437  # authenticated: it is alice's 5-tuple


def test_user_names_can_be_hidden() -> None:
    world = World(replace(CONFIG, hides_usernames=True))
    client = Client(world)
    client.allocate()
    assert client.signed.message.get(USERHASH) is not None
    assert client.signed.message.get(USERNAME) is None


def test_a_nonce_gets_stale_for_every_method() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    for _ in range(8):
        client.refresh()
        world.sleep(500.0)
    assert world.now > 1000.0 + NONCE_LIFETIME
    assert code_of(client.refresh()) == 0
    assert world.refusals() == []  # 438 is nothing to tell


def test_a_nonce_belongs_to_one_address() -> None:
    world = World()
    client = Client(world)
    client.allocate()
    (transmit,) = world.deliver(client.sign(Method.REFRESH), BOB)
    assert code_of(decode_message(transmit.payload)) == 438


def with_unknown_attribute(signed: Message, integrity: Integrity | None) -> bytes:
    """Encode a request with an attribute that nobody knows, sealed like the rest."""
    raw = bytearray(encode_message(signed, fingerprint=False)) + b"\x7f\x01\x00\x00"
    if integrity is not None:
        raw[2:4] = (len(raw) - 20).to_bytes(2, "big")
        raw += b"\x00\x1c\x00\x20" + compute_mac(bytes(raw), HMAC_SHA256, integrity.key)
    raw[2:4] = (len(raw) - 20).to_bytes(2, "big")
    return bytes(raw)


def test_an_unknown_attribute_is_refused_after_authentication() -> None:
    world = World()
    client = Client(world)
    client.refresh()
    signed = client.signer.sign(BARE)
    (transmit,) = world.deliver(with_unknown_attribute(signed.message, None), ALICE)
    assert code_of(decode_message(transmit.payload)) == 401
    (transmit,) = world.deliver(with_unknown_attribute(signed.message, signed.integrity), ALICE)
    response = decode_message(transmit.payload)
    assert code_of(response) == 420
    assert response.get(UNKNOWN_ATTRIBUTES) == (0x7F01,)


def test_a_request_that_can_not_be_one_is_bad() -> None:
    client = Client(World())
    assert code_of(client.ask(Method.SEND)) == 400
    assert code_of(client.ask(Method.DATA)) == 400


def test_a_signed_request_without_its_realm_is_bad() -> None:
    world = World()
    (transmit,) = world.deliver(encode_message(BARE, Integrity(HMAC_SHA1, b"key")), ALICE)
    assert code_of(decode_message(transmit.payload)) == 400
    assert world.refusals() == [400]


def test_time_limited_credentials_work_until_they_expire() -> None:
    clock = [1_700_000_000.0]
    world = World(credentials=EphemeralCredentials("shared", lambda: clock[0]))
    minted = ephemeral_credential("shared", "laptop", clock[0] + 60)
    client = Client(world, ALICE, minted.username, minted.password)
    client.allocate()
    assert code_of(client.refresh()) == 0
    clock[0] += 61
    assert code_of(client.refresh()) == 401
    forged = ephemeral_credential("guessed", "laptop", clock[0] + 60)
    assert code_of(Client(world, BOB, forged.username, forged.password).ask(Method.ALLOCATE, UDP_TRANSPORT)) == 401


def test_a_stream_that_ends_takes_its_allocation_along() -> None:
    world = World()
    client = Client(world, replace(ALICE, transport=Transport.TCP))
    client.allocate()
    world.server.connection_closed(client.endpoint, client.local, world.now)
    world.drain()
    assert world.sockets == set()
    assert world.events[-1].reason.value == "connection closed"  # type: ignore[union-attr]
    world.server.connection_closed(client.endpoint, client.local, world.now)
    assert world.drain() == []


def test_udp_and_tcp_of_one_address_are_two_clients() -> None:
    world = World()
    first, second = Client(world), Client(world, replace(ALICE, transport=Transport.TCP))
    assert first.allocate() != second.allocate()


def test_a_realm_that_can_not_be_used_is_refused() -> None:
    with pytest.raises(ConfigError):
        Server(replace(CONFIG, realm="\x07"), StaticCredentials({}, "x"), lambda count: bytes(count))
