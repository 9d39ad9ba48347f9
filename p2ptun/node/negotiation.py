"""What two agents tell each other: by descriptions before there is a tunnel, through the tunnel from then on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import replace

from p2ptun.ice import event as ice
from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.candidate_type import CandidateType
from p2ptun.ice.config import RemoteOptions
from p2ptun.ice.named import NamedCandidate, ToldCandidate, place_of
from p2ptun.ice.tcp import has_to_be_told
from p2ptun.node.drop import DropReason
from p2ptun.node.event import PeerEvent, RemoteCandidateFound, RemoteCandidateRemoved, RemoteNameFound
from p2ptun.node.names import HostNames
from p2ptun.node.parameters import IceParameters, best_candidates
from p2ptun.node.signalling import News, Signalling, Timer
from p2ptun.signal.description import MAX_CANDIDATES as MAX_DESCRIBED
from p2ptun.tunnel.control import Acknowledgement, IceDescription
from p2ptun.types import Endpoint, IPAddress

MAX_AHEAD = 2
"""Generations that the other side can honestly be ahead: it begins none while the newest has met no answer of ours."""


class Negotiation:
    """Tells the other side what our agent is, and our agent what the other side tells.

    Generations count up together. Who hears of a higher one joins it; who hears of a lower one knows that the other
    side hasn't heard of our restart yet, and takes what it announced for the next generation.
    """

    def __init__(self, agent: Agent, names: HostNames | None = None) -> None:
        """Speak for `agent`; with `names` in place of addresses."""
        self._agent = agent
        self._names = names
        self._signalling = Signalling()
        self._addresses: dict[Hashable, IPAddress] = {}
        self._is_gathered = False

    # Getters

    @property
    def drops(self) -> Counter[DropReason]:
        """What was left out or refused."""
        return self._signalling.drops

    @property
    def next_timer(self) -> Timer | None:
        """Name what `next_timeout` is about."""
        return self._signalling.next_timer

    @property
    def revision(self) -> int:
        """A number that grows when `write` has something else to say."""
        return self._signalling.revision

    def describe(self) -> tuple[Candidate, ...]:
        """Return the local candidates for a description: all, or as many as it holds."""
        return best_candidates(self._worth_telling, MAX_DESCRIBED)

    # Commands

    def begin(self, remote: IceParameters, now: float) -> list[PeerEvent]:
        """Give the agent what the other side's description says; return what that changes."""
        before = self._places()
        self._signalling.begin(remote.candidates)
        self._agent.set_remote_options(RemoteOptions(nat=remote.nat), now)
        self._agent.set_remote_credentials(remote.credentials, now)
        self._add(remote.candidates, now)
        self.update()
        names = [RemoteNameFound(each) for each in remote.candidates if isinstance(each, NamedCandidate)]
        return [*names, *self._found_since(before)]

    def resolve(self, named: NamedCandidate, address: IPAddress, now: float) -> list[PeerEvent]:
        """Take in the address of a candidate that was told by name. Harmless when it is no longer told."""
        before = self._places()
        if self._signalling.knows(named):
            self._addresses[place_of(named)] = address
            self._add((named,), now)
        return self._found_since(before)

    def follow(self, event: ice.Event) -> None:
        """Take note of what our agent found or did."""
        match event:
            case ice.GatheringCompleted():
                self._is_gathered = True
            case ice.CandidateGathered(Candidate(type=CandidateType.HOST)):
                self._is_gathered = False  # a new socket asks every server
            case ice.CandidateGathered() | ice.CandidateChanged() | ice.CandidateRemoved() | ice.Restarted():
                pass
            case _:
                return
        self.update()

    def update(self) -> None:
        """Tell the other side how our agent is now."""
        agent = self._agent
        self._signalling.update(
            IceParameters(
                agent.local_credentials,
                self._worth_telling,
                agent.next_credentials,
                self._is_gathered,
                has_renomination=True,
                nat=agent.nat_hint,
            )
        )

    def write(self) -> IceDescription:
        """Write how our agent is now, for another way to the other side than the tunnel."""
        self.update()
        return self._signalling.write()

    def hasten(self) -> None:
        """Say again at once what may be lost: keys or path are new."""
        self._signalling.hasten()

    def rest(self) -> None:
        """Tell nothing more: it is over."""
        self._signalling.rest()

    def take_message(self, rtt: float | None, now: float) -> IceDescription | Acknowledgement | None:
        """Return what is to be sent now over a path with that round-trip time."""
        return self._signalling.take_message(rtt, now)

    # Inputs

    def receive(self, message: IceDescription | Acknowledgement, now: float) -> list[PeerEvent]:
        """Take a message of the other side; return what it changes. Authentic, but not to be trusted."""
        news = self._signalling.receive(message, now)
        return [] if news is None else self._take_in(news, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        self._signalling.handle_timeout(now)

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` is to be called."""
        return self._signalling.next_timeout()

    # Below: acting on news

    @property
    def _worth_telling(self) -> tuple[Candidate, ...]:
        worthy = tuple(each for each in self._agent.local_candidates if has_to_be_told(each))
        public = self._agent.public_addresses
        return worthy if self._names is None else tuple(self._names.disguise(each, public) for each in worthy)

    def _take_in(self, news: News, now: float) -> list[PeerEvent]:
        agent, told, before = self._agent, news.parameters, self._places()
        agent.set_remote_options(RemoteOptions(has_renomination=told.has_renomination, nat=told.nat), now)
        self._join(told, now)
        for each in news.removed:
            if isinstance(candidate := self._resolved(each), Candidate):
                agent.remove_remote_candidate(candidate, now)
            self._addresses.pop(place_of(each), None)
        self._add(told.candidates, now)  # all of them: a new generation may know none yet
        if told.has_all_candidates and told.credentials == agent.remote_credentials:
            agent.end_of_remote_candidates(now)
        names = [RemoteNameFound(each) for each in news.added if isinstance(each, NamedCandidate)]
        return [*(RemoteCandidateRemoved(each) for each in news.removed), *names, *self._found_since(before)]

    def _join(self, told: IceParameters, now: float) -> None:
        """Bring the agent to the other side's generation, if that is higher than ours."""
        agent, ahead = self._agent, told.credentials.generation - self._agent.generation
        if ahead <= MAX_AHEAD:
            for _ in range(ahead):
                agent.restart(now, ice.RestartReason.PEER)
        if told.credentials.generation == agent.generation:
            agent.set_remote_credentials(told.credentials, now)
        if told.next_credentials is not None and told.next_credentials.generation >= agent.generation:
            agent.set_next_remote_credentials(told.next_credentials, now)

    def _add(self, candidates: Iterable[ToldCandidate], now: float) -> None:
        """Give the agent candidates as ones of the newest generation: the other side may not have heard of it yet."""
        credentials = self._agent.remote_credentials
        for each in candidates:
            candidate = self._resolved(each)
            if isinstance(candidate, NamedCandidate):
                continue
            if credentials is not None:
                candidate = replace(candidate, generation=credentials.generation, ufrag=credentials.ufrag)
            self._agent.add_remote_candidate(candidate, now)

    def _resolved(self, candidate: ToldCandidate) -> ToldCandidate:
        address = self._addresses.get(place_of(candidate))
        return candidate if address is None or isinstance(candidate, Candidate) else candidate.resolve(address)

    def _places(self) -> dict[Endpoint, CandidateType]:
        return {each.endpoint: each.type for each in self._agent.remote_candidates}

    def _found_since(self, before: dict[Endpoint, CandidateType]) -> list[PeerEvent]:
        """Tell candidates that the agent took in, or knows better than by a check; not those that it refused."""
        return [
            RemoteCandidateFound(each)
            for each in self._agent.remote_candidates
            if each.type is not CandidateType.PEER_REFLEXIVE and before.get(each.endpoint) is not each.type
        ]
