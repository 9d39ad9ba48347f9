"""The conversation of two machines that know each other's keys, through a rendezvous that nobody needs to trust.

Both compute one secret from their keys; the name of their room, the tokens of its two sides and the keys that seal what
is said follow from it. The rendezvous may have recorded everything for months, and bring back any of it, to either
side, in any order, or nothing.

An *incarnation* is one `PinnedConversation`: it has an id, drawn at random, and numbers its missives (see
`signal.missive`). Each missive names the incarnation it is for and the newest of its missives that was seen. A session
is a pair of incarnations, and what is said counts in its session only.

* An incarnation is taken for the other side when it names ours: it has seen our id, which nobody knew before we began.
* Once we have a session, another incarnation replaces it only when it has seen a missive that we wrote after the
  session began. At that moment the old one had already written what began the session; the lives of one machine's
  incarnations don't overlap; so the new one is the later one. What was recorded, held back or put in another order
  names another incarnation of ours or an older missive, and changes nothing.
* Whoever has begun a later life isn't left for an earlier one, therefore, and a replaced incarnation never returns.
* An incarnation that we don't know, or that hasn't seen enough, is asked, by a missive that names it; what it answers
  will do. It is asked again when it asks again. Until a session begins or the owner reopens, `MAX_QUESTIONS` at most
  go to those that don't name us, and as many to those that do: that is all that replayed missives can cost.
* What asks is answered once by whoever has its sender for the other side, and what is written first after a room was
  entered asks. So two that are both there meet once a rendezvous delivers, whatever got lost before.
* A key per direction: nothing of ours comes back to us as theirs. Revisions rise in a session: nothing is heard twice.

A session may begin with an incarnation that has ended since; the next one then asks, and replaces it. What is said is
sealed, but has no forward secrecy: who gets at one of the two private keys can read it later. It holds nothing that
opens the tunnel, whose keys come from its own handshake.
"""

from __future__ import annotations

import base64
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from p2ptun.errors import AuthenticationFailed, LocalProtocolError, MalformedPacket
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.primitive import diffie_hellman, hash_of, hkdf
from p2ptun.signal.conversation import MAX_SAID, SESSION_ID_SIZE, Confirmed, ConversationEvent, Heard, Met
from p2ptun.signal.description import Kind
from p2ptun.signal.missive import ANYBODY, INCARNATION_SIZE, Missive, open_missive, seal_missive
from p2ptun.types import RandomBytes

SECRET_SIZE: Final = 32
MAX_QUESTIONS: Final = 32  # our choice: half of what a side of a room holds
MAX_RETIRED: Final = 256  # our choice; what is forgotten can't come back either, see above

_PROTOCOL = b"p2ptun/1 "


class DropReason(Enum):
    """Why what a rendezvous brought changed nothing."""

    MALFORMED = "malformed"
    UNAUTHENTIC = "not authentic"
    RETIRED = "of an incarnation that was replaced"
    FOREIGN = "for another incarnation"
    REPEATED = "nothing new"
    ASKED = "of an incarnation that was asked already"
    FLOODED = "of too many unknown incarnations"


def static_secret(own: KeyPair, peer_public: bytes) -> bytes:
    """Compute the 32 bytes that two machines share by their keys: HKDF of X25519, bound to both public keys.

    Its label is its own: nothing that the tunnel's handshake derives from the same keys tells anything of it.

    Raises:
        AuthenticationFailed: If `peer_public` is a point of low order or no public key at all.
    """
    shared = diffie_hellman(own.private, peer_public)
    low, high = sorted((own.public, peer_public))
    return hkdf(hash_of(_PROTOCOL + b"room", low, high), shared, 2)[0]


def kind_of(own_public: bytes, peer_public: bytes) -> Kind:
    """Tell what we are: the side with the smaller public key offers. Raises LocalProtocolError if both are the same."""
    if own_public == peer_public:
        raise LocalProtocolError("both sides have the same key")
    return Kind.OFFER if own_public < peer_public else Kind.ANSWER


