from __future__ import annotations

import msgspec
import pytest

from p2ptun.errors import MalformedPacket
from p2ptun.tunnel.msgpack import read_untrusted

TEXTS = msgspec.msgpack.Decoder(list[str])
ANYTHING = msgspec.msgpack.Decoder()


def test_what_is_right() -> None:
    assert read_untrusted(TEXTS, b"\x91\xa2hi", "greeting") == ["hi"]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"", "DecodeError"),
        (b"\x91", "DecodeError"),
        (b"\x91\x05", "ValidationError"),
        (b"\x91\xa2\xff\xfe", "UnicodeDecodeError"),
    ],
)
def test_what_is_wrong(payload: bytes, error: str) -> None:
    with pytest.raises(MalformedPacket, match=f"^greeting: {error}$"):
        read_untrusted(TEXTS, payload, "greeting")


def test_depth() -> None:
    with pytest.raises(MalformedPacket, match="RecursionError"):
        read_untrusted(ANYTHING, b"\x91" * 100_000, "greeting")
