from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import TcpType
from p2ptun.ice.tcp import active_base, base_type, can_pair, has_to_be_told, initiates, learnt_type
from p2ptun.types import Endpoint, Transport
from tests.ice.material import host

ACTIVE, PASSIVE, OPEN = TcpType.ACTIVE, TcpType.PASSIVE, TcpType.SIMULTANEOUS_OPEN
KINDS = (None, ACTIVE, PASSIVE, OPEN)


def candidate(tcp_type: TcpType | None) -> Candidate:
    udp = host("10.0.0.1:5000")
    if tcp_type is None:
        return udp
    return replace(udp, endpoint=replace(udp.endpoint, transport=Transport.TCP), tcp_type=tcp_type)


def test_active_base_has_the_discard_port() -> None:
    base = active_base(ip_address("10.0.0.1"))
    assert base == Endpoint.of("10.0.0.1", 9, Transport.TCP)
    assert base_type(base) is ACTIVE


def test_base_with_a_port_of_its_own_is_taken_for_passive_and_udp_for_nothing() -> None:
    assert base_type(Endpoint.of("10.0.0.1", 5000, Transport.TCP)) is PASSIVE
    assert base_type(Endpoint.of("10.0.0.1", 9)) is None


@pytest.mark.parametrize("local", KINDS)
@pytest.mark.parametrize("remote", KINDS)
def test_pairs_that_are_checked_are_those_of_rfc_6544_section_6_2(
    local: TcpType | None, remote: TcpType | None
) -> None:
    meets = [(None, None), (ACTIVE, PASSIVE), (OPEN, OPEN)]
    assert can_pair(candidate(local), candidate(remote)) is ((local, remote) in meets)


def test_only_a_passive_base_waits() -> None:
    assert [initiates(candidate(kind)) for kind in KINDS] == [True, True, False, True]


def test_who_checks_a_passive_base_unknown_is_active() -> None:
    assert [learnt_type(candidate(kind)) for kind in KINDS] == [None, PASSIVE, ACTIVE, OPEN]


def test_all_but_active_candidates_are_told() -> None:
    assert [has_to_be_told(candidate(kind)) for kind in KINDS] == [True, False, True, True]