def room_name(secret: bytes) -> str:
    """Return the name of the room where those who share `secret` meet: 64 hexadecimal digits."""
    return _derive(secret, b"name").hex()


def side_token(secret: bytes, kind: Kind) -> str:
    """Return the token of one side of that room: 43 characters of base64url."""
    return base64.urlsafe_b64encode(_derive(secret, b"token of the " + kind.value.encode())).decode().rstrip("=")


class PinnedConversation:
    """Our incarnation, and the session with the other side's. See `signal.conversation.Conversation` for the doors.

    There is one more, `reopen`. A message may go through several rendezvous at once, and come more than once.
    """

    def __init__(self, secret: bytes, kind: Kind, random_bytes: RandomBytes) -> None:
        """Draw our id. Raises LocalProtocolError unless `secret` has 32 bytes."""
        self._random_bytes = random_bytes
        self._kind = kind
        keys = {each: _derive(secret, b"sealing by the " + each.value.encode()) for each in Kind}
        self._sealing_key = keys.pop(kind)
        (self._opening_key,) = keys.values()
        self._own = random_bytes(INCARNATION_SIZE)
        self._serial = 0
        self._session: _Session | None = None
        self._floor = 0
        self._retired: deque[bytes] = deque(maxlen=MAX_RETIRED)
        self._inquiry = _Inquiry()
        self._is_due = self._is_reopened = True
        self._events: deque[ConversationEvent] = deque()
        self._drops: Counter[DropReason] = Counter()

    @property
    def drops(self) -> Mapping[DropReason, int]:
        """What was thrown away, by reason."""
        return self._drops

    def reopen(self) -> None:
        """Write anew what stands: the opening, or what was said last in the session.

        For each time that a room is entered anew: entering makes it forget what we left, and so does a rendezvous that
        begins anew. The other side then answers as it stands. Whom we asked before is forgotten.
        """
        self._is_due = self._is_reopened = True
        self._inquiry = _Inquiry()

    def say(self, said: bytes) -> None:
        """Say something in this session. What is said later makes what was said before out of date.

        Raises:
            LocalProtocolError: Before `Met`, or more than `MAX_SAID` bytes.
        """
        if self._session is None:
            raise LocalProtocolError("nobody is there to hear it")
        if len(said) > MAX_SAID:
            raise LocalProtocolError(f"{len(said)} bytes can't be said at once, {MAX_SAID} can")
        self._session.said = said
        self._session.revision += 1
        self._is_due = True

    def receive_message(self, message: bytes) -> None:
        """Take what a rendezvous brought. Never raises: what isn't authentic and new is dropped."""
        try:
            missive = open_missive(self._opening_key, message)
        except (MalformedPacket, AuthenticationFailed) as error:
            is_malformed = isinstance(error, MalformedPacket)
            self._drops[DropReason.MALFORMED if is_malformed else DropReason.UNAUTHENTIC] += 1
            return
        if (reason := self._take(missive)) is not None:
            self._drops[reason] += 1

    def next_message(self) -> bytes | None:
        """Return the next message for the rendezvous. There is one from the beginning: the opening."""
        if self._is_due:
            missive = self._state()
            self._is_due = self._is_reopened = False
        elif question := self._inquiry.next_question():
            missive = Missive(self._own, self._serial + 1, *question, asks=True)
        else:
            return None
        self._serial += 1
        return seal_missive(self._sealing_key, missive, self._random_bytes)

    def next_event(self) -> ConversationEvent | None:
        """Return the next thing that happened."""
        return self._events.popleft() if self._events else None

    def _state(self) -> Missive:
        """Write what stands: that we are there, or all that the session's other side has to know."""
        if (session := self._session) is None:
            return Missive(self._own, self._serial + 1, asks=True)
        return Missive(
            self._own,
            self._serial + 1,
            recipient=session.peer,
            seen=session.seen,
            revision=session.revision,
            said=session.said,
            asks=self._is_reopened,
        )

    def _take(self, missive: Missive) -> DropReason | None:
        """Take an authentic missive, or tell why not."""
        if missive.sender in self._retired:
            return DropReason.RETIRED
        if self._session is not None and missive.sender == self._session.peer:
            return self._go_on(self._session, missive)
        if missive.recipient == self._own and missive.seen >= self._floor:
            return self._begin(missive)
        return self._inquiry.ask(missive, names_us=missive.recipient == self._own)

    def _begin(self, missive: Missive) -> DropReason | None:
        """Begin a session with an incarnation that has shown that it is the latest."""
        if self._session is not None:
            self._retired.append(self._session.peer)
        self._session = session = _Session(missive.sender, missive.serial, missive.serial)
        self._floor = self._serial + 1
        self._inquiry = self._inquiry.without(missive.sender)
        self._is_due = True
        self._events += [Met(self._session_id(session.peer)), Confirmed()]
        self._hear(session, missive)
        return None

    def _go_on(self, session: _Session, missive: Missive) -> DropReason | None:
        """Take what the session's other side wrote. Whomever it asks for, it is answered: it may not know of us."""
        is_later = missive.serial > session.seen
        session.seen = max(session.seen, missive.serial)
        if is_question := missive.asks and missive.serial > session.answered:
            session.answered = missive.serial
            self._is_due = True
        is_heard = missive.recipient == self._own and self._hear(session, missive)
        if is_question or is_heard:
            return None
        if missive.recipient not in (self._own, ANYBODY):
            return DropReason.FOREIGN
        return None if is_later else DropReason.REPEATED

    def _hear(self, session: _Session, missive: Missive) -> bool:
        """Hear what is said, if it is later than all that was heard; tell whether it is."""
        if missive.revision <= session.heard:
            return False
        session.heard = missive.revision
        self._events.append(Heard(missive.said))
        return True

    def _session_id(self, peer: bytes) -> bytes:
        pair = (self._own, peer) if self._kind is Kind.OFFER else (peer, self._own)
        return hash_of(_PROTOCOL + b"session", *pair)[:SESSION_ID_SIZE]


