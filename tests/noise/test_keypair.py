from __future__ import annotations

import base64
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import ConfigError, LocalProtocolError
from p2ptun.noise.keypair import KeyPair, decode_key, encode_key
from p2ptun.noise.primitive import public_key


def test_generating_draws_32_bytes() -> None:
    pair = KeyPair.generate(Random(3).randbytes)
    assert pair.private == Random(3).randbytes(32)
    assert pair.public == public_key(pair.private)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_have_32_bytes(size: int) -> None:
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        KeyPair.of_private(bytes(size))
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        KeyPair(bytes(32), bytes(size))


def test_the_private_key_is_not_shown_and_can_be_wiped() -> None:
    pair = KeyPair.generate(Random(4).randbytes)
    assert repr(pair) == f"KeyPair(public={encode_key(pair.public)})"
    assert encode_key(pair.private) not in repr(pair)
    pair.wipe()
    assert pair.private == bytes(32)


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["", " ", "\n", "\t\r\n"]))
def test_keys_survive_being_written(key: bytes, space: str) -> None:
    text = encode_key(key)
    assert len(text) == 44
    assert decode_key(space + text + space) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kq3",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        base64.b64encode(bytes(32)).decode().rstrip("="),
        "A" * 42 + "B=",  # a second spelling of 32 zero bytes
        "A" * 21 + "\n" + "A" * 22 + "=",
        "A" * 21 + "*" + "A" * 21 + "=",
        "Ä" * 43 + "=",
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
    ],
)
def test_bad_keys_are_named_and_not_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode_key(text, "home.toml", "peer.public_key")
    assert caught.value.where == "home.toml"
    assert caught.value.key == "peer.public_key"
    assert str(caught.value).startswith("home.toml: peer.public_key: this is no key")
    assert caught.value.remedy
    assert not text or text not in str(caught.value)
