from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from p2ptun.rendezvous.http_problem import Reply, refusal, timeout, trouble
from p2ptun.rendezvous.http_url import parse_server_url
from p2ptun.rendezvous.trouble import Trouble, TroubleKind

SERVER = parse_server_url("https://rv.example.net/p2ptun")


def because(error: httpx.HTTPError, *causes: BaseException) -> httpx.HTTPError:
    """Put causes behind an error, each behind the one before."""
    last: BaseException = error
    for cause in causes:
        last.__cause__ = cause
        last = cause
    return error


@pytest.mark.parametrize(
    ("error", "words", "kind", "is_unsure"),
    [
        (because(httpx.ConnectError(""), ConnectionRefusedError(111, "no")), "refused the conn", "PASSING", False),
        (
            because(httpx.ConnectError(""), OSError(), OSError(113, "Error connecting to somebody: No route")),
            r"reached \(No route to host\)",
            "PASSING",
            False,
        ),
        (because(httpx.ConnectError(""), socket.gaierror(socket.EAI_AGAIN, "")), "No name server", "PASSING", False),
        (because(httpx.ConnectError(""), socket.gaierror(socket.EAI_NONAME, "")), "no host", "LASTING", False),
        (because(httpx.ConnectError(""), ssl.SSLError(1, "[SSL] nope")), "TLS with", "LASTING", False),
        (because(httpx.ConnectError(""), ssl.SSLEOFError(8, "EOF")), "can't be reached", "PASSING", False),
        (because(httpx.ReadError(""), ssl.SSLError(1, "[SSL] nope")), "TLS with", "PASSING", True),
        (httpx.ConnectError(""), "can't be reached", "PASSING", False),
        (httpx.ConnectTimeout(""), "can't be reached", "PASSING", False),
        (httpx.ReadError(""), "broke", "PASSING", True),
        (httpx.RemoteProtocolError(""), "broke", "PASSING", True),
        (httpx.ProxyError("407 Who are you"), "asks for a user name", "LASTING", False),
        (httpx.ProxyError("403 No\x1b[1m"), r"through to .* \(403 No\[1m\)", "LASTING", False),
        (httpx.ProxyError("502 Later"), "through to", "PASSING", False),
    ],
)
def test_what_happened_to_a_request(error: httpx.HTTPError, words: str, kind: str, is_unsure: bool) -> None:
    found = trouble(SERVER, error)
    with pytest.raises(Trouble, match=words):
        raise found
    assert (found.kind, found.is_unsure) == (TroubleKind[kind], is_unsure)
    assert str(found).endswith(".")
    assert found.remedy


def test_causes_that_go_in_circles_come_to_an_end() -> None:
    error = httpx.ConnectError("")
    error.__cause__ = other = OSError()
    other.__cause__ = error
    assert "can't be reached" in str(trouble(SERVER, error))


def test_several_addresses_fail_together() -> None:
    group = OSError("all attempts failed")
    group.exceptions = [OSError(101, "Network is unreachable"), ConnectionRefusedError(111, "no")]  # type: ignore[attr-defined]  # as an ExceptionGroup has them, which 3.10 lacks
    assert "refused the connection" in str(trouble(SERVER, because(httpx.ConnectError(""), group)))


def test_no_answer_in_time() -> None:
    assert timeout(SERVER).is_unsure
    assert timeout(SERVER).kind is TroubleKind.PASSING


@pytest.mark.parametrize(
    ("location", "remedy"),
    [
        ("https://new.example/v1/rooms", "Use --rendezvous https://new.example/"),
        ("https://new.example/below/v1/rooms", "Use --rendezvous https://new.example/below/"),
        ("/v1/rooms", "Check the URL; on a network with a login page, log in first."),
        ("ftp://new.example/v1/rooms", "Check the URL; on a network with a login page, log in first."),
        ("https://hotel.example/login", "Check the URL; on a network with a login page, log in first."),
        ("https://\x1b]0;x/v1/rooms", "Check the URL; on a network with a login page, log in first."),
        ("https://[::1/v1/rooms", "Check the URL; on a network with a login page, log in first."),
        ("", "Check the URL; on a network with a login page, log in first."),
    ],
)
def test_a_redirection_is_told(location: str, remedy: str) -> None:
    error = refusal(SERVER, "v1/rooms", Reply(307, location=location))
    assert error.remedy == remedy


@pytest.mark.parametrize(
    ("text", "wait"), [("7", 7.0), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)]
)
def test_how_long_to_wait_is_a_number_of_seconds(text: str, wait: float | None) -> None:
    for status in (429, 503):
        error = refusal(SERVER, "v1/rooms", Reply(status, retry_after=text))
        assert isinstance(error, Trouble)
        assert error.retry_after == wait


def test_a_proxy_before_plain_http_asks_who_we_are() -> None:
    error = refusal(SERVER, "v1/rooms", Reply(407))
    assert isinstance(error, Trouble)
    assert error.kind is TroubleKind.LASTING
