"""A key as people may mistype it: only ConfigError, which never quotes it, and what was read is written the same."""

from __future__ import annotations

from p2ptun.errors import ConfigError
from p2ptun.noise.keypair import decode_key, encode_key


def test_one_input(data: bytes) -> None:
    assert decode_key(encode_key(data[:32].ljust(32))) == data[:32].ljust(32)
    text = data.decode(errors="replace")
    try:
        key = decode_key(text)
    except ConfigError:
        return
    assert encode_key(key) == text.strip()
