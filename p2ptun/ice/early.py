"""What comes before the remote credentials: they tell whether it is of their generation, so it waits for them."""

from __future__ import annotations

from dataclasses import replace

from p2ptun.ice.candidate import Candidate
from p2ptun.ice.check import InboundCheck
from p2ptun.types import Endpoint


class Early:
    """Candidates and checks in waiting, each kind within the same bound."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._candidates: list[Candidate] = []
        self._checks: dict[tuple[Endpoint, Endpoint], InboundCheck] = {}

    def keep_candidate(self, candidate: Candidate) -> bool:
        """Keep a signalled candidate; False when there are too many."""
        if len(self._candidates) >= self._limit:
            return False
        self._candidates.append(candidate)
        return True

    def keep_check(self, check: InboundCheck, base: Endpoint, source: Endpoint) -> bool:
        """Keep an answered check, one for each path; a nomination isn't lost to a later check. False when too many."""
        earlier = self._checks.get((base, source))
        if earlier is None and len(self._checks) >= self._limit:
            return False
        if earlier is not None:
            nominated = check.use_candidate or earlier.use_candidate
            nomination = max(check.nomination, earlier.nomination)
            check = replace(check, use_candidate=nominated, nomination=nomination)
        self._checks[base, source] = check
        return True

    def take(self) -> tuple[list[Candidate], dict[tuple[Endpoint, Endpoint], InboundCheck]]:
        """Give everything, checks by base and source, and keep nothing."""
        taken = self._candidates, self._checks
        self._candidates, self._checks = [], {}
        return taken
