"""A room of a rendezvous and the owners of two conversations, as they behave, in a model that forgets and replays.

The room is the named one of `rendezvous.base`: each side has a mailbox of what the other has left since it entered. It
holds so many messages, and the rendezvous may forget all of it. Who finds himself unknown, or his side full, enters
anew and reopens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.noise.primitive import hash_of
from p2ptun.signal.conversation import SESSION_ID_SIZE, Confirmed, Heard, Met
from p2ptun.signal.description import Kind
from p2ptun.signal.pinned import PinnedConversation
from tests.signal.parties import events_of, incarnation, messages_of

OTHER = {Kind.OFFER: Kind.ANSWER, Kind.ANSWER: Kind.OFFER}


class NotThereError(Exception):
    """The room is unknown to the rendezvous, or there is no place left in it."""


@dataclass
class Room:
    """What each side has left, and how much of the other's each side has read."""

    capacity: int
    keeps_what_was_read: bool = True
    left: dict[Kind, list[bytes]] = field(default_factory=dict)
    read_until: dict[Kind, int] = field(default_factory=dict)

    def enter(self, kind: Kind, opening: bytes) -> None:
        """Forget what the side left, but for its opening; it reads all that the other has left."""
        is_new = kind not in self.left
        self.left[kind] = [opening]
        if is_new or self.keeps_what_was_read:
            self.read_until[kind] = 0
        self.read_until[OTHER[kind]] = 0  # numbers go on, and nothing that is left now was read

    def post(self, kind: Kind, message: bytes) -> None:
        """Leave a message. Raises NotThereError."""
        if kind not in self.left or len(self.left[kind]) >= self.capacity:
            raise NotThereError
        self.left[kind].append(message)

    def read(self, kind: Kind) -> bytes | None:
        """Return the next message of the other side. Raises NotThereError."""
        if kind not in self.left:
            raise NotThereError
        unread = self.left.get(OTHER[kind], [])[self.read_until[kind] :]
        self.read_until[kind] += bool(unread)
        return unread[0] if unread else None

    def forget(self) -> None:
        """Lose everything, as a store in memory does when its process ends."""
        self.left.clear()


@dataclass
class Life:
    """One life of a side: its incarnation, and when it was alive."""

    kind: Kind
    number: int
    began: int
    conversation: PinnedConversation
    id: bytes
    ended: int | None = None
    inputs: int = 0  # since it was asked last what it has to send


@dataclass
class Session:
    """What a life knows of its session."""

    id: bytes
    peer: Life
    said: int = 0
    heard: int = 0


