"""Turns what the node says into what people and programs are told, and into what the tunnel waits for."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2ptun.daemon.event import (
    ErrorEvent,
    Event,
    PeerEvent,
    RestartEvent,
    candidate_event,
    path_event,
    relay_event,
)
from p2ptun.ice.candidate import Candidate
from p2ptun.node.event import (
    FailureReason,
    GatheringCompleted,
    LocalCandidateFound,
    NodeEvent,
    PathSelected,
    PeerHeard,
    PeerRestarted,
    PeerState,
    PeerStateChanged,
    RelayFound,
    RelayLost,
    RemoteCandidateFound,
)
from p2ptun.node.path import Path
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint

NEW_LINE = "The line below replaces the one above; the old one works where the other addresses do."


class Narrator:
    """Listens to the node of one ad hoc tunnel.

    Attributes:
        gathered: Set when every server has answered or was given up.
        connected: Set while there is a session over a path; `lost` is set while there is none any more.
        has_met: Whether there has been one.
        ended: Set when the peer failed; `reason` says why.
        moved: Set when this machine's network has changed, and replaced then.
        is_described: Whether the other side has been sent a description, which a changed address makes out of date.
        changed: Set when that happened; whoever acts on it puts a new one in its place.
        began_at: When both sides knew each other, monotonic seconds; the side that sends its description last learns
            that from the first message.
        relays: Where we have addresses on relays, and whose they are.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.gathered = trio.Event()
        self.connected = trio.Event()
        self.lost = trio.Event()
        self.has_met = False
        self.ended = trio.Event()
        self.changed = trio.Event()
        self.moved = trio.Event()
        self.reason: FailureReason | None = None
        self.is_described = False
        self.began_at: float | None = None
        self.mtu = 0
        self.relays: dict[Endpoint, Server] = {}
        self._emit = emit
        self._path: Path | None = None
        self._told: Path | None = None

    def handle(self, event: NodeEvent) -> None:
        """Take an event of the node."""
        match event.event:
            case LocalCandidateFound(candidate, replaced):
                self._tell_local(candidate, replaced)
            case RemoteCandidateFound(candidate):
                self._emit(candidate_event("remote", candidate))
            case GatheringCompleted():
                self.gathered.set()
            case PathSelected(path):
                self._follow(event.peer, path)
            case PeerHeard() if self.is_described and self.began_at is None:
                self.began_at = trio.current_time()
            case PeerStateChanged(state, reason):
                self._change_state(event.peer, state, reason)
            case PeerRestarted(generation, reason):
                self._emit(RestartEvent(event.peer, generation, reason.value))
            case RelayFound(server, relayed):
                self.relays[relayed] = server
                self._emit(relay_event(server, relayed, "ready"))
            case RelayLost(server, relayed, reason):
                self.relays.pop(relayed, None)
                self._emit(relay_event(server, relayed, "lost", reason))
            case _:
                pass  # status tells the age of the keys and what stands by

    def move(self) -> None:
        """Know that this machine's network has changed."""
        self.moved.set()
        self.moved = trio.Event()

    def start_over(self) -> None:
        """Know that the other side is to be met as if for the first time."""
        self._lose()
        self.has_met, self.began_at, self.reason = False, None, None
        self.ended = trio.Event()
        self._path = self._told = None

    def outdate(self) -> None:
        """Know that the description which the other side is being sent has addresses that are gone, and lacks others.

        Whoever sends the next one waits for it to be `gathered`.
        """
        self._emit(ErrorEvent("This side's addresses have changed.", NEW_LINE))
        self.gathered = trio.Event()
        self.changed.set()

    def describe_anew(self, change: str) -> None:
        """Have another description sent because of a change, if the last one is all that the other side knows."""
        if self.is_described and not self.has_met:
            self._emit(ErrorEvent(change, NEW_LINE))
            self.changed.set()

    def _tell_local(self, candidate: Candidate, replaced: Candidate | None) -> None:
        self._emit(candidate_event("local", candidate))
        if replaced is not None:
            self.describe_anew(f"This side's public address changed from {replaced.endpoint} to {candidate.endpoint}.")

    def _follow(self, peer: str, path: Path) -> None:
        """Tell a path once there is a session over it."""
        self._path = path
        if self.connected.is_set():
            self._tell_path(peer, path, None)

    def _tell_path(self, peer: str, path: Path, setup: float | None) -> None:
        """Tell where traffic goes; a second announcement of the same path is no news."""
        if self._told is None or (path.base, str(path)) != (self._told.base, str(self._told)):
            self._told = path
            self._emit(path_event(peer, path, self.mtu, setup, self.relays.get(path.base)))

    def _change_state(self, peer: str, state: PeerState, reason: FailureReason | None) -> None:
        self._emit(PeerEvent(peer, state.value, reason.value if reason else None))
        if state is PeerState.FAILED:
            self.reason = reason
            self.ended.set()
            self._lose()
        elif state is PeerState.CONNECTING:
            self._lose()
        elif not self.connected.is_set() and self._path is not None:
            self._connect(peer, self._path)

    def _connect(self, peer: str, path: Path) -> None:
        now = trio.current_time()
        setup = None if self.has_met else now - (self.began_at or now)
        self.has_met = True
        self.lost = trio.Event()
        self.connected.set()
        self._tell_path(peer, path, setup)

    def _lose(self) -> None:
        if self.connected.is_set():
            self.connected = trio.Event()
            self.lost.set()
