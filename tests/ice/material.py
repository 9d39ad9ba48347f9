"""Candidates and pairs for tests, from a few words."""

from __future__ import annotations

import random

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.pair import CandidatePair
from p2ptun.ice.priority import candidate_priority
from p2ptun.stun.integrity import HMAC_SHA1, compute_fingerprint, compute_mac
from p2ptun.stun.message import Message, decode_message, encode_message
from p2ptun.types import RandomBytes
from tests.sim.network import at


def random_bytes_from(seed: int) -> RandomBytes:
    return random.Random(seed).randbytes


def candidate(
    kind: CandidateType, endpoint: str, base: str = "", priority: int | None = None, foundation: str = ""
) -> Candidate:
    """Make one; the foundation is its own unless told."""
    where = at(base or endpoint)
    worth = candidate_priority(kind, 65535) if priority is None else priority
    return Candidate(kind, at(endpoint), worth, foundation or f"{kind.value}{where}", where)


def host(endpoint: str, priority: int | None = None, foundation: str = "") -> Candidate:
    return candidate(CandidateType.HOST, endpoint, "", priority, foundation)


def reflexive(endpoint: str, base: str) -> Candidate:
    return candidate(CandidateType.SERVER_REFLEXIVE, endpoint, base)


def pair(
    local: str, remote: str, priority: int | None = None, foundation: str = "", kind: CandidateType = CandidateType.HOST
) -> CandidatePair:
    """Make a pair; `priority` and `foundation` are the remote candidate's."""
    there = candidate(kind, remote, "", priority, foundation)
    return CandidatePair(host(local), there, there.endpoint)


UNKNOWN_ATTRIBUTE = b"\x00\x77\x00\x00"  # comprehension-required, and registered by nobody


def with_unknown(message: Message, key: bytes) -> Message:
    """Put an unknown required attribute in front of the seal, as a newer implementation would, and decode that."""
    bare = encode_message(message, fingerprint=False) + UNKNOWN_ATTRIBUTE
    sealed = bare + b"\x00\x08\x00\x14" + compute_mac(bare, HMAC_SHA1, key)
    covered = sealed[:2] + (len(sealed) + 8 - 20).to_bytes(2, "big") + sealed[4:]
    return decode_message(covered + b"\x80\x28\x00\x04" + compute_fingerprint(covered).to_bytes(4, "big"))
