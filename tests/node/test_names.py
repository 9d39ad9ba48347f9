from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from random import Random

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.mdns.name import is_acceptable
from p2ptun.node.names import HostNames
from p2ptun.types import Endpoint, Transport

BASE, PUBLIC = Endpoint.of("192.168.1.7", 5000), Endpoint.of("203.0.113.7", 40000)
HOST = Candidate(CandidateType.HOST, BASE, 7, "1", BASE)


def test_each_address_has_one_name() -> None:
    names = HostNames(Random(1).randbytes)
    addresses = [ip_address(text) for text in ("192.168.1.7", "192.168.1.8", "fe80::1%eth0", "fe80::1%eth1")]
    drawn = [names.name_of(address) for address in addresses]
    assert len(set(drawn)) == len(addresses)
    assert all(is_acceptable(name) for name in drawn)
    assert [names.name_of(address) for address in addresses] == drawn
    assert HostNames(Random(2).randbytes).name_of(addresses[0]) not in drawn


def test_candidates_of_one_address_share_its_name() -> None:
    names = HostNames(Random(1).randbytes)
    endpoint = Endpoint(BASE.address, 6000, Transport.TCP)
    passive = replace(HOST, endpoint=endpoint, base=endpoint, tcp_type=TcpType.PASSIVE)
    assert names.disguise(HOST) == replace(HOST, name=names.name_of(BASE.address))
    assert names.disguise(passive).name == names.disguise(HOST).name


def test_a_reflexive_candidate_says_nothing_of_the_host_behind_it() -> None:
    reflexive = Candidate(CandidateType.SERVER_REFLEXIVE, PUBLIC, 6, "2", BASE, BASE)
    hidden = HostNames(Random(1).randbytes).disguise(reflexive)
    assert (hidden.name, hidden.related, hidden.endpoint) == ("", None, PUBLIC)


def test_what_the_world_sees_as_it_is_isnt_hidden() -> None:
    names = HostNames(Random(1).randbytes)
    assert names.disguise(HOST, {BASE.address}) == HOST
    assert names.disguise(HOST, {PUBLIC.address}).name
