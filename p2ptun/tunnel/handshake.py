"""Noise_IKpsk2 with our payloads: from two datagrams to a transport keypair on each side."""

from __future__ import annotations

from dataclasses import dataclass

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.key import Key
from p2ptun.errors import AuthenticationFailed, MalformedPacket, RemoteProtocolError
from p2ptun.noise.handshake import HandshakeState
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.pattern import IK_PSK2
from p2ptun.tunnel.config import SessionConfig
from p2ptun.tunnel.hello import (
    BINDER_SIZE,
    OUR_FEATURES,
    Choice,
    Offer,
    decode_choice,
    decode_offer,
    encode_hello,
    make_offer,
)
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.wire import Initiation, MessageType, Response, encode_body
from p2ptun.types import RandomBytes

PROLOGUE = b"p2ptun/1"


@dataclass(frozen=True, slots=True)
class Birth:
    """When a keypair came to be, when use of it wants a successor, and whether its initiation was bound."""

    created_at: float
    rekey_at: float
    is_bound: bool = True


class InitiatorHandshake:
    """Our initiation and what reads the response to it."""

    def __init__(self, config: SessionConfig, index: SessionIndex, binder: bytes, random_bytes: RandomBytes) -> None:
        self.index = index
        self._config = config
        self._noise = _noise(config, True, random_bytes)
        offer = make_offer(index, config.algorithms, binder)
        self.body = encode_body(MessageType.INITIATION, index, self._noise.write_message(encode_hello(offer)))

    def read_response(self, response: Response) -> Choice:
        """Authenticate a response and return what the responder chose.

        Raises:
            AuthenticationFailed: a forgery, which changes nothing; or a second response.
            MalformedPacket: the Noise message is cut, or an authentic peer chose what we never offered.
        """
        if self._noise.is_finished:
            raise AuthenticationFailed("this initiation was answered before")
        choice = decode_choice(self._noise.read_message(response.noise))
        if choice.algorithm not in {algorithm.value for algorithm in self._config.algorithms}:
            raise MalformedPacket("an algorithm that we didn't offer")
        if choice.features & ~OUR_FEATURES:
            raise MalformedPacket("a feature that we didn't offer")
        return choice

    def keypair(self, choice: Choice, birth: Birth) -> Keypair:
        """Make the keypair and wipe the handshake."""
        remote_index = SessionIndex(choice.index)
        return _keypair(self._noise, True, Algorithm(choice.algorithm), self.index, remote_index, birth)

    def wipe(self) -> None:
        """Zero the ephemeral key and the chaining key."""
        self._noise.wipe()


class ResponderHandshake:
    """An initiation that proved authentic, and the response to it."""

    def __init__(self, config: SessionConfig, initiation: Initiation, random_bytes: RandomBytes) -> None:
        """Authenticate `initiation`.

        Raises:
            AuthenticationFailed: a forgery, or another static key than the peer's.
            MalformedPacket: cut, or the index in the clear isn't the authenticated one.
        """
        self._noise = _noise(config, False, random_bytes)
        try:
            self.offer: Offer = decode_offer(self._noise.read_message(initiation.noise))
            if self.offer.index != initiation.sender:
                raise MalformedPacket("two different indices in one initiation")
        except RemoteProtocolError:
            self.wipe()
            raise

    def respond(self, index: SessionIndex, algorithm: Algorithm) -> bytes:
        """Build the response but for its mac1."""
        choice = Choice(index, self.offer.features & OUR_FEATURES, algorithm.value)
        return encode_body(
            MessageType.RESPONSE, SessionIndex(self.offer.index), self._noise.write_message(encode_hello(choice))
        )

    def keypair(self, index: SessionIndex, algorithm: Algorithm, birth: Birth) -> Keypair:
        """Make the keypair and wipe the handshake."""
        return _keypair(self._noise, False, algorithm, index, SessionIndex(self.offer.index), birth)

    def wipe(self) -> None:
        """Zero the ephemeral key and the chaining key."""
        self._noise.wipe()


def _noise(config: SessionConfig, is_initiator: bool, random_bytes: RandomBytes) -> HandshakeState:
    return HandshakeState(
        IK_PSK2,
        is_initiator,
        PROLOGUE + config.context,
        s=config.static,
        rs=config.remote_static,
        psks=[config.psk],
        e=KeyPair.generate(random_bytes),
    )


def _keypair(
    noise: HandshakeState,
    is_initiator: bool,
    algorithm: Algorithm,
    local_index: SessionIndex,
    remote_index: SessionIndex,
    birth: Birth,
) -> Keypair:
    """Derive two keys of the algorithm's size from the finished handshake, each by its own label."""
    from_initiator, from_responder = (
        Key(algorithm, noise.derive(b"p2ptun/1 %s %s" % (algorithm.value.encode(), side), algorithm.key_size))
        for side in (b"initiator", b"responder")
    )
    binder = noise.derive(b"p2ptun/1 binder", BINDER_SIZE)
    noise.wipe()
    return Keypair(
        send_key=from_initiator if is_initiator else from_responder,
        receive_key=from_responder if is_initiator else from_initiator,
        local_index=local_index,
        remote_index=remote_index,
        binder=binder,
        is_initiator=is_initiator,
        is_bound=birth.is_bound,
        created_at=birth.created_at,
        rekey_at=birth.rekey_at,
    )
