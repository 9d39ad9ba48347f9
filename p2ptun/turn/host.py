"""One server as people know it: a name, with one or more transport addresses, of which one at a time serves.

Its addresses are tried in *rounds*: all of them for a first allocation and for one with a new credential, the better
ones alone when what serves is not the best. A round ends with the first success, or when every address has failed.
"""

from __future__ import annotations

from enum import Enum, auto

from p2ptun.deadlines import earliest
from p2ptun.turn.config import PoolConfig
from p2ptun.turn.event import LossReason, Problem, ServerFailed
from p2ptun.turn.schedule import back_off
from p2ptun.turn.server import Server
from p2ptun.turn.supply import Supply
from p2ptun.types import RandomBytes, Transport

_RANKS = {transport: rank for rank, transport in enumerate((Transport.UDP, Transport.TCP, Transport.TLS))}
_SEVERITIES = {problem: rank for rank, problem in enumerate(Problem)}

CREDENTIAL_PROBLEMS = frozenset({Problem.WRONG_CREDENTIALS, Problem.NO_CREDENTIALS})
"""No other transport of the server will help."""

_REFUSALS = CREDENTIAL_PROBLEMS | {
    *(Problem.UNTRUSTED, Problem.QUOTA_REACHED, Problem.NO_CAPACITY, Problem.FORBIDDEN, Problem.NO_FAMILY),
    *(Problem.NO_UDP, Problem.LOOP, Problem.UNPROVEN_REDIRECT, Problem.REFUSED),
}
"""A clear no, that asking again soon won't change (RFC 8656 7.4)."""

_LIKELY_THERE = frozenset(
    {LossReason.FORGOTTEN, LossReason.CONNECTION_LOST, LossReason.EXPIRED, LossReason.NETWORK_CHANGED}
)
"""After these the server likely answers."""

AT_ONCE = float("-inf")


class Goal(Enum):
    """What a round is for."""

    FIRST = auto()
    RENEWAL = auto()  # with another credential, while the old allocation still serves
    UPGRADE = auto()  # over a better transport


def rank(server: Server) -> int:
    """Order transports: the lower the better."""
    return _RANKS[server.endpoint.transport]


class Host:
    """A server's addresses and what is known of them. Says when to begin what; opens nothing itself.

    Attributes:
        goal: What the running round is for; None between rounds.
        untried: The addresses that the running round has not come to.
        failure: The last round's most telling failure; None once the server has worked.
    """

    def __init__(self, name: str, config: PoolConfig, random_bytes: RandomBytes) -> None:
        self.name = name
        self.servers: list[Server] = []
        self.supply = Supply(config)
        self.goal: Goal | None = None
        self.untried: list[Server] = []
        self.failure: ServerFailed | None = None
        self._config = config
        self._random_bytes = random_bytes
        self._failures = 0
        self._found: ServerFailed | None = None  # of the running round
        self._retry_at = AT_ONCE
        self._upgrade_at: float | None = None
        self._needs_renewal = False

    # Commands

    def add_server(self, server: Server, serving: Server | None, now: float) -> None:
        """Take in one more address; it joins the round, or begins one when it is better than what serves."""
        self.servers.append(server)
        self.servers.sort(key=rank)
        if self.goal is not None:
            self.untried = sorted([*self.untried, server], key=rank)
        elif serving is None:
            self._retry_at = AT_ONCE
        elif rank(server) < rank(serving):
            self._upgrade_at = now

    def renew(self) -> None:
        """Replace what serves, or try anew: the credential has changed. Attempts with the old one are void."""
        self.stop()
        self._retry_at = AT_ONCE
        self._needs_renewal = True

    def restart(self) -> None:
        """Forget how it went so far."""
        self.stop()
        self._failures = 0
        self._retry_at, self._upgrade_at = AT_ONCE, None
        self._needs_renewal = False

    def begin(self, goal: Goal, serving: Server | None) -> None:
        """Begin a round."""
        self.goal = goal
        self._found = None
        self.untried = list(self.servers)
        if goal is Goal.UPGRADE and serving is not None:
            self._upgrade_at = None
            self.untried = [server for server in self.servers if rank(server) < rank(serving)]

    def stop(self) -> None:
        """End the round without a result."""
        self.goal = None
        self.untried = []

    def note(self, server: Server, problem: Problem, code: int | None) -> None:
        """Know that an attempt of the round failed."""
        if self._found is None or _SEVERITIES[problem] < _SEVERITIES[self._found.problem]:
            self._found = ServerFailed(server, problem, code)
        if problem in CREDENTIAL_PROBLEMS:
            self.untried = []

    def fail(self, now: float) -> ServerFailed | None:
        """End a round in which nothing succeeded; give what people should know, if that is news."""
        goal, found, known = self.goal, self._found, self.failure
        self.stop()
        self._failures += 1
        if goal is Goal.UPGRADE or found is None:
            self._upgrade_at = now + self._pause(self._config.upgrade_interval)
            return None
        self.failure = found
        self._retry_at = now + self._pause(
            self._config.refusal_interval if found.problem in _REFUSALS else self._config.retry_interval
        )
        if found.problem in CREDENTIAL_PROBLEMS:
            self.supply.want(now)
        is_news = known is None or (known.problem, known.code) != (found.problem, found.code)
        return found if is_news else None

    def succeed(self, server: Server, now: float) -> None:
        """End a round: `server` serves."""
        self.stop()
        self.failure = self._upgrade_at = None
        self._retry_at = AT_ONCE
        self._needs_renewal = False
        if rank(server) > rank(self.servers[0]):
            self._upgrade_at = now + self._config.upgrade_interval[0]

    def lose(self, server: Server, reason: LossReason, was_stable: bool, now: float) -> None:
        """Know that what served is gone. A server that was fine until now is asked again at once, if it may answer.

        A round that runs goes on, for a first allocation now, and with the addresses that weren't good enough.
        """
        self._failures = 1 if was_stable else self._failures + 1
        self._retry_at = AT_ONCE
        if reason is LossReason.CREDENTIALS:
            self.supply.want(now)
            self._retry_at = now + self._pause(self._config.refusal_interval)
        elif self._failures > 1 or reason not in _LIKELY_THERE:
            self._retry_at = now + self._pause(self._config.retry_interval)
        if self.goal is Goal.UPGRADE:
            self.untried += [one for one in self.servers if rank(one) >= rank(server)]
        if self.goal is not None:
            self.goal = Goal.FIRST

    # Outputs

    def due_goal(self, serving: Server | None, is_needed: bool, now: float) -> Goal | None:
        """Tell which round to begin now. `is_needed`: there are too few allocations without one of this server."""
        at = self._next_round(serving, is_needed)
        if at is None or at > now:
            return None
        if serving is None:
            return Goal.FIRST
        return Goal.RENEWAL if self._needs_renewal else Goal.UPGRADE

    def next_timeout(self, serving: Server | None, is_needed: bool) -> float | None:
        """Tell when there is something to begin or to ask for."""
        return earliest((self.supply.wanted_at, self._next_round(serving, is_needed)))

    def _next_round(self, serving: Server | None, is_needed: bool) -> float | None:
        if self.goal is not None:
            return None
        if serving is None:
            return self._retry_at if is_needed else None
        return self._retry_at if self._needs_renewal else self._upgrade_at

    def _pause(self, between: tuple[float, float]) -> float:
        return back_off(self._failures, between, self._random_bytes)
