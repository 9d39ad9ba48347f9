"""One peer: ICE finds the way to it, a link carries the packets. Connecting, carrying, saying why not."""

from __future__ import annotations

from collections import Counter, deque

from p2ptun.aead.buffer import Batch
from p2ptun.deadlines import earliest
from p2ptun.ice import event as ice
from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import TcpType
from p2ptun.ice.named import NamedCandidate
from p2ptun.node.drop import DropReason, labelled
from p2ptun.node.event import (
    REASONS,
    STATES,
    FailureReason,
    LocalCandidateRemoved,
    PathSelected,
    PeerEvent,
    PeerHeard,
    PeerRekeyed,
    PeerState,
    StandbySelected,
    translated,
)
from p2ptun.node.flight import Flight
from p2ptun.node.keying import Keying
from p2ptun.node.link import Link
from p2ptun.node.names import HostNames
from p2ptun.node.negotiation import Negotiation
from p2ptun.node.order import CloseSpares, OpenSpares, Order
from p2ptun.node.outbox import Outbox
from p2ptun.node.parameters import IceParameters
from p2ptun.node.path import Path
from p2ptun.node.schedule import Timed, first_timer
from p2ptun.node.standing import Standing
from p2ptun.tunnel import event as tunnel
from p2ptun.tunnel.control import CloseReason, IceDescription
from p2ptun.types import Endpoint, IPAddress, SendError, Transmit


