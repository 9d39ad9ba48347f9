"""A hostile peer, whose messages are sealed as they should be: nothing that it says makes an agent raise or grow."""

from __future__ import annotations

import random

from p2ptun.ice.agent import Agent
from p2ptun.ice.config import AgentConfig, RemoteOptions
from p2ptun.ice.credential import Credentials
from p2ptun.ice.role import Role
from p2ptun.stun.attribute import (
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    NOMINATION,
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

BASE = Endpoint.of("192.0.2.1", 1)
SOURCES = [Endpoint.of(f"198.51.100.{number}", number) for number in range(1, 9)]
THEIRS = Credentials("peer", "p" * 22)
CODES = (Code.BAD_REQUEST, Code.FORBIDDEN, Code.ROLE_CONFLICT)
NUMBERS = (0, 1, 5, (1 << 24) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 2, (1 << 32) - 1)
WAITS = (0.0, 0.05, 0.5, 3.0, 20.0, 31.0)


def test_one_input(data: bytes) -> None:
    """Read a game from the bytes, three for each move of the peer or of time."""
    draw = random.Random(1).randbytes
    agent = Agent(AgentConfig(), Credentials("ours", "o" * 22), Role.CONTROLLED, 7, draw)
    now = 1000.0
    agent.add_local_address(BASE, now)
    agent.set_remote_options(RemoteOptions(has_renomination=True), now)
    agent.set_remote_credentials(THEIRS, now)
    asked: list[Transmit] = []
    for at in range(0, min(len(data), 300) - 2, 3):
        kind, one, other = data[at : at + 3]
        source = SOURCES[one % 8]
        if kind % 4 == 0:
            now += WAITS[one % len(WAITS)]
            agent.handle_timeout(now)
        elif kind % 4 == 1 and asked:
            agent.receive_datagram(
                _answer(asked[one % len(asked)], other), asked[one % len(asked)].destination, BASE, now
            )
        else:
            names = (agent.local_credentials, agent.next_credentials)
            agent.receive_datagram(_check(names[one >> 7], one, other), source, BASE, now)
        asked = [*asked, *_drain(agent)][-16:]
        due = agent.next_timeout()
        assert due is None or due >= now
        assert len(agent.remote_candidates) <= 64
        assert len(agent.local_ufrags) <= 4


def _check(ours: Credentials, one: int, other: int) -> bytes:
    role = ICE_CONTROLLING if one & 8 else ICE_CONTROLLED
    said: list[AttributeValue] = [(USERNAME, f"{ours.ufrag}:{THEIRS.ufrag}"), (PRIORITY, NUMBERS[other & 7])]
    said.append((role, 1 if one & 16 else (1 << 64) - 1))
    if one & 32:
        said.append((USE_CANDIDATE, True))
    if one & 64:
        said.append((NOMINATION, NUMBERS[other >> 3 & 7]))
    return _sealed(Message(Method.BINDING, MessageClass.REQUEST, TransactionId(bytes(12)), tuple(said)), ours.password)


def _answer(asked: Transmit, other: int) -> bytes:
    request = decode_message(asked.payload)
    if other >= 200:
        return _sealed(error_response(request, CODES[other % len(CODES)]), THEIRS.password)
    return _sealed(success_response(request, (XOR_MAPPED_ADDRESS, SOURCES[other % 8])), THEIRS.password)


def _sealed(message: Message, password: str) -> bytes:
    return encode_message(message, Integrity(HMAC_SHA1, short_term_key(password)))


def _drain(agent: Agent) -> list[Transmit]:
    """Take everything; give the questions, whose first byte is that of a request."""
    while agent.next_event() is not None:
        pass
    found = []
    while (transmit := agent.next_transmit()) is not None:
        found.append(transmit)
    return [each for each in found if each.payload[0] == 0]
