"""What those who carry the messages of a conversation get to see: nothing of what is in them.

Everything that ever crosses is kept, and searched for everything that is said or secret, in the forms in which it could
stand there: as it is, in hexadecimal digits, and in base64 of both alphabets, wherever in a longer text it began.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final, Literal

import pytest

from p2ptun.ice.candidate import Candidate
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.primitive import diffie_hellman
from p2ptun.signal.code import Code
from p2ptun.signal.conversation import Confirmed, Conversation, Heard, Met
from p2ptun.signal.description import Kind, encode_description
from p2ptun.signal.letter import Letter, encode_letter
from p2ptun.signal.pairing import CodeConversation
from p2ptun.signal.pinned import PinnedConversation, room_name, side_token, static_secret
from p2ptun.tunnel.control import IceCredentials, IceDescription
from tests.signal.parties import events_of, messages_of
from tests.signal.sample import make_description

ENDIAN: Final[tuple[Literal["big", "little"], ...]] = ("big", "little")

Crossing = tuple[bytes, dict[str, bytes]]
"""All that crossed, and by name what must not be in it."""


def describe(kind: Kind, seed: int, public_key: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Write a letter as a daemon does; return it and everything in it that is nobody else's business."""
    description = replace(make_description(kind, seed), public_key=public_key)
    credentials = description.credentials
    state = IceDescription(1, 0, IceCredentials(0, credentials.ufrag, credentials.password), None, (), True, 0)
    letter = encode_letter(Letter(description, state))
    private = {
        "ufrag": credentials.ufrag.encode(),
        "packed ufrag": base64.b64decode(credentials.ufrag),
        "password": credentials.password.encode(),
        "packed password": base64.b64decode(credentials.password),
        "public key": public_key,
        "session id": description.session_id,
        "description": encode_description(description),
    }
    addresses = [each.endpoint.address for each in description.candidates if isinstance(each, Candidate)]
    private |= {f"packed {address}": address.packed for address in addresses}
    assert found((letter, private)) == set(private), "all of it is said"
    private |= {str(address): str(address).encode() for address in addresses}
    return letter, {f"{kind.value}'s {name}": value for name, value in private.items()}


def converse(sides: tuple[Conversation, Conversation], said: list[bytes]) -> tuple[bytes, list[Confirmed]]:
    """Carry everything; each says what it has to say when it meets the other. Return all that crossed."""
    crossed: list[bytes] = []
    confirmed: list[Confirmed] = []
    heard = 0
    while messages := [(listener, message) for listener in (1, 0) for message in messages_of(sides[1 - listener])]:
        for listener, message in messages:
            crossed.append(message)
            sides[listener].receive_message(message)
            for event in events_of(sides[listener]):
                if isinstance(event, Met):
                    sides[listener].say(said[listener])
                elif isinstance(event, Confirmed):
                    confirmed.append(event)
                elif event == Heard(said[1 - listener]):
                    heard += 1
    assert heard == len(confirmed)
    return b"|".join(crossed), confirmed


def by_code(seed: int, guess: int = 0) -> Crossing:
    """Let two meet by a code, or one with another who guesses."""
    random = Random(seed)
    code = Code(42, random.getrandbits(28))
    descriptions = [describe(kind, seed, KeyPair.generate(random.randbytes).public) for kind in Kind]
    sharer = CodeConversation(Kind.OFFER, code, random.randbytes)
    joiner = CodeConversation(Kind.ANSWER, Code(42, code.secret ^ guess), random.randbytes)
    crossed, confirmed = converse((sharer, joiner), [letter for letter, _ in descriptions])
    assert len(confirmed) == (0 if guess else 2)
    private = {f"word {number}": word.encode() for number, word in enumerate(str(code).split("-")[1:])}
    private |= {"code": str(code).encode(), "its password": code.password}
    private |= {f"code, {order}-endian": code.secret.to_bytes(4, order) for order in ENDIAN}
    for event in confirmed:
        private |= {source.name: secret for source, secret in event.secrets.items()}
        private |= {"standing secret": event.standing_secret}
        private |= {"verifier": " ".join(event.verifier).encode(), "a word of it": event.verifier[0].encode()}
    return crossed, private | descriptions[0][1] | descriptions[1][1]


def by_keys(seed: int) -> Crossing:
    """Let two meet that know each other's keys. Who carries it knows the name of the room and the tokens, too."""
    random = Random(seed)
    low, high = sorted((KeyPair.generate(random.randbytes) for _ in Kind), key=lambda pair: pair.public)
    secret = static_secret(low, high.public)
    descriptions = [describe(kind, seed, pair.public) for kind, pair in zip(Kind, (low, high), strict=True)]
    offer, answer = (PinnedConversation(secret, kind, random.randbytes) for kind in Kind)
    crossed, confirmed = converse((offer, answer), [letter for letter, _ in descriptions])
    assert len(confirmed) == 2
    tokens = [side_token(secret, kind) for kind in Kind]
    known = [room_name(secret).encode(), bytes.fromhex(room_name(secret))]
    known += [form for token in tokens for form in (token.encode(), base64.urlsafe_b64decode(token + "="))]
    private = {"secret": secret, "agreed upon": diffie_hellman(low.private, high.public)}
    private |= {"a private key": low.private, "the other one": high.private}
    private |= {"a sealing key": offer._sealing_key, "the other": answer._sealing_key}
    return b"|".join([crossed, *known]), private | descriptions[0][1] | descriptions[1][1]


def forms(needle: bytes) -> Iterator[bytes]:
    """Yield the forms in which bytes may stand inside others."""
    yield needle
    yield needle.hex().encode()
    yield needle.hex().upper().encode()
    for before in range(3):
        whole = slice((before * 8 + 5) // 6, (before + len(needle)) * 8 // 6)  # characters with bits of it alone
        for alphabet in (b"+/", b"-_"):
            yield base64.b64encode(bytes(before) + needle, alphabet)[whole]


def found(crossing: Crossing) -> set[str]:
    """Name what can be found in what crossed."""
    crossed, private = crossing
    return {name for name, needle in private.items() if any(form in crossed for form in forms(needle))}


@pytest.mark.parametrize("run", [by_code, partial(by_code, guess=1), by_keys], ids=["code", "guess", "keys"])
def test_who_carries_it_learns_nothing(run: Callable[[int], Crossing]) -> None:
    # What shows by mistake shows each time. By chance, some four bytes show in one run of many thousands.
    crossings = [run(seed) for seed in (1, 2)]
    assert not set.intersection(*map(found, crossings))
    assert crossings[0][1].keys() == crossings[1][1].keys()
    assert all(crossed for crossed, _ in crossings)


def test_the_search_finds_what_is_there() -> None:
    secret, around = bytes(range(200, 220)), b"what stands around it"
    for before in range(3):
        text = around[:before] + secret + around
        shown = [text, text.hex().encode(), text.hex().upper().encode()]
        shown += [base64.b64encode(text), base64.urlsafe_b64encode(text)]
        for each in shown:
            assert found((around + b"|" + each + around, {"it": secret})) == {"it"}
    assert found((around, {"it": secret})) == set()
