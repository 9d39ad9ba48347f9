from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.signal.address import (
    PROPOSALS,
    agreed_network,
    bid,
    proposed_networks,
    tunnel_addresses,
    unique_local_network,
)
from p2ptun.signal.description import Kind
from tests.signal.sample import make_description

session_ids = st.binary(min_size=8, max_size=8)
OFFER, ANSWER = make_description(), make_description(Kind.ANSWER, seed=2)


@given(session_ids)
def test_sixteen_different_networks_are_proposed(session_id: bytes) -> None:
    networks = proposed_networks(session_id)
    assert networks == proposed_networks(session_id)
    assert len(set(networks)) == len(networks) == PROPOSALS
    assert all(network.prefixlen == 31 and network.subnet_of(IPv4Network("10.77.0.0/16")) for network in networks)


@given(session_ids)
def test_the_ipv6_network_is_unique_local(session_id: bytes) -> None:
    network = unique_local_network(session_id)
    assert network.prefixlen == 127
    assert network.subnet_of(IPv6Network("fd00::/8"))
    assert int(network.network_address) & (2**64 - 1) == 2


def test_the_wire_depends_on_these_derivations() -> None:
    assert [str(network) for network in proposed_networks(b"SESSION.")[:2]] == ["10.77.127.250/31", "10.77.223.236/31"]
    assert str(unique_local_network(b"SESSION.")) == "fdbf:f032:2e88:2504::2/127"


def test_sessions_differ() -> None:
    assert set(proposed_networks(b"session1")) != set(proposed_networks(b"session2"))
    assert unique_local_network(b"session1") != unique_local_network(b"session2")


@given(session_ids, st.sets(st.integers(0, 15)))
def test_a_bid_names_what_overlaps_nothing(session_id: bytes, taken: set[int]) -> None:
    proposals = proposed_networks(session_id)
    used = [proposals[number] for number in taken] + [ip_network("fd00::/8"), ip_network("192.168.0.0/16")]
    assert bid(session_id, used) == sum(1 << number for number in range(16) if number not in taken)


@pytest.mark.parametrize(
    ("used", "expected"), [([], 0xFFFF), (["10.0.0.0/8"], 0), (["0.0.0.0/0"], 0), (["10.78.0.0/16", "::/0"], 0xFFFF)]
)
def test_larger_networks_count(used: list[str], expected: int) -> None:
    assert bid(b"session1", [ip_network(text) for text in used]) == expected


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_the_first_network_free_on_both_sides_is_taken(ours: int, theirs: int) -> None:
    network = agreed_network(replace(OFFER, address_bids=ours), replace(ANSWER, address_bids=theirs))
    free = [number for number in range(16) if ours >> number & theirs >> number & 1]
    assert network == (proposed_networks(OFFER.session_id)[free[0]] if free else None)


def test_both_sides_get_one_end_of_each_network() -> None:
    lower4, lower6 = tunnel_addresses(Kind.OFFER, OFFER, ANSWER)
    upper4, upper6 = tunnel_addresses(Kind.ANSWER, OFFER, ANSWER)
    assert lower4.network == upper4.network == proposed_networks(OFFER.session_id)[0]
    assert lower6.network == upper6.network == unique_local_network(OFFER.session_id)
    assert (lower4.ip + 1, lower6.ip + 1) == (upper4.ip, upper6.ip)


def test_without_a_common_network_there_is_ipv6() -> None:
    (address,) = tunnel_addresses(Kind.OFFER, replace(OFFER, address_bids=1), replace(ANSWER, address_bids=2))
    assert address.version == 6


def test_a_side_that_insists_gets_its_own() -> None:
    own = (ip_interface("192.168.9.1/24"),)
    offer = replace(OFFER, addresses=own)
    assert tunnel_addresses(Kind.OFFER, offer, ANSWER) == own
    assert tunnel_addresses(Kind.ANSWER, offer, ANSWER) == tunnel_addresses(Kind.ANSWER, OFFER, ANSWER)
    assert tunnel_addresses(Kind.ANSWER, OFFER, replace(ANSWER, addresses=own)) == own
