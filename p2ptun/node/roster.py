"""The peers of a node, and every way to find one but by session index: name, user name fragment, place, deadline."""

from __future__ import annotations

from collections.abc import Iterator

from p2ptun.errors import LocalProtocolError
from p2ptun.ice.scope import signalled
from p2ptun.node.directory import Directory
from p2ptun.node.peer import Peer
from p2ptun.node.schedule import Schedule
from p2ptun.types import Endpoint


class Roster:
    """Keeps up with its peers without asking those that nothing has happened to.

    A peer marks itself in `touched` whenever a command or an input reaches it, whoever gave it that. What is derived
    from a peer is read anew when it is asked for, once for any number of touches: the deadline by `take_touched`, what
    it is found by when somebody is looked for.
    """

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self._touched: dict[str, float] = {}
        self._unread: dict[str, None] = {}
        self._schedule = Schedule()
        self._ufrags: Directory[str] = Directory()
        self._places: Directory[Endpoint] = Directory()

    # Getters

    def __iter__(self) -> Iterator[Peer]:
        """Yield every peer, in the order in which they were added; a peer may go meanwhile."""
        return iter(list(self._peers.values()))

    @property
    def first(self) -> Peer | None:
        """The peer that was added first."""
        return next(iter(self._peers.values()), None)

    @property
    def next_due(self) -> tuple[float, Peer] | None:
        """The earliest deadline and whose it is, as of the last `take_touched`."""
        found = self._schedule.next()
        return None if found is None else (found[0], self._peers[found[1]])

    def get(self, name: str) -> Peer:
        """Return the peer called `name`. Raises LocalProtocolError when there is none."""
        if name not in self._peers:
            raise LocalProtocolError(f"no peer is called {name}")
        return self._peers[name]

    def find(self, name: str | None) -> Peer | None:
        """Return the peer called `name`, if there is one."""
        return None if name is None else self._peers.get(name)

    def find_by_ufrag(self, ufrag: str) -> list[Peer]:
        """Return the peers towards which we are called `ufrag` in some generation: one, or by chance two."""
        self._read()
        return [self._peers[name] for name in self._ufrags.find(ufrag)]

    def find_by_place(self, place: Endpoint) -> list[Peer]:
        """Return the peers that said, or proved by a check, that they are at `place`.

        Those whose path leads there come first.
        """
        self._read()
        found = [self._peers[name] for name in self._places.find(signalled(place))]
        return sorted(found, key=lambda peer: peer.path is None or peer.path.destination != place)

    # Commands

    def add(self, peer: Peer, now: float) -> None:
        """Take a peer in. Raises LocalProtocolError when its name is taken."""
        if peer.name in self._peers:
            raise LocalProtocolError(f"there is a peer called {peer.name} already")
        self._peers[peer.name] = peer
        peer.touched = self._touched
        self._touched[peer.name] = now

    def remove(self, name: str) -> None:
        """Let a peer go. Raises LocalProtocolError when there is none of that name."""
        self.get(name).touched = {}
        del self._peers[name]
        self._schedule.set(name, None)
        self._ufrags.forget(name)
        self._places.forget(name)
        self._touched.pop(name, None)
        self._unread.pop(name, None)

    def take_touched(self) -> list[tuple[Peer, float]]:
        """Return the peers touched since the last time, and when that was; their deadlines are known from now on."""
        if not self._touched:
            return []
        touched = [(self._peers[name], at) for name, at in self._touched.items()]
        self._touched.clear()
        for peer, _ in touched:
            self._unread[peer.name] = None
            self._schedule.set(peer.name, peer.next_timeout())
        return touched

    def take_due(self, now: float) -> list[Peer]:
        """Return the peers due at `now`, as of the last `take_touched`. They count as touched."""
        due = self._schedule.pop_due(now)
        self._touched.update(dict.fromkeys(due, now))
        return [self._peers[name] for name in due]

    def _read(self) -> None:
        """Find out what the peers touched meanwhile are found by."""
        if not self._unread and not self._touched:
            return
        for name in {**self._unread, **self._touched}:
            peer = self._peers[name]
            self._ufrags.set(name, peer.agent.local_ufrags)
            self._places.set(name, _places(peer))
        self._unread.clear()


def _places(peer: Peer) -> list[Endpoint]:
    """List where a peer may be: candidates have no zone, and the paths in use may be older than they are."""
    paths = [path for path in (peer.path, peer.standby) if path is not None]
    told = [candidate.endpoint for candidate in peer.agent.remote_candidates]
    return told + [signalled(path.destination) for path in paths]