class Peer:
    """A machine made of two: an ICE agent and, once the other side's description is known, a link.

    `connect` gives it the description. From then on the first valid pair carries the handshake and then data. What the
    agent finds later, and its restarts, are told through the tunnel itself as soon as there is one.

    A path that is lost doesn't end the peer: it is connecting again, packets wait as at the beginning, and the keys
    live on as long as they may. `names`, if given, stand for our addresses in all that the other side is told.
    """

    def __init__(self, name: str, agent: Agent, names: HostNames | None = None) -> None:
        self.name = name
        self.agent = agent
        self.link: Link | None = None
        self.path: Path | None = None
        self.standby: Path | None = None
        self.touched: dict[str, float] = {}  # its owner's list of those who may have something to say, and since when
        self._standing = Standing()
        self.negotiation = Negotiation(agent, names)
        self._keying = Keying()
        self._outbox = Outbox()
        self._refused = 0
        self._events: deque[PeerEvent] = deque()
        self._orders: deque[Order] = deque()

    # Getters

    @property
    def state(self) -> PeerState:
        """Where the peer stands."""
        return self._standing.state

    @property
    def reason(self) -> FailureReason | None:
        """Why it failed, or is connecting again."""
        return self._standing.reason

    @property
    def drops(self) -> Counter[str]:
        """What was thrown away, by layer and reason."""
        counted = labelled("ice", self.agent.drops)
        counted += labelled("peer", self.negotiation.drops + Counter({DropReason.NOT_CONNECTED: self._refused}))
        return counted if self.link is None else counted + self.link.drops

    @property
    def next_timer(self) -> str | None:
        """Name what `next_timeout` is about."""
        sessions: list[tuple[str, Timed]] = [] if self.link is None else [("tunnel", self.link.session)]
        return first_timer([("ice", self.agent), ("peer", self._keying), ("signalling", self.negotiation), *sessions])

    # Commands

    def add_local_address(self, base: Endpoint, now: float, tcp_type: TcpType | None = None) -> None:
        """Gather on the socket bound to `base`; see `Agent.add_local_address`."""
        self.agent.add_local_address(base, now, tcp_type)
        self._drain(now)

    def remove_local_address(self, base: Endpoint, now: float) -> None:
        """Forget a socket that is gone, with the paths from it; tell the other side that its candidates are gone."""
        before = self.agent.local_candidates
        self.agent.remove_local_address(base, now)
        after = self.agent.local_candidates
        self._events.extend(LocalCandidateRemoved(each) for each in before if each not in after)
        self.negotiation.update()
        self._drain(now)

    def add_relayed_address(self, relayed: Endpoint, server: Endpoint, mapped: Endpoint | None, now: float) -> None:
        """Use an address that a server relays for us; see `Agent.add_relayed_address`."""
        self.agent.add_relayed_address(relayed, server, mapped, now)
        self._drain(now)

    def add_spare_address(self, base: Endpoint, now: float) -> None:
        """Take a socket for a port search; see `Agent.add_spare_address`."""
        self.agent.add_spare_address(base, now)
        self._drain(now)

    def add_mapped_address(self, base: Endpoint, external: Endpoint, gateway: Endpoint, now: float) -> None:
        """Tell the other side where a gateway forwards to a socket; see `Agent.add_mapped_address`."""
        self.agent.add_mapped_address(base, external, gateway, now)
        self._drain(now)

    def remove_mapped_address(self, base: Endpoint, gateway: Endpoint, now: float) -> None:
        """Know that a gateway forwards nothing to a socket any more."""
        self.agent.remove_mapped_address(base, gateway, now)
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
        """Return the local candidates for a description, the best first."""
        return self.negotiation.describe()

    def connect(self, link: Link, remote: IceParameters, now: float) -> None:
        """Begin connectivity checks with the side that `remote` describes and `link` has the keys for."""
        self.link = link
        self._events.extend(self.negotiation.begin(remote, now))
        self._drain(now)

    def resolve(self, named: NamedCandidate, address: IPAddress, now: float) -> None:
        """Take the address of a candidate that the other side told by name."""
        self._events.extend(self.negotiation.resolve(named, address, now))
        self._drain(now)

    def restart(self, reason: ice.RestartReason, now: float) -> None:
        """Look for a path anew, while the old one carries traffic as long as it works (RFC 8445 9)."""
        self._keying.doubts_keys |= reason is ice.RestartReason.RESUMED
        self.agent.restart(now, reason)
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
        self._keying.rest()
        self.negotiation.rest()
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
        else:
            self.agent.vouch(local, source, now)
        self._drain(now)

    # Inputs

    def receive_stun(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take a STUN message."""
        self.agent.receive_datagram(data, source, local, now)
        if self.agent.is_checked and not self._keying.is_heard:
            self._keying.is_heard = True
            self._events.append(PeerHeard())
            self._begin_keying(now)
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

    def receive_signal(self, message: IceDescription, now: float) -> None:
        """Take the other side's state that came over a rendezvous, as authentic as what comes through the tunnel."""
        self._events.extend(self.negotiation.receive(message, now))
        self._drain(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        self.agent.handle_timeout(now)
        self.negotiation.handle_timeout(now)
        if self.link is not None:
            self.link.session.handle_timeout(now)
        if self._keying.handle_timeout(now):
            self._enter(PeerState.FAILED, FailureReason.HANDSHAKE_FAILED)
        self._drain(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Return the next datagram to send."""
        return self._outbox.take()

    def next_order(self) -> Order | None:
        """Return the next sockets to open or close."""
        return self._orders.popleft() if self._orders else None

    def next_event(self) -> PeerEvent | None:
        """Return the next thing that happened."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""
        session_at = None if self.link is None else self.link.session.next_timeout()
        times = (self.agent.next_timeout(), session_at, self.negotiation.next_timeout(), self._keying.next_timeout())
        return earliest(times)

    # Below: draining the two machines, and acting on what they say

    @property
    def _has_keys(self) -> bool:
        return self.link is not None and self.link.session.algorithm is not None

    def _drain(self, now: float) -> None:
        self.touched[self.name] = now
        while self._take_event(now) or self._release_waiting(now):
            pass  # what one machine says makes the other say more
        while (transmit := self.agent.next_transmit()) is not None:
            self._outbox.add(transmit)
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
        session, path = self.link.session, self.path
        is_open = path is not None and self.agent.may_send(now)
        if path is not None and is_open and session.sending is not None:
            while (message := self.negotiation.take_message(path.rtt, now)) is not None:
                session.send_control(message, now)
        while (datagram := session.next_transmit()) is not None:
            self._outbox.hold(datagram)
        if path is not None and is_open:
            self._outbox.release(path)

    def _release_waiting(self, now: float) -> bool:
        """Send what waited for keys, a path or consent; tell whether something went."""
        link, path = self.link, self.path
        if link is None or path is None or not link.has_waiting or not self.agent.may_send(now):
            return False
        datagrams = link.seal_waiting(now)
        if datagrams is None:
            return False
        self._outbox.add_batch(datagrams, path)
        self.agent.record_sent(now)
        return True

    def _wake(self, now: float) -> None:
        """Do what makes a waiting packet go: a check where consent is lacking, a handshake where keys are."""
        self.agent.request_consent(now)
        if self.path is not None and self.link is not None:
            self._keying.wake(self.link.session, now)
        self._drain(now)

    def _handle_agent_event(self, event: ice.Event, now: float) -> None:
        self.negotiation.follow(event)
        match event:
            case ice.SparesWanted(base, count):
                self._orders.append(OpenSpares(self.name, base, count))
            case ice.SparesReleased(bases):
                for base in bases:
                    self.agent.remove_local_address(base, now)
                self._orders.append(CloseSpares(bases))
            case ice.PairSelected():
                self._select(event, now)
            case ice.StandbyChanged(standby):
                self.standby = None if standby is None else Path.of(standby)
                self._events.append(StandbySelected(self.standby))
            case ice.StateChanged(state, reason):
                self._follow_agent(state, reason)
            case _ if (told := translated(event)) is not None:
                self._events.append(told)

    def _select(self, event: ice.PairSelected, now: float) -> None:
        old, self.path = self.path, Path.of(event)
        self._events.append(PathSelected(self.path))
        if old is None or not old.is_same_way(self.path) or self._keying.doubts_keys:
            self.negotiation.hasten()
            self._outbox.repeat()
            self._begin_keying(now)

    def _follow_agent(self, state: ice.AgentState, reason: ice.FailureReason | None) -> None:
        if self.agent.selected is None:
            self.path = None
            self._keying.rest()
        if state is ice.AgentState.FAILED:
            self._enter(PeerState.FAILED, None if reason is None else REASONS[reason])
        elif state is not ice.AgentState.CLOSED:  # whoever closed it knows
            self._enter(STATES[state], None if reason is None else REASONS[reason])

    def _handle_session_event(self, event: tunnel.SessionEvent, now: float) -> None:
        match event:
            case tunnel.SessionEstablished():
                self._keying.succeed()
                self.agent.record_sent(now)  # a path that fell idle while people carried descriptions is in use now
                self._enter(STATES[self.agent.state])
                self._use_new_keys()
            case tunnel.SessionRekeyed():
                self._events.append(PeerRekeyed())
                self._use_new_keys()
            case tunnel.SessionFailed():
                self._give_up_handshake(now)
            case tunnel.PeerClosed():
                self._enter(PeerState.FAILED, FailureReason.PEER_CLOSED)
            case tunnel.ControlReceived(message):
                self._events.extend(self.negotiation.receive(message, now))
            case _:
                pass  # SessionExpired: the next packet makes new keys

    def _use_new_keys(self) -> None:
        self._outbox.confirm()
        self.negotiation.hasten()

    def _begin_keying(self, now: float) -> None:
        if self.link is not None and self.path is not None:
            self._keying.begin(self.link.session, self._outbox.holds_response, now, self.path.rtt)

    def _give_up_handshake(self, now: float) -> None:
        """Fail when there never were keys. Else go on for as long as packets wait, and again with the next packet."""
        if self._has_keys or self.link is None:
            return
        state = PeerState.CONNECTING if self._keying.had_keys else PeerState.FAILED
        self._enter(state, FailureReason.HANDSHAKE_FAILED)
        if self._keying.had_keys and self.link.has_waiting:
            self._keying.wake(self.link.session, now)

    def _enter(self, state: PeerState, reason: FailureReason | None = None) -> None:
        """Change the state; a path without keys is still connecting."""
        if state is not PeerState.FAILED and not self._has_keys:
            state = PeerState.CONNECTING
        change = self._standing.enter(state, reason)
        if change is not None:
            self._events.append(change)
        if state is PeerState.FAILED:
            self._keying.rest()
