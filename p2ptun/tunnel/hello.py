"""What the two handshake messages carry inside: features, AEADs, session index, and the proof of being fresh.

MessagePack arrays; elements that a newer version appends are ignored. Both payloads are part of the transcript, so
nobody in between can strike out an algorithm or a feature.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import Annotated

import msgspec

from p2ptun.aead.algorithm import Algorithm
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.msgpack import read_untrusted

BINDER_SIZE = 16


class Feature(IntFlag):
    """What a version can do beyond bundles and control messages. Both sides must offer a feature for it to be used."""

    NONE = 0
    SEGMENT = 1  # slices of super-packets; no version offers it yet


OUR_FEATURES = Feature.NONE

_Index = Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)]
_Features = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
_Name = Annotated[str, msgspec.Meta(max_length=24)]


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """In the initiation: what the initiator can do, AEADs in order of preference.

    `binder` is a secret of the newest session that the initiator remembers, empty when it remembers none: it proves
    that the initiation was made after that session.
    """

    index: _Index
    features: _Features
    algorithms: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=8)]
    binder: Annotated[bytes, msgspec.Meta(max_length=BINDER_SIZE)] = b""


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """In the response: what the responder picked of the offer."""

    index: _Index
    features: _Features
    algorithm: _Name


_encoder = msgspec.msgpack.Encoder()
_offer_decoder = msgspec.msgpack.Decoder(Offer)
_choice_decoder = msgspec.msgpack.Decoder(Choice)


def make_offer(index: SessionIndex, algorithms: Iterable[Algorithm], binder: bytes) -> Offer:
    """Offer everything that we can do."""
    return Offer(index, OUR_FEATURES, tuple(algorithm.value for algorithm in algorithms), binder)


def choose(offer: Offer, ours: Iterable[Algorithm]) -> Algorithm | None:
    """Pick the AEAD that the initiator prefers of those which we accept; None when there is none.

    Whoever has no AES instructions offers and accepts chacha20-poly1305 alone, unless somebody configured otherwise;
    so both ends need them for an AES-based one to be picked.
    """
    accepted = {algorithm.value: algorithm for algorithm in ours}
    return next((accepted[name] for name in offer.algorithms if name in accepted), None)


def encode_hello(hello: Offer | Choice) -> bytes:
    """Write either payload."""
    return _encoder.encode(hello)


def decode_offer(payload: bytes) -> Offer:
    """Read the initiator's payload. Raises MalformedPacket."""
    return read_untrusted(_offer_decoder, payload, "offer")


def decode_choice(payload: bytes) -> Choice:
    """Read the responder's payload. Raises MalformedPacket."""
    return read_untrusted(_choice_decoder, payload, "choice")
