from __future__ import annotations

import pytest

from p2ptun.aead.algorithm import Algorithm
from p2ptun.errors import AuthenticationFailed, MalformedPacket, RemoteProtocolError
from p2ptun.noise.handshake import HandshakeState
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.pattern import IK_PSK2
from p2ptun.tunnel.config import SessionConfig
from p2ptun.tunnel.handshake import PROLOGUE, Birth, InitiatorHandshake, ResponderHandshake
from p2ptun.tunnel.hello import Choice, Offer, decode_choice, encode_hello
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.wire import (
    FrameKind,
    Initiation,
    MessageType,
    Response,
    decode_initiation,
    decode_response,
    encode_body,
)
from tests.tunnel.world import GREATER, LESSER, config_of, key_pair, stream_of

INITIATOR, RESPONDER = config_of(LESSER, GREATER), config_of(GREATER, LESSER)
BIRTH = Birth(1000.0, 1120.0)
ONE, TWO = SessionIndex(1), SessionIndex(2)


def begin(config: SessionConfig = INITIATOR) -> InitiatorHandshake:
    return InitiatorHandshake(config, ONE, b"binder", stream_of("initiator"))


def initiation(body: bytes) -> Initiation:
    return decode_initiation(body + bytes(32))


def response(body: bytes) -> Response:
    return decode_response(body + bytes(16))


def answer(body: bytes, config: SessionConfig = RESPONDER) -> ResponderHandshake:
    return ResponderHandshake(config, initiation(body), stream_of("responder"))


def raw_noise(initiator: bool) -> HandshakeState:
    """Begin a handshake by hand, as a peer with other ideas would."""
    mine, theirs = (LESSER, GREATER) if initiator else (GREATER, LESSER)
    ephemeral = KeyPair.generate(stream_of("raw"))
    return HandshakeState(IK_PSK2, initiator, PROLOGUE, s=mine, rs=theirs.public, psks=[bytes(32)], e=ephemeral)


@pytest.mark.parametrize("algorithm", [Algorithm.AEGIS_128L, Algorithm.AEGIS_256, Algorithm.CHACHA20_POLY1305])
def test_both_ends_make_the_same_keys(algorithm: Algorithm) -> None:
    ours = InitiatorHandshake(config_of(LESSER, GREATER, algorithms=(algorithm,)), ONE, b"binder", stream_of("i"))
    theirs = answer(ours.body)
    assert theirs.offer == Offer(1, 0, (algorithm.value,), b"binder")
    choice = ours.read_response(response(theirs.respond(TWO, algorithm)))
    assert choice == Choice(2, 0, algorithm.value)
    mine, yours = ours.keypair(choice, BIRTH), theirs.keypair(TWO, algorithm, BIRTH)
    assert opens(mine, yours)
    assert opens(yours, mine)
    assert not opens(mine, mine)
    assert mine.binder == yours.binder
    assert len(mine.binder) == 16
    assert (mine.local_index, yours.local_index) == (1, 2)
    assert (mine.header, yours.header) == (0xD4000002, 0xD4000001)
    assert (mine.is_initiator, yours.is_initiator) == (True, False)
    assert mine.send_key.algorithm is algorithm


def test_both_ends_must_have_been_told_the_same() -> None:
    ours = InitiatorHandshake(config_of(LESSER, GREATER, context=b"terms"), ONE, b"", stream_of("i"))
    assert answer(ours.body, config_of(GREATER, LESSER, context=b"terms")).offer.index == ONE
    for other in (b"", b"other"):
        with pytest.raises(AuthenticationFailed):
            answer(ours.body, config_of(GREATER, LESSER, context=other))


def opens(sender: Keypair, receiver: Keypair) -> bool:
    counter = sender.next_counter
    datagram = sender.seal(b"payload", FrameKind.BUNDLE)
    try:
        return receiver.receive_key.open(datagram[12:], counter) == b"payload\x01"
    except AuthenticationFailed:
        return False


def test_finished_handshakes_are_wiped() -> None:
    ours = begin()
    theirs = answer(ours.body)
    choice = ours.read_response(response(theirs.respond(TWO, Algorithm.CHACHA20_POLY1305)))
    ours.keypair(choice, BIRTH)
    theirs.keypair(TWO, Algorithm.CHACHA20_POLY1305, BIRTH)
    for noise in (ours._noise, theirs._noise):
        assert noise._e.private == bytes(32)
        assert bytes(noise._symmetric.ck) == bytes(32)


def test_a_refused_initiation_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: list[object] = []
    monkeypatch.setattr(HandshakeState, "wipe", lambda state: wiped.append(state))
    with pytest.raises(AuthenticationFailed):
        answer(begin().body[:-1] + b"?")
    assert len(wiped) == 1
    begin().wipe()
    answer(begin().body).wipe()
    assert len(wiped) == 3


@pytest.mark.parametrize(
    "config",
    [
        config_of(key_pair("nobody"), LESSER),
        config_of(GREATER, key_pair("nobody")),
    ],
)
def test_other_keys_are_refused(config: SessionConfig) -> None:
    with pytest.raises(AuthenticationFailed):
        answer(begin().body, config)


def test_another_psk_is_refused_by_the_initiator() -> None:
    ours = begin()
    theirs = answer(ours.body, config_of(GREATER, LESSER, psk=b"x" * 32))
    with pytest.raises(AuthenticationFailed):
        ours.read_response(response(theirs.respond(TWO, Algorithm.CHACHA20_POLY1305)))


def test_the_index_in_the_clear_is_compared() -> None:
    body = begin().body
    with pytest.raises(MalformedPacket, match="two different"):
        answer(body[:3] + b"\x07" + body[4:])


def test_forged_responses_change_nothing() -> None:
    ours = begin()
    body = answer(ours.body).respond(TWO, Algorithm.CHACHA20_POLY1305)
    for at in range(4, len(body)):
        with pytest.raises(RemoteProtocolError):
            ours.read_response(response(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]))
    assert ours.read_response(response(body)).index == TWO
    with pytest.raises(AuthenticationFailed, match="before"):
        ours.read_response(response(body))


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        (encode_hello(Choice(2, 0, "aes-256-gcm")), "algorithm"),
        (encode_hello(Choice(2, 1, "chacha20-poly1305")), "feature"),
        (b"nonsense", "choice"),
    ],
)
def test_an_authentic_peer_may_still_talk_nonsense(choice: bytes, problem: str) -> None:
    ours = begin()
    noise = raw_noise(False)
    noise.read_message(initiation(ours.body).noise)
    with pytest.raises(MalformedPacket, match=problem):
        ours.read_response(response(encode_body(MessageType.RESPONSE, ONE, noise.write_message(choice))))


def test_features_that_we_dont_know_arent_chosen() -> None:
    noise = raw_noise(True)
    offer = encode_hello(Offer(1, 0xFFFFFFFF, ("chacha20-poly1305",)))
    theirs = answer(encode_body(MessageType.INITIATION, ONE, noise.write_message(offer)))
    assert theirs.offer.features == 0xFFFFFFFF
    body = theirs.respond(TWO, Algorithm.CHACHA20_POLY1305)
    assert decode_choice(noise.read_message(response(body).noise)) == Choice(2, 0, "chacha20-poly1305")
    assert len(body) < len(begin().body)


def test_an_offer_of_nonsense() -> None:
    with pytest.raises(MalformedPacket, match="offer"):
        answer(encode_body(MessageType.INITIATION, ONE, raw_noise(True).write_message(b"nonsense")))
