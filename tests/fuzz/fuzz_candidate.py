"""Candidates from signalling: `Candidate.from_sdp`."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.ice.candidate import Candidate


def test_one_input(data: bytes) -> None:
    """Whatever is read comes back the same from what it is written as."""
    try:
        candidate = Candidate.from_sdp(data.decode("utf-8", "replace"))
    except MalformedPacket:
        return
    assert Candidate.from_sdp(candidate.to_sdp()) == candidate