@dataclass(slots=True)
class _Session:
    """The other side's incarnation, and how far we are with it.

    Attributes:
        seen: Its highest serial that came.
        answered: Its latest missive that asked, or that began the session: what we write since then is the answer.
        heard: The revision heard last.
        revision: That of what we said last; 0 before that.
    """

    peer: bytes
    seen: int
    answered: int
    heard: int = 0
    revision: int = 0
    said: bytes = b""


class _Inquiry:
    """Whom we ask whether they are there, and how many questions that takes.

    Those who name our incarnation have a bound of their own: there are as many as the other side began lives during
    ours, and no more of them in any recording. So a flood of older ones doesn't keep us from asking them.
    """

    def __init__(self) -> None:
        self._asked: dict[bytes, int] = {}  # senders, and the missive of theirs that made us ask
        self._spent = {True: 0, False: 0}
        self._waiting: dict[bytes, int] = {}

    def ask(self, missive: Missive, names_us: bool) -> DropReason | None:
        """Let its sender be asked, or tell why not."""
        before = self._asked.get(missive.sender, 0)
        if before and not (missive.asks and missive.serial > before):
            return DropReason.ASKED
        if self._spent[names_us] >= MAX_QUESTIONS:
            return DropReason.FLOODED
        self._spent[names_us] += 1
        self._asked[missive.sender] = self._waiting[missive.sender] = missive.serial
        return None

    def next_question(self) -> tuple[bytes, int] | None:
        """Return who is to be asked next, and which of its missives we have seen."""
        return self._waiting.popitem() if self._waiting else None

    def without(self, sender: bytes) -> _Inquiry:
        """Return what remains to be asked once the sender was found to be there."""
        rest = _Inquiry()
        rest._waiting = {each: serial for each, serial in self._waiting.items() if each != sender}
        return rest


def _derive(secret: bytes, purpose: bytes) -> bytes:
    if len(secret) != SECRET_SIZE:
        raise LocalProtocolError(f"a shared secret has {SECRET_SIZE} bytes, not {len(secret)}")
    return hkdf(secret, _PROTOCOL + purpose, 2)[0]
