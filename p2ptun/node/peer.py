"""One peer: ICE finds the way to it, a link carries the packets. Connecting, carrying, saying why not."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum, auto

from p2ptun.aead.buffer import Batch
from p2ptun.deadlines import Deadlines
from p2ptun.ice import event as ice
from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import Role
from p2ptun.node.drop import DropReason, labelled
from p2ptun.node.event import (
    REASONS,
    STATES,
    FailureReason,
    GatheringCompleted,
    LocalCandidateFound,
    PathSelected,
    PeerEvent,
    PeerHeard,
    PeerRekeyed,
    PeerState,
    PeerStateChanged,
    RemoteCandidateFound,
)
from p2ptun.node.link import Link
from p2ptun.node.path import Path
from p2ptun.node.trickle import Trickle, read_candidates
from p2ptun.tunnel.control import Candidates, CloseReason
from p2ptun.tunnel.event import ControlReceived, PeerClosed, SessionEstablished, SessionFailed, SessionRekeyed
from p2ptun.types import Endpoint, SendError, Transmit

RESPONDER_PATIENCE = 1.0
"""The controlling side initiates; when nothing came for so long, the other side does (both may, see `Session`)."""

HANDSHAKE_TIMEOUT = 20.0
"""A path but no session after so long, which is three tries: the keys don't fit, and no further try will help."""

MAX_HELD = 4
"""Handshake and control datagrams kept while there is no path: an initiation, an answer, a keepalive, a goodbye."""


class Timer(Enum):
    """What a peer itself waits for."""

    INITIATE = auto()
    HANDSHAKE = auto()


@dataclass(frozen=True, slots=True)
class Flight:
    """Datagrams ready to leave: from the socket bound to `source`, to `destination`."""

    datagrams: Batch
    source: Endpoint
    destination: Endpoint


@dataclass(frozen=True, slots=True)
class Remote:
    """What ICE has to know of the other side."""

    credentials: Credentials
    candidates: tuple[Candidate, ...]


