"""What two descriptions come to: matching on both sides, and never at the expense of a machine's own network."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.daemon.agreement import Agreement, agree, overlaps
from p2ptun.errors import RendezvousError
from p2ptun.ice.credential import Credentials
from p2ptun.signal.address import bid, proposed_networks
from p2ptun.signal.description import Description, Kind
from p2ptun.types import IPNetwork

SESSION = b"sessions"
ALL_FREE = 0xFFFF


def description(
    kind: Kind,
    addresses: tuple[str, ...] = (),
    routes: tuple[str, ...] = (),
    bids: int = ALL_FREE,
    session_id: bytes = SESSION,
) -> Description:
    return Description(
        kind=kind,
        session_id=session_id,
        credentials=Credentials("abcdefgh", "p" * 24),
        public_key=bytes(32),
        addresses=tuple(ip_interface(each) for each in addresses),
        routes=tuple(ip_network(each) for each in routes),
        address_bids=bids,
    )


def sides(
    offer: Description, answer: Description, used: tuple[str, ...] = (), has_ipv6: bool = True
) -> tuple[Agreement, Agreement]:
    networks = [ip_network(each) for each in used]
    return (
        agree(Kind.OFFER, offer, answer, networks, has_ipv6),
        agree(Kind.ANSWER, offer, answer, networks, has_ipv6),
    )


def networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


numbers = st.integers(0, ALL_FREE)


@given(st.binary(min_size=8, max_size=8), numbers, numbers)
def test_both_sides_agreements_mirror_each_other(session_id: bytes, ours: int, theirs: int) -> None:
    offer = description(Kind.OFFER, bids=ours, session_id=session_id)
    answer = description(Kind.ANSWER, bids=theirs, session_id=session_id)
    left, right = sides(offer, answer)
    assert (left.own, left.peer) == (right.peer, right.own)
    assert {each.ip for each in left.own}.isdisjoint(each.ip for each in right.own)
    assert left.allowed_ips == tuple(ip_network(each.ip) for each in right.own)
    assert all(each.prefixlen == each.max_prefixlen for each in left.allowed_ips + right.allowed_ips)
    assert left.routes == right.routes == (), "the other side is on the link"
    assert len(left.own) == (2 if ours & theirs else 1)


@given(
    st.lists(st.sampled_from(["10.77.0.0/24", "10.0.0.0/8", "10.77.128.0/17", "192.168.0.0/16"]), max_size=2),
    st.lists(st.sampled_from(["10.77.3.0/24", "10.77.0.0/17", "172.16.0.0/12"]), max_size=2),
)
def test_an_agreed_address_is_in_use_on_neither_side(here: list[str], there: list[str]) -> None:
    offer = description(Kind.OFFER, bids=bid(SESSION, networks(*here)))
    answer = description(Kind.ANSWER, bids=bid(SESSION, networks(*there)))
    left, right = sides(offer, answer)
    for each in left.own + right.own:
        assert not overlaps(ip_network(each.ip), networks(*here, *there))


def test_each_side_may_insist_on_its_addresses() -> None:
    left, right = sides(description(Kind.OFFER, ("172.31.9.1/30",)), description(Kind.ANSWER, ("172.31.9.2/30",)))
    assert left.own == right.peer == (ip_interface("172.31.9.1/30"),)
    assert left.routes == right.routes == (), "they are on one link"
    far, near = sides(description(Kind.OFFER, ("172.31.9.1/24",)), description(Kind.ANSWER, ("172.31.8.2/24",)))
    assert far.routes == networks("172.31.8.2/32")
    assert near.routes == networks("172.31.9.1/32")


def test_who_insists_on_an_address_meets_who_leaves_it_open() -> None:
    left, right = sides(description(Kind.OFFER, ("172.31.9.1/24", "fd01::1/64")), description(Kind.ANSWER))
    assert right.routes == networks("172.31.9.1/32", "fd01::1/128")
    assert left.own == right.peer
    assert left.peer == right.own


def test_the_same_address_on_both_sides_is_refused() -> None:
    with pytest.raises(RendezvousError, match=r"10\.1\.1\.1") as caught:
        sides(description(Kind.OFFER, ("10.1.1.1/24",)), description(Kind.ANSWER, ("10.1.1.1/30", "fd01::1/64")))
    assert "--address" in caught.value.remedy


def test_without_any_free_address_the_person_has_to_name_some() -> None:
    answer = description(Kind.ANSWER, bids=0)
    with pytest.raises(RendezvousError, match="no address for the tunnel") as caught:
        agree(Kind.OFFER, description(Kind.OFFER), answer, [], False)
    assert "--address" in caught.value.remedy
    left, _ = sides(description(Kind.OFFER), answer)
    assert [each.version for each in left.own] == [6]


def test_a_machine_without_ipv6_gets_none() -> None:
    offer, answer = description(Kind.OFFER, routes=("fd99::/64", "192.168.5.0/24")), description(Kind.ANSWER)
    agreement = agree(Kind.ANSWER, offer, answer, [], False)
    assert {each.version for each in agreement.own} == {4}
    assert agreement.routes == networks("192.168.5.0/24")
    assert agreement.refused == ()


# What the other side offers to route


def test_an_offered_network_is_routed_and_allowed() -> None:
    offer, answer = description(Kind.OFFER), description(Kind.ANSWER, routes=("192.168.7.0/24", "fd99::/64"))
    left, right = sides(offer, answer)
    assert left.routes == networks("192.168.7.0/24", "fd99::/64")
    assert set(networks("192.168.7.0/24", "fd99::/64")) < set(left.allowed_ips)
    assert right.routes == ()
    assert len(right.allowed_ips) == 2


@pytest.mark.parametrize(
    "network",
    [
        "0.0.0.0/0",
        "::/0",
        "127.0.0.0/8",
        "::1/128",
        "224.0.0.0/4",
        "ff00::/8",
        "169.254.0.0/16",
        "fe80::/10",
        "192.168.1.0/24",
        "192.168.0.0/16",
        "192.168.1.128/25",
        "192.168.1.7/32",
        "0.0.0.0/1",
        "128.0.0.0/1",
    ],
)
def test_a_network_that_would_take_our_own_traffic_is_refused(network: str) -> None:
    answer = description(Kind.ANSWER, routes=(network, "10.200.0.0/16"))
    used = ("192.168.1.0/24", "203.0.113.0/24", "8.0.0.0/8")
    left = agree(Kind.OFFER, description(Kind.OFFER), answer, networks(*used), True)
    assert left.refused == networks(network)
    assert left.routes == networks("10.200.0.0/16")
    assert ip_network(network) not in left.allowed_ips


@pytest.mark.parametrize(
    "address",
    ["192.168.1.1/32", "192.168.1.1/24", "127.0.0.1/8", "::1/128", "224.0.0.1/32", "0.0.0.0/32", "ff02::1/64"],
)
def test_an_address_that_would_take_our_own_traffic_is_refused(address: str) -> None:
    """It would be routed to the other side by itself, and a gateway's or a resolver's traffic with it."""
    answer = description(Kind.ANSWER, (address,))
    with pytest.raises(RendezvousError) as caught:
        agree(Kind.OFFER, description(Kind.OFFER), answer, networks("192.168.1.0/24"), True)
    assert address.split("/")[0] in str(caught.value)
    assert "--address" in caught.value.remedy


def test_a_network_that_is_offered_twice_is_routed_once() -> None:
    answer = description(Kind.ANSWER, ("10.3.0.1/24",), ("10.3.0.1/32", "10.3.0.1/32"))
    left = agree(Kind.OFFER, description(Kind.OFFER), answer, [], True)
    assert left.routes == networks("10.3.0.1/32")


def test_overlapping_is_of_one_family() -> None:
    assert overlaps(ip_network("10.0.0.0/8"), networks("fd00::/8", "10.1.0.0/16"))
    assert not overlaps(ip_network("10.0.0.0/8"), networks("::/0", "11.0.0.0/8"))
    assert len(proposed_networks(SESSION)) == 16
