"""URIs as people write them, right and wrong."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import ConfigError
from p2ptun.stun.uri import Scheme, StunUri, parse_uri
from p2ptun.types import Transport

STUN, STUNS, TURN, TURNS = Scheme


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stun:example.org", StunUri(STUN, "example.org")),  # RFC 7064 appendix B
        ("stuns:example.org", StunUri(STUNS, "example.org")),
        ("stun:example.org:8000", StunUri(STUN, "example.org", 8000)),
        ("turn:example.org", StunUri(TURN, "example.org")),  # RFC 7065 appendix B
        ("turns:example.org", StunUri(TURNS, "example.org")),
        ("turn:example.org:8000", StunUri(TURN, "example.org", 8000)),
        ("turn:example.org?transport=udp", StunUri(TURN, "example.org", None, Transport.UDP)),
        ("turn:example.org?transport=tcp", StunUri(TURN, "example.org", None, Transport.TCP)),
        ("turns:example.org?transport=tcp", StunUri(TURNS, "example.org", None, Transport.TLS)),
        ("turns:example.org:443?TRANSPORT=TCP", StunUri(TURNS, "example.org", 443, Transport.TLS)),
        ("stun:192.0.2.1:3478", StunUri(STUN, "192.0.2.1", 3478)),
        ("stun:[2001:DB8:0::1]", StunUri(STUN, "2001:db8::1")),
        ("stun:[2001:db8::1]:65535", StunUri(STUN, "2001:db8::1", 65535)),
        ("stun:[::ffff:192.0.2.1]", StunUri(STUN, "192.0.2.1")),
        ("STUN:Example.ORG.", StunUri(STUN, "example.org.")),
        ("stun:xn--bcher-kva.example:1", StunUri(STUN, "xn--bcher-kva.example", 1)),
        ("turn:3com.example", StunUri(TURN, "3com.example")),
        ("stun:localhost", StunUri(STUN, "localhost")),
    ],
)
def test_good_ones(text: str, expected: StunUri) -> None:
    uri = parse_uri(text)
    assert uri == expected
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "secure", "port", "transport"),
    [
        ("stun:h", False, 3478, Transport.UDP),
        ("stuns:h", True, 5349, Transport.TLS),
        ("turn:h", False, 3478, Transport.UDP),
        ("turns:h", True, 5349, Transport.TLS),
        ("turn:h:80?transport=tcp", False, 80, Transport.TCP),
        ("turns:h:443?transport=tcp", True, 443, Transport.TLS),
    ],
)
def test_defaults(text: str, secure: bool, port: int, transport: Transport) -> None:
    uri = parse_uri(text)
    assert uri.is_secure is secure
    assert uri.port_or_default == port
    assert uri.transport_or_default is transport


def test_an_address_needs_no_resolver() -> None:
    assert parse_uri("stun:192.0.2.1").address == IPv4Address("192.0.2.1")
    assert parse_uri("stun:[2001:db8::1]").address == IPv6Address("2001:db8::1")
    assert parse_uri("stun:example.org").address is None


def test_schemes() -> None:
    assert [scheme.is_secure for scheme in Scheme] == [False, True, False, True]
    assert [scheme.is_turn for scheme in Scheme] == [False, False, True, True]


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("", "has no scheme", "stun:HOST"),
        ("example.org", "has no scheme", "stun:HOST"),
        ("stun.example.org:3478", "has no scheme", "stun:HOST"),
        ("[2001:db8::1]:3478", "has no scheme", "stun:HOST"),
        ("http:example.org", "has the scheme 'http'", "Use one of stun:"),
        ("stun://example.org:1", "has two slashes", "Write 'stun:example.org:1'."),
        ("turn:me:pass@example.org", "holds a user name", "their own options"),
        ("stun:example.org?transport=udp", "has a parameter, which stun: doesn't take", "Leave out"),
        ("stuns:example.org?", "has a parameter", "Leave out"),
        ("turn:example.org?", "has the parameter ''", "?transport=udp"),
        ("turn:example.org?transport=sctp", "has the parameter 'transport=sctp'", "?transport=udp"),
        ("turn:example.org?ttl=1", "has the parameter", "?transport=udp"),
        ("turns:example.org?transport=udp", "asks for DTLS", "?transport=tcp"),
        ("stun:", "has no host", "name or address"),
        ("stun::3478", "has no host", "name or address"),
        ("stun:2001:db8::1", "has a host that can't be read", "in brackets"),
        ("stun:[2001:db8::1", "has a host that can't be read", "in brackets"),
        ("stun:[2001:db8::1]3478", "has a host that can't be read", "in brackets"),
        ("stun:[]", "which is no IPv6 address", "like [2001:db8::1]"),
        ("stun:[192.0.2.1]", "which is no IPv6 address", "like [2001:db8::1]"),
        ("stun:[[:\n1]:3478", "which is no IPv6 address", "like [2001:db8::1]"),
        ("stun:[" + "a" * 5000 + "]", "which is no IPv6 address", "like [2001:db8::1]"),
        ("stun://a\nb", "has two slashes", "Write 'stun:a"),
        ("turn:a?" + "b" * 5000, "has the parameter", "?transport=udp"),
        ("stun:[fe80::1%eth0]", "which is no IPv6 address", "without a zone"),
        ("stun:192.0.2.256", "which is no IPv4 address", "four numbers"),
        ("stun:1.2.3", "which is no IPv4 address", "four numbers"),
        ("stun:exa mple.org", "which is no DNS name", "letters, digits"),
        ("stun:b\u00fccher.example", "which is no DNS name", "letters, digits"),
        ("stun:-a.example", "which is no DNS name", "letters, digits"),
        ("stun:a..b", "which is no DNS name", "letters, digits"),
        ("stun:" + "a" * 64, "which is no DNS name", "letters, digits"),
        ("stun:" + "a.bcdefg" * 40, "which is no DNS name", "letters, digits"),
        ("stun:example.org\n", "which is no DNS name", "letters, digits"),
        ("stun:example.org:", "has the port ''", "1 to 65535"),
        ("stun:example.org:0", "has the port '0'", "1 to 65535"),
        ("stun:example.org:65536", "has the port '65536'", "1 to 65535"),
        ("stun:example.org:x", "has the port 'x'", "1 to 65535"),
        ("stun:example.org:\u0663", "has the port", "1 to 65535"),
        ("stun:example.org:" + "9" * 5000, "has the port", "1 to 65535"),
    ],
)
def test_bad_ones_say_why_and_what_to_do(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_uri(text, "home.toml", "ice.stun")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("home.toml: ice.stun: ")
    assert remedy in caught.value.remedy
    for said in (str(caught.value), caught.value.remedy):
        assert "\n" not in said
        assert len(said) < 300


@given(st.text(max_size=60) | st.text(alphabet="stun:rs[]./?=0123456789abcdef%@- \n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"stun:{text}", f"turn:{text}"):
        try:
            uri = parse_uri(candidate)
        except ConfigError:
            continue
        assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "turn:me:hush@example.org",
        "http://me:hush@example.org",
        "turn://me:hush@example.org",
        "me:hush@example.org",
        "turn:me:hush/hush@hush@example.org",
        "turn:me:" + "hush" * 50 + "@example.org",
    ],
)
def test_passwords_are_not_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_uri(text)
    assert "hush" not in str(caught.value) + caught.value.remedy
    assert "example.org" in str(caught.value)