class Peer:
    """A machine made of two: an ICE agent and, once the other side's description is known, a link.

    `connect` gives it the description. From then on the first valid pair carries the handshake and then data. Local
    candidates that the description sent to the other side didn't have (`describe` marks them) travel through the
    tunnel itself as soon as there is one.
    """

    def __init__(self, name: str, agent: Agent) -> None:
        self.name = name
        self.agent = agent
        self.link: Link | None = None
        self.path: Path | None = None
        self.state = PeerState.CONNECTING
        self.reason: FailureReason | None = None
        self._is_heard = False
        self._refused = 0
        self._trickle = Trickle()
        self._deadlines: Deadlines[Timer] = Deadlines()
        self._held: deque[bytes] = deque(maxlen=MAX_HELD)
        self._transmits: deque[Transmit] = deque()
        self._events: deque[PeerEvent] = deque()
        self.touched: dict[str, None] = {}  # its owner's list of those who may have something to say

    # Getters

    @property
    def drops(self) -> Counter[str]:
        """What was thrown away, by layer and reason."""
        counted = labelled("ice", self.agent.drops)
        counted += labelled("peer", Counter({DropReason.NOT_CONNECTED: self._refused}))
        return counted if self.link is None else counted + self.link.drops

    @property
    def next_timer(self) -> str | None:
        """Name what `next_timeout` is about."""
        return min(self._timers(), default=(0.0, None), key=lambda timer: timer[0])[1]

    # Commands

    def add_local_address(self, base: Endpoint, now: float) -> None:
        """Gather on the socket bound to `base`."""
        self.agent.add_local_address(base, now)
        self._drain(now)

    def remove_local_address(self, base: Endpoint, now: float) -> None:
        """Forget a socket that is gone, with the paths from it."""
        self.agent.remove_local_address(base, now)
        self._drain(now)

    def add_stun_server(self, server: Endpoint, now: float) -> None:
        """Ask a server what our addresses look like from outside."""
        self.agent.add_stun_server(server, now)
        self._drain(now)

    def end_of_servers(self, now: float) -> None:
        """Let gathering end with the last answer: no more servers will come."""
        self.agent.end_of_servers(now)
        self._drain(now)

    def describe(self) -> tuple[Candidate, ...]:
        """Return the local candidates for a description, the best first; the other side counts as knowing them."""
        return self._trickle.describe(self.agent.local_candidates)

    def connect(self, link: Link, remote: Remote, now: float) -> None:
        """Begin connectivity checks with the side that `remote` describes and `link` has the keys for."""
        self.link = link
        self.agent.set_remote_credentials(remote.credentials, now)
        for candidate in remote.candidates:
            self._add_remote_candidate(candidate, now)
        self._drain(now)

    def end_of_candidates(self, now: float) -> None:
        """Let the agent fail when every pair was checked in vain: nothing more will come from the other side."""
        self.agent.end_of_remote_candidates(now)
        self._drain(now)

    def close(self, now: float) -> None:
        """Say goodbye through the tunnel and stop."""
        if self.link is not None:
            self.link.close(CloseReason.SHUTDOWN, now)
        self._drain(now)
        self.agent.close(now)
        self._deadlines.clear()
        self._drain(now)

    # The hot path

    def send_packets(self, packets: Batch, now: float) -> Flight | None:
        """Seal IP packets for this peer; those that can't go yet wait in the link's queue."""
        link, path = self.link, self.path
        if link is None or self.state is PeerState.FAILED:
            self._refused += len(packets)
            return None
        if path is None or link.session.sending is None or not self.agent.may_send(now):
            link.hold(packets)
            self._wake(now)
            return None
        datagrams = link.seal(packets, now)
        self.agent.record_sent(now)
        self._drain(now)
        return Flight(datagrams, path.base, path.destination) if datagrams is not None else None

    def record_opened(self, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take note that authentic tunnel datagrams came from `source`, once per batch."""
        path = self.path
        if path is not None and source == path.destination and local == path.base:
            self.agent.record_authenticated(now)
        self._drain(now)

    # Inputs

    def receive_stun(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take a STUN message."""
        self.agent.receive_datagram(data, source, local, now)
        if self.agent.is_checked and not self._is_heard:
            self._is_heard = True
            self._events.append(PeerHeard())
            self._begin_handshake(now)
        self._drain(now)

    def receive_handshake(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take a handshake datagram of the tunnel; what answers it takes the selected path, wherever it came from."""
        if self.link is None:
            return
        if self.link.session.receive_datagram(data, now, str(source).encode()):
            self.record_opened(source, local, now)
        self._drain(now)

    def record_send_error(self, base: Endpoint, destination: Endpoint, error: SendError, now: float) -> None:
        """Take note that the kernel refused to send from `base` to `destination`."""
        self.agent.record_send_error(base, destination, error, now)
        self._drain(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        self.agent.handle_timeout(now)
        if self.link is not None:
            self.link.session.handle_timeout(now)
        for timer in self._deadlines.pop_expired(now):
            match timer:
                case Timer.INITIATE:
                    self._initiate(now)
                case _:  # Timer.HANDSHAKE
                    self._fail(FailureReason.HANDSHAKE_FAILED)
        self._drain(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Return the next datagram to send."""
        return self._transmits.popleft() if self._transmits else None

    def next_event(self) -> PeerEvent | None:
        """Return the next thing that happened."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""
        session_at = None if self.link is None else self.link.session.next_timeout()
        times = (self.agent.next_timeout(), self._deadlines.next(), session_at)
        return min((at for at in times if at is not None), default=None)

    # Below: draining the two machines, and acting on what they say

    @property
    def _has_keys(self) -> bool:
        return self.link is not None and self.link.session.algorithm is not None

    def _timers(self) -> list[tuple[float, str]]:
        named = [
            (self.agent.next_timeout(), f"ice {_words(self.agent.next_timer)}"),
            (self._deadlines.next(), f"peer {_words(self._deadlines.next_timer())}"),
        ]
        if self.link is not None:
            named.append((self.link.session.next_timeout(), f"tunnel {_words(self.link.session.next_timer)}"))
        return [(at, name) for at, name in named if at is not None]

    def _drain(self, now: float) -> None:
        self.touched[self.name] = None
        while self._take_event(now) or self._release_waiting(now):
            pass  # what one machine says makes the other say more
        while (transmit := self.agent.next_transmit()) is not None:
            self._transmits.append(transmit)
        self._drain_session(now)

    def _take_event(self, now: float) -> bool:
        if (event := self.agent.next_event()) is not None:
            self._handle_agent_event(event, now)
        elif self.link is not None and (session_event := self.link.session.next_event()) is not None:
            self._handle_session_event(session_event, now)
        else:
            return False
        return True

    def _drain_session(self, now: float) -> None:
        """Send what the session has to say; while that can't go, keep the newest of it.

        An initiation may come before our own check has made its pair valid: the answer leaves as soon as it has.
        """
        if self.link is None:
            return
        while (datagram := self.link.session.next_transmit()) is not None:
            self._held.append(datagram)
        if self.path is not None and self.agent.may_send(now):
            self._transmits.extend(Transmit(each, self.path.base, self.path.destination) for each in self._held)
            self._held.clear()

    def _release_waiting(self, now: float) -> bool:
        """Send what waited for keys, a path or consent; tell whether something went."""
        link, path = self.link, self.path
        if link is None or path is None or not link.has_waiting or not self.agent.may_send(now):
            return False
        datagrams = link.seal_waiting(now)
        if datagrams is None:
            return False
        self._transmits.extend(Transmit(bytes(each), path.base, path.destination) for each in datagrams)
        self.agent.record_sent(now)
        return True

    def _wake(self, now: float) -> None:
        """Do what makes a waiting packet go: a check where consent is lacking, a handshake where keys are."""
        if self.path is not None:
            self.agent.request_consent(now)
            self._initiate(now)
        self._drain(now)

    def _handle_agent_event(self, event: ice.Event, now: float) -> None:
        match event:
            case ice.CandidateGathered(candidate):
                self._events.append(LocalCandidateFound(candidate))
                self._tell_candidates(now)
            case ice.CandidateChanged(old, new):
                self._events.append(LocalCandidateFound(new, replaced=old))
                self._tell_candidates(now)
            case ice.GatheringCompleted():
                self._events.append(GatheringCompleted())
            case ice.PairSelected():
                self._select(event, now)
            case ice.StateChanged(state, reason):
                self._follow_agent(state, reason)
            case _:
                pass  # RoleChanged: who initiates is decided when there is a path

    def _select(self, event: ice.PairSelected, now: float) -> None:
        is_first = self.path is None
        self.path = Path(event.base, event.destination, event.local, event.remote, event.rtt)
        self._events.append(PathSelected(self.path))
        if is_first:
            self._begin_handshake(now)

    def _follow_agent(self, state: ice.AgentState, reason: ice.FailureReason | None) -> None:
        if reason is not None:
            self._fail(REASONS[reason])
        elif state is not ice.AgentState.CLOSED:  # whoever closed it knows
            self._enter(STATES[state])

    def _handle_session_event(self, event: object, now: float) -> None:
        match event:
            case SessionEstablished():
                self._deadlines.clear()
                self.agent.record_sent(now)  # a path that fell idle while people carried descriptions is in use now
                self._enter(STATES[self.agent.state])
                self._tell_candidates(now)
            case SessionRekeyed():
                self._events.append(PeerRekeyed())
            case SessionFailed():
                if not self._has_keys:
                    self._fail(FailureReason.HANDSHAKE_FAILED)
            case PeerClosed():
                self._fail(FailureReason.PEER_CLOSED)
            case ControlReceived(message):
                self._add_told_candidates(message, now)
            case _:
                pass  # SessionExpired: the next packet makes new keys

    def _begin_handshake(self, now: float) -> None:
        """Shake hands, or wait for the other side to, once there is a path and the other side has checked us.

        Ours are answered before: while a person carries our description over, the other side has no key of ours.
        """
        if self.path is None or not self._is_heard or self._has_keys:
            return
        self._deadlines.set(Timer.HANDSHAKE, now + HANDSHAKE_TIMEOUT)
        if self.agent.role is Role.CONTROLLING:
            self._initiate(now)
        else:
            self._deadlines.set(Timer.INITIATE, now + RESPONDER_PATIENCE)

    def _initiate(self, now: float) -> None:
        if self.link is not None and self._is_heard and self.link.session.sending is None:
            self.link.session.initiate(now)

    def _tell_candidates(self, now: float) -> None:
        """Send candidates that the other side hasn't been told through the tunnel."""
        if self.link is None or self.link.session.sending is None:
            return
        for message in self._trickle.news(self.agent.local_candidates, self.agent.local_credentials.generation):
            self.link.session.send_control(message, now)

    def _add_told_candidates(self, message: Candidates, now: float) -> None:
        for candidate in read_candidates(message):
            self._add_remote_candidate(candidate, now)

    def _add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take in what the other side tells; what the agent knew or refused is no news, however often it is told."""
        before = self.agent.remote_candidates
        self.agent.add_remote_candidate(candidate, now)
        if self.agent.remote_candidates != before:
            self._events.append(RemoteCandidateFound(candidate))

    def _enter(self, state: PeerState) -> None:
        """Change the state; a path without keys is still connecting, and a failed peer stays failed."""
        if not self._has_keys:
            state = PeerState.CONNECTING
        if state is not self.state and self.state is not PeerState.FAILED:
            self.state = state
            self._events.append(PeerStateChanged(state))

    def _fail(self, reason: FailureReason) -> None:
        if self.state is not PeerState.FAILED:
            self.state = PeerState.FAILED
            self.reason = reason
            self._deadlines.clear()
            self._events.append(PeerStateChanged(self.state, reason))


def _words(name: Enum | None) -> str:
    return "" if name is None else name.name.lower().replace("_", " ")
