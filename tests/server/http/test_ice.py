"""What those in a room are told of servers."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from p2ptun.server.http.api import SeatDocument
from p2ptun.server.http.ice import CREDENTIAL_LIFETIME, MOST_ADDRESSES, IceOffer, own_uris
from p2ptun.stun.ephemeral import EphemeralCredentials
from p2ptun.stun.uri import parse_uri
from p2ptun.types import Endpoint

NOW = 1_000_000.0
SHARED = "shared"
PLAIN = [Endpoint.of("192.0.2.1", 3478), Endpoint.of("2001:db8::1", 3478)]
SECURE = [Endpoint.of("192.0.2.1", 5349)]


def uris(public_name: str, has_relay: bool) -> list[str]:
    return [str(each) for each in own_uris(PLAIN, SECURE, public_name, has_relay)]


def test_listeners_are_named_by_their_addresses() -> None:
    assert uris("", False) == ["stun:192.0.2.1:3478", "stun:[2001:db8::1]:3478"]
    assert uris("", True) == [
        *("stun:192.0.2.1:3478", "turn:192.0.2.1:3478?transport=udp", "turn:192.0.2.1:3478?transport=tcp"),
        *("stun:[2001:db8::1]:3478", "turn:[2001:db8::1]:3478?transport=udp", "turn:[2001:db8::1]:3478?transport=tcp"),
        "turns:192.0.2.1:5349?transport=tcp",
    ]


def test_or_by_the_name_that_people_know() -> None:
    assert uris("rv.example.net", False) == ["stun:rv.example.net:3478"]
    assert uris("rv.example.net", True)[-1] == "turns:rv.example.net:5349?transport=tcp"


def test_each_of_them_can_be_read_again() -> None:
    assert all(str(parse_uri(each)) == each for each in uris("", True))


def test_not_all_addresses_of_a_large_machine() -> None:
    many = [Endpoint.of(f"192.0.2.{number}", 3478) for number in range(1, 30)]
    assert len(own_uris(many, [], "", False)) == MOST_ADDRESSES


def test_loopback_is_named_only_where_there_is_nothing_else() -> None:
    here = Endpoint.of("127.0.0.1", 3478)
    assert [str(each) for each in own_uris([here, *PLAIN[:1]], [], "", False)] == ["stun:192.0.2.1:3478"]
    assert [str(each) for each in own_uris([here], [], "", False)] == ["stun:127.0.0.1:3478"]


def offer(*texts: str) -> IceOffer:
    return IceOffer(tuple(parse_uri(each) for each in texts), SHARED, lambda: NOW)


def test_relays_come_with_a_credential_that_expires() -> None:
    document = offer("stun:a", "turn:a", "turns:b").make("42.a")
    plain, relay = document.servers
    assert (plain.urls, plain.username) == (["stun:a"], "")
    assert relay.urls == ["turn:a", "turns:b"]
    assert document.ttl == CREDENTIAL_LIFETIME
    now = EphemeralCredentials(SHARED, lambda: NOW + CREDENTIAL_LIFETIME - 1)
    later = EphemeralCredentials(SHARED, lambda: NOW + CREDENTIAL_LIFETIME)
    assert now.find_password(relay.username) == relay.credential
    assert later.find_password(relay.username) is None


def test_the_name_hides_the_token_and_stays_with_the_side() -> None:
    first, second, other = (offer("turn:a").make(each).servers[0].username for each in ("42.a", "42.a", "42.b"))
    assert first == second != other
    assert "42.a" not in first
    elsewhere = replace(offer("turn:a"), secret="other").make("42.a").servers[0].username  # noqa: S106  # a test's
    assert elsewhere != first


def test_without_a_secret_there_are_no_relays() -> None:
    document = replace(offer("stun:a", "turn:a"), secret="").make("42.a")
    assert msgspec.json.encode(document) == b'{"servers":[{"urls":["stun:a"]}],"ttl":null}'
    assert replace(offer(), secret="").make("42.a").servers == []


def test_secrets_are_not_shown() -> None:
    assert SHARED not in repr(offer("turn:a"))
    document = offer("turn:a").make("42.a")
    shown = repr(SeatDocument("42", "42.a", 60, document)) + repr(document)
    assert document.servers[0].credential not in shown
    assert "42.a" not in shown
