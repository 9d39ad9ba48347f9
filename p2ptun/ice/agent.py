"""The ICE agent: finds a path to one peer and watches over it, without touching a socket or a clock.

An owner uses it so, besides the five doors of every machine (`p2ptun.types.Machine`):

1. `add_local_address` for each bound socket, `add_stun_server` for each server, then `end_of_servers`. Tell the peer
   `local_credentials` and every `CandidateGathered`; after `GatheringCompleted` that there are no more.
2. `set_remote_credentials`, `add_remote_candidate`, `end_of_remote_candidates`, in any order, as the peer tells them.
3. `record_sent` and `record_authenticated` for tunnel traffic on the selected pair, `record_send_error` for what
   the kernel refused, `request_consent` when a packet waits because `may_send(now)` is False; CONNECTED ends the wait.

Data may flow as soon as `PairSelected` came and while `may_send(now)`. CONNECTED, IDLE and SUSPECT tell how the
selected path fares; FAILED is final for this agent. A restart can set a second `Generation` beside the first.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from enum import Enum

from p2ptun.deadlines import Deadlines
from p2ptun.errors import LocalProtocolError
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.check import read_binding
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.consent import Liveness
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import (
    AgentState,
    CandidateGathered,
    DropReason,
    Event,
    FailureReason,
    GatheringCompleted,
    PairSelected,
    RoleChanged,
    StateChanged,
)
from p2ptun.ice.gathering import Gathering
from p2ptun.ice.generation import Generation
from p2ptun.ice.local import LocalCandidates
from p2ptun.ice.nomination import best_pair, pair_to_nominate
from p2ptun.ice.pair import FATAL_PROBLEMS, SEND_PROBLEMS, PairProblem, PairSnapshot, PairState
from p2ptun.ice.path import Path
from p2ptun.ice.role import Role, Stance
from p2ptun.ice.scope import destination_from, is_refused
from p2ptun.types import Endpoint, RandomBytes, SendError, Transmit

logger = logging.getLogger(__name__)

_LIVENESS_STATES = {
    Liveness.ALIVE: AgentState.CONNECTED,
    Liveness.IDLE: AgentState.IDLE,
    Liveness.SUSPECT: AgentState.SUSPECT,
}
_OVER = (AgentState.FAILED, AgentState.CLOSED)


class Timer(Enum):
    """What the agent waits for; `Agent.next_timer` names the next."""

    CHECK = "check"  # the next check, Ta after the last one
    RETRANSMIT = "retransmit"  # of a check, or its end
    GATHERING = "gathering"  # a server's answer, or the renewal of a binding
    CONSENT = "consent"
    PAC = "pac"  # the end of patience, RFC 8863


class Agent:
    """One side of ICE, towards one peer, over UDP. `is_checked` tells that the peer checks us: it knows us by now."""

    def __init__(
        self, config: AgentConfig, credentials: Credentials, role: Role, tie_breaker: int, random_bytes: RandomBytes
    ) -> None:
        self.drops: Counter[DropReason] = Counter()
        self.is_checked = False
        self._config = config
        self._random_bytes = random_bytes
        self._stance = Stance(role, tie_breaker)
        self._announced_role = role
        self._local = LocalCandidates(credentials, config.max_candidates)
        self._gathering = Gathering(config, random_bytes)
        self._is_gathered = False
        self._generation = Generation(config, credentials, self._stance, self._local, random_bytes)
        self._path = Path(config, random_bytes)
        self._state = AgentState.NEW
        self._deadlines: Deadlines[Timer] = Deadlines()
        self._events: deque[Event] = deque()

    @property
    def state(self) -> AgentState:
        """Where it stands."""
        return self._state

    @property
    def role(self) -> Role:
        """Our role now."""
        return self._stance.role

    @property
    def local_credentials(self) -> Credentials:
        """What the peer needs in order to check us."""
        return self._generation.local

    @property
    def local_candidates(self) -> tuple[Candidate, ...]:
        """What to tell the peer."""
        return tuple(self._local)

    @property
    def remote_candidates(self) -> tuple[Candidate, ...]:
        """What the peer told, and what its checks came from."""
        return tuple(self._generation.remote_candidates)

    @property
    def pairs(self) -> tuple[PairSnapshot, ...]:
        """The check list, highest priority first."""
        return tuple(pair.snapshot() for pair in self._generation.checklist.pairs)

    @property
    def selected(self) -> PairSelected | None:
        """The path that carries data; None while there is none."""
        return self._path.selected

    @property
    def checks(self) -> tuple[int, int]:
        """How many pairs have a result, and how many there are."""
        return self._generation.checklist.progress

    @property
    def bindings(self) -> tuple[int, int]:
        """How many questions to STUN servers have a result, and how many were asked."""
        return self._gathering.progress

    def may_send(self, now: float) -> bool:
        """Tell whether data may go out on the selected pair now (RFC 7675 5.1)."""
        return self._path.may_send(now)

    def add_local_address(self, base: Endpoint, now: float) -> None:
        """Make the host candidate of a socket and ask the servers from it. Harmless when it is known."""
        host = self._local.add_host(base)
        if host is None:
            return
        self._events.append(CandidateGathered(host))
        self._is_gathered = False
        self._gathering.add_base(base, now)
        self._generation.add_local_candidate(host)
        self._be_patient(now)
        self._settle(now)

    def remove_local_address(self, base: Endpoint, now: float) -> None:
        """Forget a socket with its candidates and pairs, at once. Harmless when it isn't known."""
        if self._local.host(base) is None:
            return
        self._local.remove_host(base)
        self._gathering.remove_base(base)
        self._generation.remove_base(base)
        self._be_patient(now)
        self._settle(now)

    def add_stun_server(self, server: Endpoint, now: float) -> None:
        """Ask one more server from every socket."""
        self._gathering.add_server(server, now)
        self._settle(now)

    def end_of_servers(self, now: float) -> None:
        """Know that no more servers come: gathering is complete when all have answered or were given up."""
        self._gathering.end_of_servers()
        self._settle(now)

    def set_remote_credentials(self, credentials: Credentials, now: float) -> None:
        """Begin to check.

        Raises:
            LocalProtocolError: If other ones were set already: these take a restart.
        """
        if self._generation.remote not in (None, credentials):
            raise LocalProtocolError("remote credentials change with a restart only")
        for reason in self._generation.set_remote_credentials(credentials):
            self._drop(reason)
        self._be_patient(now)
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take in a candidate from signalling. One that is refused is counted in `drops`."""
        reason = self._generation.add_remote_candidate(candidate)
        if reason is None:
            self._be_patient(now)
            self._settle(now)
        else:
            self._drop(reason)

    def end_of_remote_candidates(self, now: float) -> None:
        """Know that the peer has no more candidates in this generation (RFC 8838 14)."""
        self._generation.has_all_remote = True
        self._settle(now)

    def record_sent(self, now: float) -> None:
        """Note that tunnel traffic went out on the selected pair: an answer of some kind is expected."""
        self._path.record_sent(now)
        if self._state is not AgentState.CONNECTED:
            self._settle(now)

    def record_authenticated(self, now: float) -> None:
        """Note that an authentic tunnel packet came in on the selected pair: it is alive."""
        self._path.record_authenticated(now)
        if self._state is not AgentState.CONNECTED:
            self._settle(now)

    def request_consent(self, now: float) -> None:
        """Ask for consent at once, because a packet waits for it."""
        self._path.request_consent(now)
        self._settle(now)

    def record_send_error(self, base: Endpoint, remote: Endpoint, error: SendError, now: float) -> None:
        """Note what the kernel said about a datagram from `base` to `remote`. It concerns this pair only.

        No route and a local firewall end a running check; a valid pair becomes suspect. The rest are hints.
        """
        if (problem := SEND_PROBLEMS[error]) is None:
            return
        is_fatal = problem in FATAL_PROBLEMS
        if is_fatal:
            self._gathering.record_send_error(base, remote)
        pair = self._generation.checklist.find(base, remote)
        if pair is not None:
            pair.problem = problem
            if is_fatal and pair.state is PairState.IN_PROGRESS:
                self._generation.fail(pair, problem)
            if is_fatal and pair is self._path.pair:
                self._path.doubt(now)
        self._settle(now)

    def close(self, now: float) -> None:
        """Stop: nothing is sent or answered any more."""
        if self._state is not AgentState.CLOSED:
            self._finish(AgentState.CLOSED)

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take in a datagram that came from `source` to the socket bound to `local`. Never raises."""
        reason = self._receive(data, source, local, now)
        if reason is None:
            self._settle(now)
        else:
            self._drop(reason)

    def handle_timeout(self, now: float) -> None:
        """Act on everything that is due."""
        if self._state in _OVER:
            return
        self._gathering.handle_timeout(now)
        self._generation.handle_timeout(now)
        self._path.handle_timeout(now)
        self._deadlines.pop_expired(now)
        self._settle(now)

    def next_transmit(self) -> Transmit | None:
        """Give a datagram to send."""
        return None if self._state in _OVER else self._generation.next_transmit() or self._gathering.next_transmit()

    def next_event(self) -> Event | None:
        """Give what happened."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        return min(self._timeouts().values(), default=None)

    @property
    def next_timer(self) -> Timer | None:
        """Name what `next_timeout` waits for."""
        times = self._timeouts()
        return min(times, key=times.__getitem__, default=None)

    def _timeouts(self) -> dict[Timer, float]:
        if self._state in _OVER:
            return {}
        times = {
            Timer.CHECK: self._generation.next_check_at(),
            Timer.RETRANSMIT: self._generation.next_timeout(),
            Timer.GATHERING: self._gathering.next_timeout(),
            Timer.CONSENT: self._path.next_timeout(),
            Timer.PAC: self._deadlines.next(),
        }
        return {timer: at for timer, at in times.items() if at is not None}

    def _receive(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> DropReason | None:
        """Sort a datagram to where it belongs; give the reason when it belongs nowhere."""
        if self._state in _OVER:
            return DropReason.CLOSED
        if self._local.host(local) is None:
            return DropReason.UNKNOWN_SOCKET
        peer = destination_from(local, source)
        if peer is None:
            return DropReason.REFUSED_SOURCE
        message = read_binding(data)
        if isinstance(message, DropReason):
            return message
        if not message.is_response:
            if is_refused(peer, self._config.refused_networks):
                return DropReason.REFUSED_SOURCE
            reason = self._generation.receive_request(message, peer, local)
            self.is_checked |= reason is None
            return reason
        receiver = self._gathering if self._gathering.has_asked(message) else self._generation
        return receiver.receive_response(message, peer, local, now)

    def _drop(self, reason: DropReason) -> None:
        self.drops[reason] += 1
        logger.debug("dropped: %s", reason.value)

    def _be_patient(self, now: float) -> None:
        """Restart the PAC timer: something new may still succeed (RFC 8863 4)."""
        if self._generation.remote is not None:
            self._deadlines.set(Timer.PAC, now + self._config.pac_timeout)

    def _settle(self, now: float) -> None:
        """Draw the conclusions of whatever has just happened, and say them."""
        if self._state in _OVER:
            return
        if self._announced_role is not self.role:
            self._announced_role = self.role
            self._events.append(RoleChanged(self.role))
        self._collect_mappings()
        self._select(now)
        self._nominate(now)
        for pair in self._path.take_checks(self._generation.checklist.valid_pairs, now):
            self._generation.check_consent(pair, now)
        self._judge()
        if self._state not in _OVER:
            self._generation.pace(now)

    def _collect_mappings(self) -> None:
        while (mapping := self._gathering.next_mapping()) is not None:
            event = self._local.record_mapping(mapping)
            if event is not None:
                self._events.append(event)
        if self._gathering.is_complete and not self._is_gathered:
            self._is_gathered = True
            self._events.append(GatheringCompleted())

    def _select(self, now: float) -> None:
        """Let the best valid pair carry data, and watch over it."""
        overtaken = self._path.overtaken(self._generation.checklist.valid_pairs)
        if overtaken is not None:
            self._generation.fail(overtaken, PairProblem.NO_ANSWER)
        event = self._path.select(best_pair(self._generation.checklist.pairs, self.role), now)
        if event is not None:
            self._events.append(event)
        if event is not None and event.is_nominated:
            self._gathering.rest()

    def _nominate(self, now: float) -> None:
        if self._generation.is_nominating:
            return
        pairs, may_grow = self._generation.checklist.pairs, self._is_patient and self._may_grow
        pair = pair_to_nominate(pairs, self.role, self._config.patience, may_grow)
        if pair is not None:
            self._generation.nominate(pair, now)

    def _judge(self) -> None:
        """Derive the state from what the parts know."""
        liveness = self._path.liveness
        if liveness is Liveness.EXPIRED:
            self._finish(AgentState.FAILED, FailureReason.CONSENT_EXPIRED)
        elif liveness is not None:
            self._enter(_LIVENESS_STATES[liveness])
        elif self._generation.remote is not None:
            self._enter(AgentState.CHECKING)
            self._judge_checks()

    def _judge_checks(self) -> None:
        """Fail when nothing can succeed any more; until then let what stayed unanswered be tried again."""
        if not self._generation.checklist.is_exhausted:
            return
        if self._is_patient or self._may_grow:
            self._generation.checklist.retry_unanswered()
        else:
            self._finish(AgentState.FAILED, FailureReason.NO_PATH)

    @property
    def _is_patient(self) -> bool:
        """Whether the PAC timer runs."""
        return self._deadlines.at(Timer.PAC) is not None

    @property
    def _may_grow(self) -> bool:
        """Whether candidates may still come, from us or from the peer."""
        return not (self._gathering.is_complete and self._generation.has_all_remote)

    def _enter(self, state: AgentState, reason: FailureReason | None = None) -> None:
        if state is not self._state:
            logger.debug("%s -> %s", self._state.value, state.value)
            self._state = state
            self._events.append(StateChanged(state, reason))

    def _finish(self, state: AgentState, reason: FailureReason | None = None) -> None:
        self._enter(state, reason)
        self._deadlines.clear()
        self._path = Path(self._config, self._random_bytes)
