"""Candidates from signalling: `Candidate.from_sdp` and `parse_candidate`."""

from __future__ import annotations

from ipaddress import ip_address

from p2ptun.errors import MalformedPacket
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.named import NamedCandidate, disguise, parse_candidate

ADDRESS = ip_address("192.0.2.1")


def test_one_input(data: bytes) -> None:
    """Whatever is read comes back the same from what it is written as."""
    try:
        candidate = parse_candidate(data.decode("utf-8", "replace"))
    except MalformedPacket:
        return
    if isinstance(candidate, NamedCandidate):
        assert disguise(candidate.resolve(ADDRESS), candidate.name).endpoint.port == candidate.port
    else:
        assert (
            Candidate.from_sdp(candidate.to_sdp()) == candidate == Candidate.from_sdp(data.decode("utf-8", "replace"))
        )
