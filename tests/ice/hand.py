"""The other side of an agent, played by hand: what it says is made here from the STUN codec, right or wrong as told."""

from __future__ import annotations

from collections.abc import Iterable

from p2ptun.ice.agent import Agent
from p2ptun.ice.candidate import Candidate
from p2ptun.ice.config import AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.event import Event, PairSelected
from p2ptun.ice.pair import PairSnapshot
from p2ptun.ice.role import Role
from p2ptun.stun.attribute import (
    ERROR_CODE,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import HMAC_SHA1, Integrity, short_term_key
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.types import Endpoint, Transmit
from tests.sim.network import START, at

from .material import host, random_bytes_from

BASE, PEER, OTHER_PEER, STRANGER = (at(text) for text in ("10.0.0.1:1", "192.0.2.1:2", "192.0.2.2:2", "198.51.100.7:7"))
THEIRS = Credentials("theirs", "their/password/0123456")
OUR_TIE_BREAKER = 5


class Duel:
    """One agent of ours, which hears and sees only what the test lets it."""

    def __init__(
        self, role: Role = Role.CONTROLLING, *bases: str, config: AgentConfig | None = None, has_servers: bool = False
    ) -> None:
        """Begin with one socket unless others are named; `has_servers` leaves gathering open."""
        draw = random_bytes_from(1)
        self.now = START
        self.agent = Agent(config or AgentConfig(), Credentials.generate(draw), role, OUR_TIE_BREAKER, draw)
        self.ours = self.agent.local_credentials
        self.events: list[Event] = []
        self._count = 0
        for base in bases or (str(BASE),):
            self.agent.add_local_address(at(base), self.now)
        if not has_servers:
            self.agent.end_of_servers(self.now)

    # What signalling carries

    def meet(self, *remotes: Candidate | str, is_all: bool = True) -> None:
        """Tell our agent about the other side; a text is the address of a host candidate."""
        self.agent.set_remote_credentials(THEIRS, self.now)
        for remote in remotes:
            self.agent.add_remote_candidate(host(remote) if isinstance(remote, str) else remote, self.now)
        if is_all:
            self.agent.end_of_remote_candidates(self.now)

    # What our agent sends

    def take(self) -> list[tuple[Message, Transmit]]:
        """Take what our agent wants sent now, decoded, and its events."""
        found = []
        while (packet := self.agent.next_transmit()) is not None:
            found.append((decode_message(packet.payload), packet))
        while (event := self.agent.next_event()) is not None:
            self.events.append(event)
        return found

    def wait(self, seconds: float) -> list[tuple[Message, Transmit]]:
        """Let time pass, from deadline to deadline; take everything that goes out meanwhile."""
        end, found = self.now + seconds, self.take()
        while (due := self.agent.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.agent.handle_timeout(self.now)
            found += self.take()
        self.now = end
        self.agent.handle_timeout(end)
        return found + self.take()

    def checks(self, seconds: float = 0.0) -> list[tuple[Message, Transmit]]:
        """The same, requests only."""
        return requests(self.wait(seconds))

    def first_check(self, destination: Endpoint = PEER, seconds: float = 0.5) -> tuple[Message, Transmit]:
        """Give the first check that goes to `destination`."""
        return next(item for item in self.checks(seconds) if item[1].destination == destination)

    # What the other side sends

    def hear(self, data: bytes, source: Endpoint = PEER, base: Endpoint = BASE) -> list[tuple[Message, Transmit]]:
        """Let a datagram come in; take what goes out at once."""
        self.agent.receive_datagram(data, source, base, self.now)
        return self.take()

    def request(
        self, role: Role, *attributes: AttributeValue, tie_breaker: int = 1, nominates: bool = False, priority: int = 99
    ) -> Message:
        """Make a check of the other side."""
        self._count += 1
        role_attribute = ICE_CONTROLLING if role is Role.CONTROLLING else ICE_CONTROLLED
        said: list[AttributeValue] = [(USERNAME, f"{self.ours.ufrag}:{THEIRS.ufrag}"), (PRIORITY, priority)]
        said += [(role_attribute, tie_breaker), *attributes]
        if nominates:
            said.append((USE_CANDIDATE, True))
        return Message(
            Method.BINDING, MessageClass.REQUEST, TransactionId(self._count.to_bytes(12, "big")), tuple(said)
        )

    def ask(
        self,
        source: Endpoint = PEER,
        base: Endpoint = BASE,
        role: Role | None = None,
        tie_breaker: int = 1,
        nominates: bool = False,
    ) -> list[tuple[Message, Transmit]]:
        """Let the other side check us, in the role that ours is not; take what goes out at once."""
        request = self.request(role or self.agent.role.opposite, tie_breaker=tie_breaker, nominates=nominates)
        return self.hear(sealed(request, self.ours.password), source, base)

    def answer(
        self,
        check: tuple[Message, Transmit],
        seen: Endpoint | None = None,
        source: Endpoint | None = None,
        base: Endpoint | None = None,
        password: str = THEIRS.password,
    ) -> list[tuple[Message, Transmit]]:
        """Let the other side answer a check; without more words, as it should."""
        request, packet = check
        reply = success_response(request, (XOR_MAPPED_ADDRESS, seen or packet.source))
        return self.hear(sealed(reply, password), source or packet.destination, base or packet.source)

    def refuse(self, check: tuple[Message, Transmit], code: Code) -> list[tuple[Message, Transmit]]:
        request, packet = check
        return self.hear(sealed(error_response(request, code), THEIRS.password), packet.destination, packet.source)

    def pair(self, destination: Endpoint = PEER, base: Endpoint = BASE) -> PairSnapshot:
        return next(pair for pair in self.agent.pairs if (pair.base, pair.destination) == (base, destination))

    @property
    def selections(self) -> list[PairSelected]:
        return [event for event in self.events if isinstance(event, PairSelected)]


def sealed(message: Message, password: str) -> bytes:
    return encode_message(message, Integrity(HMAC_SHA1, short_term_key(password)))


def requests(items: Iterable[tuple[Message, Transmit]]) -> list[tuple[Message, Transmit]]:
    return [item for item in items if item[0].message_class is MessageClass.REQUEST]


def responses(items: Iterable[tuple[Message, Transmit]]) -> list[tuple[Message, Transmit]]:
    return [item for item in items if item[0].is_response]


def code_of(message: Message) -> int:
    """Give the code of an error response; 0 for a success."""
    error = message.get(ERROR_CODE)
    return error.code if error is not None else 0
