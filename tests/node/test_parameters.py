"""ICE parameters as control messages: within their bounds whatever a machine has, and believed no further."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType, TcpType
from p2ptun.ice.credential import Credentials
from p2ptun.ice.named import ToldCandidate, place_of
from p2ptun.ice.priority import candidate_priority
from p2ptun.node.parameters import IceParameters, best_candidates, fitted, read_description, write_description
from p2ptun.signal.candidate import encode_candidate
from p2ptun.tunnel.control import (
    MAX_CANDIDATES,
    MAX_CONTROL_SIZE,
    IceCredentials,
    IceDescription,
    decode_control,
    encode_control,
)
from p2ptun.types import Endpoint, Transport

NOW, NEXT = Credentials("now1", "p" * 22, 4), Credentials("next", "q" * 22, 5)


def candidate(number: int, kind: CandidateType = CandidateType.HOST, transport: Transport = Transport.UDP) -> Candidate:
    """Make a candidate with an address of the larger kind; a greater number is a better one."""
    endpoint = Endpoint.of(f"2001:db8::{number:x}", 41641, transport)
    tcp_type = TcpType.PASSIVE if transport is Transport.TCP else None
    return Candidate(
        kind, endpoint, candidate_priority(kind, number, transport), str(number), endpoint, tcp_type=tcp_type
    )


def hosts(count: int) -> list[Candidate]:
    return [candidate(number) for number in range(count)]


def places(candidates: tuple[ToldCandidate, ...]) -> list[Hashable]:
    return [place_of(each) for each in candidates]


# Choosing


def test_the_best_are_chosen_by_priority() -> None:
    assert best_candidates(hosts(5), 3) == tuple(candidate(number) for number in (4, 3, 2))
    assert best_candidates([], 3) == ()
    assert best_candidates(hosts(2) * 2, 9) == (candidate(1), candidate(0)), "none is chosen twice"


def test_one_of_each_kind_goes_before_the_second_of_any() -> None:
    """The relay has the lowest priority, and nothing else gets two sides together that see no direct path."""
    relay, tcp = candidate(9, CandidateType.RELAYED), candidate(0, transport=Transport.TCP)
    mapped = candidate(8, CandidateType.SERVER_REFLEXIVE)
    many = [*hosts(50), relay, mapped, tcp]
    assert set(best_candidates(many, 4)) == {candidate(49), relay, mapped, tcp}
    assert best_candidates(many, 6)[4:] == (candidate(48), candidate(47))


# Writing and reading


def test_round_trip() -> None:
    tcp = replace(candidate(1, transport=Transport.TCP), generation=4, ufrag="now1")
    for options in range(8):
        following = NEXT if options & 1 else None
        told = IceParameters(NOW, (tcp,), following, bool(options & 2), bool(options & 4))
        message = decode_control(encode_control(write_description(told, 3, 2)))
        assert isinstance(message, IceDescription)
        assert (message.revision, message.acknowledged) == (3, 2)
        read = read_description(message)
        assert replace(read, candidates=()) == replace(told, candidates=())
        (back,) = read.candidates
        assert replace(back, foundation=tcp.foundation) == tcp


def test_candidates_belong_to_the_generation_that_they_are_told_with() -> None:
    read = read_description(write_description(IceParameters(NOW, tuple(hosts(1))), 1, 0))
    assert [(each.generation, each.ufrag) for each in read.candidates] == [(4, "now1")]


def test_a_machine_with_many_addresses_tells_as_many_as_the_other_side_takes() -> None:
    told = IceParameters(NOW, tuple(hosts(MAX_CANDIDATES + 5)), NEXT)
    assert fitted(told) == replace(told, candidates=told.candidates[:4:-1])


def test_what_is_too_long_for_a_message_loses_its_worst_candidates() -> None:
    longest = Credentials("u" * 256, "p" * 256, 2**32 - 1)
    told = fitted(IceParameters(longest, tuple(hosts(20)), longest))
    message = write_description(told, 2**32 - 1, 2**32 - 1)
    assert decode_control(encode_control(message)) == message
    assert told.candidates == tuple(hosts(20)[: -len(told.candidates) - 1 : -1])
    assert 0 < len(told.candidates) < 10
    assert len(encode_control(message)) > MAX_CONTROL_SIZE - 35, "no more are lost than must be"


def test_a_candidate_and_its_twin_are_told_as_one() -> None:
    """They share an address, over UDP and over TCP."""
    twin = read_description(write_description(IceParameters(NOW, (candidate(1),)), 1, 0)).candidates
    packed = encode_candidate(candidate(1))
    both = IceDescription(
        1, 0, IceCredentials(0, "abcd", "p" * 22), None, (bytes([packed[0] | 32]) + packed[1:],), False, 0
    )
    read = read_description(both).candidates
    assert [each.transport for each in read] == [Transport.UDP, Transport.TCP]
    assert len(write_description(IceParameters(NOW, read), 1, 0).candidates) == 1
    assert len(twin) == 1


def test_what_is_malformed_is_passed_over() -> None:
    packed = encode_candidate(candidate(1))
    told = (b"", packed[:-1], packed, b"\xff" * 9)
    message = IceDescription(1, 0, IceCredentials(0, "abcd", "p" * 22), None, told, False, 0xFFFE)
    read = read_description(message)
    assert places(read.candidates) == [candidate(1).endpoint]
    assert not read.has_renomination
