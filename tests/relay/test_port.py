"""Ports to relay from."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Address

from p2ptun.relay.config import ServerConfig
from p2ptun.relay.port import Parity, Ports
from p2ptun.types import Endpoint

HERE, THERE = IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2")
CONFIG = ServerConfig(relay_addresses=(HERE,), lowest_port=50001, highest_port=50006)


def ports(config: ServerConfig = CONFIG, seed: int = 1) -> Ports:
    return Ports(config, random.Random(seed).randbytes)


def take_all(of: Ports, parity: Parity) -> list[int]:
    found = []
    while (relayed := of.take(4, parity, "")) is not None:
        found.append(relayed.port)
    return found


def test_every_port_is_given_once() -> None:
    assert sorted(take_all(ports(), Parity.ANY)) == list(range(50001, 50007))


def test_even_ports_are_even() -> None:
    assert sorted(take_all(ports(), Parity.EVEN)) == [50002, 50004, 50006]


def test_a_pair_is_an_even_port_and_the_next_one() -> None:
    some = ports()
    assert sorted(take_all(some, Parity.PAIR)) == [50002, 50004]  # 50006 has no next one in the range
    assert some.taken == 4
    assert sorted(take_all(some, Parity.ANY)) == [50001, 50006]


def test_a_port_that_was_given_back_is_given_again() -> None:
    some = ports()
    take_all(some, Parity.ANY)
    some.release(Endpoint(HERE, 50003))
    assert some.take(4, Parity.ANY, "") == Endpoint(HERE, 50003)


def test_several_addresses_are_used_until_all_are_full() -> None:
    some = ports(replace(CONFIG, relay_addresses=(HERE, THERE)))
    found = {some.take(4, Parity.ANY, "") for _ in range(12)}
    assert len(found) == 12
    assert None not in found
    assert some.take(4, Parity.ANY, "") is None


def test_a_family_without_an_address_has_no_ports() -> None:
    assert ports().take(6, Parity.ANY, "") is None
    assert ports().has_family(4)
    assert not ports().has_family(6)


def test_the_first_port_is_random() -> None:
    wide = ServerConfig(relay_addresses=(HERE,))
    assert len({ports(wide, seed).take(4, Parity.ANY, "") for seed in range(20)}) > 15


def test_an_owner_gets_the_same_port_from_the_next_server_with_the_same_key() -> None:
    config = ServerConfig(relay_addresses=(HERE, THERE), port_key=b"key")
    first, second = ports(config, 1), ports(config, 2)
    owners = [f"198.51.100.{number} bob" for number in range(50)]
    found = [first.take(4, Parity.ANY, owner) for owner in owners]
    assert [second.take(4, Parity.ANY, owner) for owner in reversed(owners)][::-1] == found
    assert {relayed.address for relayed in found if relayed} == {HERE, THERE}
    other = ports(replace(config, port_key=b"other"))
    assert [other.take(4, Parity.ANY, owner) for owner in owners] != found


def test_a_second_allocation_of_an_owner_has_another_port() -> None:
    some = ports(replace(CONFIG, port_key=b"key"))
    assert len({some.take(4, Parity.ANY, "alice") for _ in range(6)}) == 6


def test_without_a_key_ports_are_random() -> None:
    wide = ServerConfig(relay_addresses=(HERE,))
    assert ports(wide, 1).take(4, Parity.ANY, "alice") != ports(wide, 2).take(4, Parity.ANY, "alice")
