"""Handshake patterns as data (Noise 7 and 9): who sends which tokens in which message."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from p2ptun.errors import LocalProtocolError


class Token(Enum):
    """One step of a message pattern (Noise 7.1, 9.2). In a DH token the initiator's key comes first."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    SS = "ss"
    PSK = "psk"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A handshake: whether the initiator knows the responder before it, and the messages in turn, its own first."""

    name: str
    responder_is_known: bool
    messages: tuple[tuple[Token, ...], ...]

    @property
    def protocol_name(self) -> bytes:
        """The name that the transcript starts from (Noise 8)."""
        return f"Noise_{self.name}_25519_ChaChaPoly_BLAKE2s".encode("ascii")

    @property
    def psk_count(self) -> int:
        """How many pre-shared keys it mixes in."""
        return sum(message.count(Token.PSK) for message in self.messages)


def _messages(*lines: str) -> tuple[tuple[Token, ...], ...]:
    return tuple(tuple(Token(word) for word in line.split()) for line in lines)


# Noise 7.5. The tunnel speaks IKpsk2; XX transmits both static keys, its vectors hold the machine to more.
FUNDAMENTAL = {
    pattern.name: pattern
    for pattern in (
        Pattern("XX", False, _messages("e", "e ee s es", "s se")),
        Pattern("IK", True, _messages("e es s ss", "e ee se")),
    )
}

_NAME = re.compile(r"(?P<base>[A-Z]+)(?:psk(?P<place>\d))?")


def pattern_of(name: str) -> Pattern:
    """Return the pattern called `name`, a fundamental one with at most one psk modifier (Noise 9.4).

    psk0 stands before the first message's tokens, pskN after those of message N.

    Raises:
        LocalProtocolError: If the name isn't known.
    """
    match = _NAME.fullmatch(name)
    base = FUNDAMENTAL.get(match["base"]) if match else None
    if match is None or base is None:
        raise LocalProtocolError(f"no handshake pattern is called {name!r}")
    if match["place"] is None:
        return base
    place = int(match["place"])
    if place > len(base.messages):
        raise LocalProtocolError(f"{base.name} has no message for psk{place}")
    messages = list(base.messages)
    if place == 0:
        messages[0] = (Token.PSK, *messages[0])
    else:
        messages[place - 1] = (*messages[place - 1], Token.PSK)
    return replace(base, name=name, messages=tuple(messages))


IK_PSK2 = pattern_of("IKpsk2")
