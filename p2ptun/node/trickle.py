"""Candidates on their way through the tunnel: those that came to be known after the descriptions (RFC 8838)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from p2ptun.errors import MalformedPacket
from p2ptun.ice.candidate import Candidate
from p2ptun.signal.candidate import decode_candidate, encode_candidate
from p2ptun.signal.description import MAX_CANDIDATES as MAX_DESCRIBED
from p2ptun.tunnel.control import MAX_CANDIDATES, Candidates

logger = logging.getLogger(__name__)


class Trickle:
    """Remembers what the other side has been told of our candidates, and by that knows what is news to it."""

    def __init__(self) -> None:
        self._told: set[Candidate] = set()

    def describe(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        """Choose what goes into a description: all, or as many as it holds of the best. The rest stays news."""
        best = sorted(candidates, key=lambda candidate: -candidate.priority)[:MAX_DESCRIBED]
        self._told.update(best)
        return tuple(best)

    def news(self, candidates: Iterable[Candidate], generation: int) -> Iterator[Candidates]:
        """Yield messages, none longer than the other side accepts, with all that it hasn't been told."""
        news = [candidate for candidate in candidates if candidate not in self._told]
        self._told.update(news)
        for start in range(0, len(news), MAX_CANDIDATES):
            part = news[start : start + MAX_CANDIDATES]
            yield Candidates(generation, tuple(encode_candidate(candidate) for candidate in part))


def read_candidates(message: Candidates) -> Iterator[Candidate]:
    """Yield what the other side tells. Untrusted: a malformed candidate is passed over."""
    for packed in message.candidates:
        try:
            yield decode_candidate(packed)
        except MalformedPacket as error:
            logger.debug("a candidate told through the tunnel is malformed: %s", error)