@dataclass
class World:
    """Both sides with all their lives, their rooms, and everything that was ever written; safety is checked as it goes.

    Each side has a room at every rendezvous and sends everything to all of them.
    """

    rooms: list[Room]
    clock: int = 0
    lives: dict[Kind, list[Life]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    sessions: dict[Kind, Session | None] = field(default_factory=lambda: dict.fromkeys(Kind))
    recorded: dict[Kind, list[bytes]] = field(default_factory=lambda: {kind: [] for kind in Kind})

    def alive(self, kind: Kind) -> Life | None:
        """Return the life that a side has now."""
        lives = self.lives[kind]
        return lives[-1] if lives and lives[-1].ended is None else None

    def session_of(self, kind: Kind) -> Session:
        """Return the session of a side that has one."""
        session = self.sessions[kind]
        assert session is not None
        return session

    def begin(self, kind: Kind) -> None:
        """Let a side begin a life, after the one it has ended, and enter its rooms."""
        self.end(kind)
        number = len(self.lives[kind])
        conversation, identity = incarnation(kind, seed=2 * number + (kind is Kind.ANSWER))
        life = Life(kind, number, self.clock, conversation, identity)
        self.lives[kind].append(life)
        opening = conversation.next_message()
        assert opening is not None
        self.recorded[kind].append(opening)
        for room in self.rooms:
            room.enter(kind, opening)

    def end(self, kind: Kind) -> None:
        """Let a side crash. What it left stays."""
        self.clock += 1
        if (life := self.alive(kind)) is not None:
            life.ended = self.clock
            self.sessions[kind] = None
        self.clock += 1

    def say(self, kind: Kind) -> None:
        """Let a side say something, if it is there and has a session."""
        life, session = self.alive(kind), self.sessions[kind]
        if life is not None and session is not None:
            self._say(life, session)
            self._send(life)

    def enter_anew(self, kind: Kind, room: Room) -> None:
        """Let a side enter a room anew."""
        if (opening := self.reopen(kind)) is not None:
            room.enter(kind, opening)

    def reopen(self, kind: Kind) -> bytes | None:
        """Let a side reopen its conversation, if it is there; return what it writes to enter with."""
        if (life := self.alive(kind)) is None:
            return None
        life.conversation.reopen()
        opening = life.conversation.next_message()
        assert opening is not None
        self.recorded[kind].append(opening)
        return opening

    def read(self, kind: Kind, room: Room) -> bool:
        """Let a side read the next message in a room; tell whether there was something to do."""
        if self.alive(kind) is None:
            return False
        try:
            message = room.read(kind)
        except NotThereError:
            self.enter_anew(kind, room)
            return True
        if message is not None:
            self.deliver(kind, message)
        return message is not None

    def deliver(self, kind: Kind, message: bytes) -> None:
        """Bring a side any message, whoever wrote it and for whom, and let it send what it has to."""
        self.bring(kind, message)
        if (life := self.alive(kind)) is not None:
            self._send(life)

    def bring(self, kind: Kind, message: bytes) -> None:
        """Bring a side any message, while it doesn't get to send anything."""
        if (life := self.alive(kind)) is not None:
            life.inputs += 1
            life.conversation.receive_message(message)
            self._note_events(life)

    def settle(self, limit: int) -> None:
        """Carry everything until nobody has anything to say."""
        for _ in range(limit):
            if sum(self.read(kind, room) for room in self.rooms for kind in Kind) == 0:
                return
        raise AssertionError(f"there is no end to it after {limit} rounds")

    def _send(self, life: Life) -> None:
        messages = messages_of(life.conversation)
        assert len(messages) <= life.inputs, "an input is answered by one message at most"
        life.inputs = 0
        for message in messages:
            self.recorded[life.kind].append(message)
            for room in self.rooms:
                try:
                    room.post(life.kind, message)
                except NotThereError:
                    self.enter_anew(life.kind, room)

    def _say(self, life: Life, session: Session) -> None:
        session.said += 1
        life.inputs += 1
        life.conversation.say(repr((life.kind.value, life.number, session.id, session.said)).encode())

    def _note_events(self, life: Life) -> None:
        confirmed = None
        for event in events_of(life.conversation):
            session = self.sessions[life.kind]
            if isinstance(event, Met):
                confirmed = self._meet(life, event.session_id)
                self._say(life, confirmed)
            elif isinstance(event, Confirmed):
                assert session is confirmed is not None
            else:
                assert isinstance(event, Heard)
                assert session is not None
                number = session.heard + 1
                kind, peer = session.peer.kind.value, session.peer.number
                while event.said != repr((kind, peer, session.id, number)).encode():
                    number += 1
                    assert number < 1000, "this was never said in this session, or something later was heard before"
                session.heard = number

    def _meet(self, life: Life, session_id: bytes) -> Session:
        """Begin a session. The other life is later than that of the session before, and has lived since ours began."""
        before = self.sessions[life.kind]
        (peer,) = (
            each
            for each in self.lives[OTHER[life.kind]]
            if _session_id({life.kind: life, each.kind: each}) == session_id
        )
        assert before is None or peer.number > before.peer.number, "a session was replaced by an earlier life"
        assert peer.ended is None or peer.ended > life.began, "a session with one who never knew of us"
        self.sessions[life.kind] = session = Session(session_id, peer)
        return session


def _session_id(pair: dict[Kind, Life]) -> bytes:
    ids = (pair[kind].id for kind in (Kind.OFFER, Kind.ANSWER))
    return hash_of(b"p2ptun/1 session", *ids)[:SESSION_ID_SIZE]
