from __future__ import annotations

import pytest

from p2ptun.errors import ConfigError
from p2ptun.rendezvous.http_url import parse_server_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://rv.example.net", "https://rv.example.net/"),
        ("HTTPS://RV.Example.Net:443/", "https://rv.example.net/"),
        ("http://rv.example.net:80", "http://rv.example.net/"),
        ("http://rv.example.net:8080", "http://rv.example.net:8080/"),
        ("https://example.net/p2ptun", "https://example.net/p2ptun/"),
        ("https://example.net/p2ptun/", "https://example.net/p2ptun/"),
        ("https://example.net/a/b//", "https://example.net/a/b/"),
        ("http://192.0.2.1:80", "http://192.0.2.1/"),
        ("http://[2001:DB8:0::1]:8080/x", "http://[2001:db8::1]:8080/x/"),
        ("https://bücher.example", "https://xn--bcher-kva.example/"),
        ("http://localhost", "http://localhost/"),
    ],
)
def test_all_ways_to_write_it_have_one_form(text: str, url: str) -> None:
    parsed = parse_server_url(text)
    assert str(parsed) == url
    assert parsed.is_secure == url.startswith("https")
    assert parsed.of("v1/rooms") == f"{url}v1/rooms"
    assert parse_server_url(url) == parsed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no http or https URL"),
        ("ftp://rv.example.net", "no http or https URL"),
        ("https:rv.example.net", "no http or https URL"),
        ("https://", "no http or https URL"),
        ("https:///path", "no http or https URL"),
        ("https://rv.example.net:0x50", "can't be read"),
        ("https://rv.example.net:70000", "can't be read"),
        ("https://[::1", "can't be read"),
        ("https://[v1.x]/", "IPv6 address|can't be read"),
        ("https://2001:db8::1/", "can't be read"),
        ("https://rv.example.net/?room=1", "after the path"),
        ("https://rv.example.net/#top", "after the path"),
        ("https://rv.example.net/a b", "white space"),
        ("https://rv.example.net/a\n", "white space"),
        ("https://rv\u202e.example.net/", "can't be seen"),
        ("https://rv_.-x/", "no name of a host"),
        ("https://" + "a" * 70 + ".example", "no name of a host"),
        ("https://rv..example", "no name of a host"),
        ("https://rv.example.net/ä", "after the path"),
        ("https://me@rv.example.net/", "user name"),
    ],
)
def test_what_is_none_is_told(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_server_url(text)
    assert caught.value.remedy
    assert len(str(caught.value)) < 250


def test_passwords_are_never_repeated() -> None:
    for text in ("https://me:hunter2@rv.example.net/", "ftp://me:hunter2@x/", "https://me:hunter2@x:99999"):
        with pytest.raises(ConfigError) as caught:
            parse_server_url(text)
        assert "hunter2" not in str(caught.value) + caught.value.remedy
