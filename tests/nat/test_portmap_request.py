"""What is asked of a gateway, in which protocol, and when it is repeated."""

from __future__ import annotations

import pytest

from p2ptun.nat import natpmp, pcp
from p2ptun.nat.portmap_event import Protocol
from p2ptun.nat.portmap_lease import Lease, nowhere
from p2ptun.nat.portmap_request import (
    EXTERNAL_ADDRESS_LIFETIME,
    FIRST_INTERVAL,
    JITTER,
    LONGEST_INTERVAL,
    MAX_TURNS,
    QUICK_REQUESTS,
    RELEASE_INTERVAL,
    RELEASE_REQUESTS,
    Gateway,
    Question,
    Release,
    Request,
    interval,
)
from p2ptun.types import Endpoint

from .gateway import GATEWAY, GATEWAY_V6, LOCAL, LOCAL_V6, OUTSIDE, PORT
from .gateway import START as NOW


def make_lease(version: int = 4) -> Lease:
    return Lease(PORT, bytes(12), Endpoint(nowhere(version), PORT), NOW)


def protocols(payloads: list[bytes]) -> list[int]:
    return [payload[0] for payload in payloads]


def test_first_pcp_alone_and_then_both() -> None:
    gateway, request = Gateway(GATEWAY), Request(make_lease())
    assert protocols(list(request.ask(gateway, LOCAL, bytes, NOW))) == [pcp.VERSION]
    assert request.lease.is_asked
    assert request.repeat_at == NOW + FIRST_INTERVAL
    assert protocols(list(request.ask(gateway, LOCAL, bytes, NOW))) == [pcp.VERSION, natpmp.VERSION]
    assert request.open == Question.PCP | Question.ADDRESS


def test_ipv6_is_pcp_only() -> None:
    gateway, request = Gateway(GATEWAY_V6), Request(make_lease(6))
    for _ in range(QUICK_REQUESTS):
        assert protocols(list(request.ask(gateway, LOCAL_V6, bytes, NOW))) == [pcp.VERSION]


def test_natpmp_asks_for_the_address_before_the_mapping() -> None:
    gateway, request = Gateway(GATEWAY, Protocol.NAT_PMP), Request(make_lease())
    assert list(request.ask(gateway, LOCAL, bytes, NOW)) == [natpmp.encode_address_request()]
    gateway.external = OUTSIDE, NOW
    wanted = natpmp.encode_map_request(PORT, PORT, natpmp.RECOMMENDED_LIFETIME)
    assert list(request.ask(gateway, LOCAL, bytes, NOW)) == [wanted]
    later = NOW + EXTERNAL_ADDRESS_LIFETIME
    assert list(request.ask(gateway, LOCAL, bytes, later)) == [natpmp.encode_address_request()]


def test_a_gateway_that_fell_silent_may_speak_another_protocol() -> None:
    gateway, request = Gateway(GATEWAY, Protocol.NAT_PMP), Request(make_lease(), sent=QUICK_REQUESTS)
    assert protocols(list(request.ask(gateway, LOCAL, bytes, NOW))) == [pcp.VERSION]
    assert gateway.protocol is None


def test_turning_round_ends_somewhere() -> None:
    request = Request(make_lease(), sent=4, open=Question.PCP)
    assert all(request.turn() for _ in range(MAX_TURNS))
    assert (request.sent, request.open) == (0, Question.NOTHING)
    assert not request.turn()


@pytest.mark.parametrize("protocol", Protocol)
def test_a_mapping_is_given_back_three_times(protocol: Protocol) -> None:
    release = Release(make_lease())
    for number in range(RELEASE_REQUESTS):
        assert not release.is_over
        payload = release.ask(protocol, LOCAL, NOW + number)
        assert payload[0] == (natpmp.VERSION if protocol is Protocol.NAT_PMP else pcp.VERSION)
        assert release.repeat_at == NOW + number + RELEASE_INTERVAL
    assert release.is_over


def test_intervals_double_and_end_at_the_longest() -> None:
    assert [interval(sent, bytes) for sent in (1, 2, 3, QUICK_REQUESTS)] == [0.25, 0.5, 1.0, 64.0]
    assert interval(QUICK_REQUESTS + 1, bytes) == pytest.approx(128 * (1 - JITTER))
    assert interval(1000, lambda size: b"\xff" * size) == pytest.approx(LONGEST_INTERVAL * (1 + JITTER))


def test_a_clock_that_goes_back_tells_of_a_restart() -> None:
    gateway = Gateway(GATEWAY, Protocol.PCP)
    assert not gateway.has_restarted(5000, NOW)
    assert not gateway.has_restarted(5010, NOW + 10)
    assert gateway.has_restarted(1, NOW + 20)
