"""What one side's ICE agent has to know of the other's, and how it stands in a control message."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from p2ptun.errors import MalformedPacket
from p2ptun.ice.credential import Credentials
from p2ptun.ice.named import ToldCandidate
from p2ptun.ice.nat_hint import NO_HINT, NatHint
from p2ptun.signal.candidate import encode_candidates, take_candidates
from p2ptun.signal.cursor import Cursor
from p2ptun.tunnel.control import (
    MAX_CANDIDATES,
    MAX_CONTROL_SIZE,
    IceCredentials,
    IceDescription,
    encode_control,
)

logger = logging.getLogger(__name__)

CandidateT = TypeVar("CandidateT", bound=ToldCandidate)

_RENOMINATION = 1  # bit 0 of `IceDescription.options`; the others are those of `NatHint`
_ROOM = MAX_CONTROL_SIZE - 8  # each of the two numbers that count up may grow by four bytes


@dataclass(frozen=True, slots=True)
class IceParameters:
    """One side of ICE as the other side sees it.

    Attributes:
        credentials: Those of the newest generation.
        candidates: All that it has now, of every kind; on the other side some may still be names.
        next_credentials: Those of the generation after it: with them either side restarts without asking first.
        has_all_candidates: Whether no more come in this generation (RFC 8838 14).
        has_renomination: Whether it follows a later nomination without a restart.
        nat: What it knows of the NAT before it.
    """

    credentials: Credentials
    candidates: tuple[ToldCandidate, ...] = ()
    next_credentials: Credentials | None = None
    has_all_candidates: bool = False
    has_renomination: bool = False
    nat: NatHint = NO_HINT


def best_candidates(candidates: Iterable[CandidateT], count: int) -> tuple[CandidateT, ...]:
    """Choose `count` at most, the first of each kind before the second of any, and else by priority.

    So a machine with many addresses still tells its relay, which has the lowest priority of all.
    """
    ranked = sorted(candidates, key=lambda candidate: -candidate.priority)
    firsts = {(candidate.type, candidate.transport): candidate for candidate in reversed(ranked)}
    chosen = dict.fromkeys([candidate for candidate in ranked if candidate in firsts.values()] + ranked)
    return tuple(chosen)[:count]


def fitted(parameters: IceParameters) -> IceParameters:
    """Leave out what a control message has no room for: the least of the candidates."""
    candidates = best_candidates(parameters.candidates, MAX_CANDIDATES)
    while len(encode_control(write_description(replace(parameters, candidates=candidates), 1, 0))) > _ROOM:
        candidates = candidates[:-1]
    return replace(parameters, candidates=candidates)


def write_description(parameters: IceParameters, revision: int, acknowledged: int) -> IceDescription:
    """Make the message that tells `parameters`, which are `fitted`."""
    following = parameters.next_credentials
    return IceDescription(
        revision,
        acknowledged,
        _write_credentials(parameters.credentials),
        None if following is None else _write_credentials(following),
        tuple(encode_candidates(parameters.candidates)),
        parameters.has_all_candidates,
        _RENOMINATION * parameters.has_renomination | parameters.nat.encode(),
    )


def read_description(message: IceDescription) -> IceParameters:
    """Read what the other side tells. Untrusted: a malformed candidate is passed over."""
    following = message.next_credentials
    credentials = _read_credentials(message.credentials)
    return IceParameters(
        credentials,
        tuple(_read_candidates(message.candidates, credentials)),
        None if following is None else _read_credentials(following),
        message.end,
        bool(message.options & _RENOMINATION),
        NatHint.decode(message.options),
    )


def _write_credentials(credentials: Credentials) -> IceCredentials:
    return IceCredentials(credentials.generation, credentials.ufrag, credentials.password)


def _read_credentials(credentials: IceCredentials) -> Credentials:
    return Credentials(credentials.ufrag, credentials.password, credentials.generation)


def _read_candidates(packed: Iterable[bytes], credentials: Credentials) -> Iterator[ToldCandidate]:
    for each in packed:
        cursor = Cursor(each)
        try:
            yield from take_candidates(cursor, credentials.generation, credentials.ufrag)
        except MalformedPacket as error:
            logger.debug("a candidate told through the tunnel is malformed: %s", error)
