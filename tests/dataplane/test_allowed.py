from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.dataplane.allowed import MAX_CACHED, AllowedIPs
from p2ptun.types import IPNetwork


def table_of(**networks: str) -> AllowedIPs[str]:
    table: AllowedIPs[str] = AllowedIPs()
    for peer, texts in networks.items():
        for text in texts.split():
            table.insert(ip_network(text), peer)
    return table


def packed(text: str) -> bytes:
    return ip_address(text).packed


def test_the_longest_prefix_wins() -> None:
    table = table_of(wide="10.0.0.0/8 ::/0", narrow="10.1.0.0/16 10.1.2.3/32 fd00::/8", one="fd00::1/128")
    expected = {
        "10.9.9.9": "wide",
        "10.1.9.9": "narrow",
        "10.1.2.3": "narrow",
        "11.0.0.1": None,
        "2001:db8::1": "wide",
        "fd00::2": "narrow",
        "fd00::1": "one",
    }
    assert {address: table.lookup(packed(address)) for address in expected} == expected


def test_a_network_belongs_to_one_peer() -> None:
    table = table_of(a="10.0.0.0/24", b="10.0.0.0/24 fd00::/64")
    assert table.lookup(packed("10.0.0.1")) == "b"
    table.remove(ip_network("10.0.0.0/24"))
    table.remove(ip_network("10.0.0.0/24"))
    table.remove(ip_network("172.16.0.0/12"))
    assert table.lookup(packed("10.0.0.1")) is None
    assert table.lookup(packed("fd00::1")) == "b"
    table.remove_peer("b")
    assert table.lookup(packed("fd00::1")) is None
    table.insert(ip_network("0.0.0.0/0"), "c")
    assert table.lookup(packed("10.0.0.1")) == "c"


addresses4 = st.integers(0, 2**32 - 1)
networks4 = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False), addresses4, st.sampled_from([0, 1, 8, 24, 32])
)
addresses6 = st.integers(0, 2**128 - 1).filter(lambda number: number >> 32 != 0xFFFF)
networks6 = st.builds(
    lambda address, length: IPv6Network((address, length), strict=False), addresses6, st.sampled_from([0, 7, 64, 128])
)


@given(st.lists(st.one_of(networks4, networks6), max_size=12), st.data())
def test_it_agrees_with_ipaddress(networks: list[IPNetwork], data: st.DataObject) -> None:
    table: AllowedIPs[int] = AllowedIPs()
    owners: dict[IPNetwork, int] = {}
    for number, network in enumerate(networks):
        table.insert(network, number)
        owners[network] = number
    inside = [network.network_address for network in networks] + [network.broadcast_address for network in networks]
    anywhere = st.one_of(addresses4.map(ip_address), addresses6.map(lambda n: ip_address(n.to_bytes(16, "big"))))
    address = data.draw(st.one_of(st.sampled_from(inside), anywhere) if inside else anywhere)
    holding = [network for network in owners if network.version == address.version and address in network]
    best = max(holding, key=lambda network: network.prefixlen, default=None)
    for _ in range(2):
        assert table.lookup(address.packed) == (None if best is None else owners[best])


def test_a_mapped_address_is_the_ipv4_one() -> None:
    table = table_of(a="10.0.0.1/32", b="::/0", c="::ffff:10.2.0.0/112")
    assert table.lookup(packed("::ffff:10.0.0.1")) == "a"
    assert table.lookup(packed("::ffff:10.0.0.2")) is None
    assert table.lookup(packed("10.2.9.9")) == "c"
    assert table.source_owner(packed("::ffff:10.0.0.1")) is None


@pytest.mark.parametrize("source", ["2002:0a00:0001::7", "64:ff9b::10.0.0.1", "2001:0:1:2:3:4:f5ff:fffe"])
def test_nobody_speaks_as_another_in_ipv6(source: str) -> None:
    victim = {"victim": "10.0.0.1/32"}
    assert table_of(**victim).source_owner(packed(source)) is None
    assert table_of(**victim, liar="::/0").source_owner(packed(source)) is None
    assert table_of(**victim, liar="::/0").lookup(packed(source)) == "liar"
    assert table_of(victim="10.0.0.1/32 ::/0").source_owner(packed(source)) == "victim"
    assert table_of(gateway="::/0").source_owner(packed(source)) == "gateway"


@pytest.mark.parametrize(
    "source", ["0.0.0.1", "127.0.0.1", "224.0.0.1", "::", "::1", "ff02::1", "2002:7f00:1::", "64:ff9b::224.0.0.1"]
)
def test_martians_have_no_owner(source: str) -> None:
    assert table_of(all="0.0.0.0/0 ::/0").source_owner(packed(source)) is None


def test_an_ordinary_source() -> None:
    table = table_of(a="10.0.0.1/32 fd00::1/128")
    assert [table.source_owner(packed(text)) for text in ("10.0.0.1", "fd00::1", "10.0.0.2")] == ["a", "a", None]


def test_changes_are_seen_through_the_cache() -> None:
    table = table_of(a="10.0.0.0/24")
    one, inside = packed("10.0.0.1"), packed("2002:0a00:0001::")
    assert (table.lookup(one), table.source_owner(one), table.source_owner(inside)) == ("a", "a", None)
    table.insert(ip_network("10.0.0.1/32"), "b")
    table.insert(ip_network("2002::/16"), "b")
    assert (table.lookup(one), table.source_owner(one), table.source_owner(inside)) == ("b", "b", "b")


def test_made_up_addresses_dont_fill_the_memory() -> None:
    table = table_of(a="10.0.0.0/8")
    for number in range(2 * MAX_CACHED + 5):
        table.source_owner((0x0A000000 + number).to_bytes(4, "big"))
    assert len(table._owners) <= MAX_CACHED
    assert len(table._source_owners) <= MAX_CACHED
