"""Turns what the node says into what people and programs are told, and into what the tunnel waits for."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2ptun.daemon.event import ErrorEvent, Event, PeerEvent, candidate_event, path_event
from p2ptun.ice.candidate import Candidate
from p2ptun.node.event import (
    FailureReason,
    GatheringCompleted,
    LocalCandidateFound,
    NodeEvent,
    PathSelected,
    PeerHeard,
    PeerRekeyed,
    PeerState,
    PeerStateChanged,
    RemoteCandidateFound,
)
from p2ptun.node.path import Path


class Narrator:
    """Listens to the node of one ad hoc tunnel.

    Attributes:
        gathered: Set when every server has answered or was given up.
        connected: Set at the first session.
        ended: Set when the peer failed; `reason` says why.
        described: Whether the other side has been sent a description, which a changed address makes out of date.
        changed: Set when that happened; whoever acts on it puts a new one in its place.
        began_at: When both sides knew each other, monotonic seconds; the side that sends its description last learns
            that from the first message.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.gathered = trio.Event()
        self.connected = trio.Event()
        self.ended = trio.Event()
        self.changed = trio.Event()
        self.reason: FailureReason | None = None
        self.described = False
        self.began_at: float | None = None
        self.mtu = 0
        self._emit = emit
        self._path: Path | None = None

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
            case PeerHeard() if self.described and self.began_at is None:
                self.began_at = trio.current_time()
            case PeerStateChanged(state, reason):
                self._change_state(event.peer, state, reason)
            case PeerHeard() | PeerRekeyed():
                pass  # status tells the age of the keys

    def _tell_local(self, candidate: Candidate, replaced: Candidate | None) -> None:
        self._emit(candidate_event("local", candidate))
        if replaced is not None and self.described and not self.connected.is_set():
            self._emit(
                ErrorEvent(
                    f"This side's public address changed from {replaced.endpoint} to {candidate.endpoint}.",
                    "The line below replaces the one above; the old one works where the other addresses do.",
                )
            )
            self.changed.set()

    def _follow(self, peer: str, path: Path) -> None:
        """Tell a path once there is a session over it; a second announcement of the same one is no news."""
        is_news = self._path is None or str(path) != str(self._path)
        self._path = path
        if is_news and self.connected.is_set():
            self._emit(path_event(peer, path, self.mtu, None))

    def _change_state(self, peer: str, state: PeerState, reason: FailureReason | None) -> None:
        self._emit(PeerEvent(peer, state.value, reason.value if reason else None))
        if state is PeerState.FAILED:
            self.reason = reason
            self.ended.set()
        elif state is not PeerState.CONNECTING and not self.connected.is_set() and self._path is not None:
            self.connected.set()
            now = trio.current_time()
            self._emit(path_event(peer, self._path, self.mtu, now - (self.began_at or now)))
