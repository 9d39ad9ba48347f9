"""MessagePack from a peer: one door, one error."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from p2ptun.errors import MalformedPacket

T = TypeVar("T")


def read_untrusted(decoder: msgspec.msgpack.Decoder[T], payload: bytes, what: str) -> T:
    """Decode `payload`, called `what` in the error.

    msgspec has more than one way to refuse: text that isn't UTF-8 and arrays nested too deep aren't its own errors.

    Raises:
        MalformedPacket: no MessagePack, or not what the decoder's type allows.
    """
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedPacket(f"{what}: {type(error).__name__}") from None
