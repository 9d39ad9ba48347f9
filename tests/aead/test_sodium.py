from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2ptun.aead import sodium
from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.sodium import NULL, Pointer, Primitive, pointer_into

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "aead" / "published.json").read_text())[
    "vectors"
]
NAMES = ["aegis128l", "aegis256", "aes256gcm", "chacha20poly1305_ietf"]
WAYS: dict[str, Callable[[str], Primitive]] = {"fast": sodium.primitive, "safe": sodium.safe_primitive}


@pytest.fixture(autouse=True)
def _fresh_self_tests() -> Iterator[None]:
    sodium.primitive.cache_clear()
    yield
    sodium.primitive.cache_clear()


def seal(primitive: Primitive, key: bytes, nonce: bytes, associated: bytes, plaintext: bytes) -> bytes:
    out = bytearray(len(plaintext) + primitive.tag_size)
    raw = [bytearray(data) for data in (plaintext, associated, nonce, key)]
    plain, ad, npub, k = (pointer_into(data) for data in raw)
    result = primitive.encrypt(pointer_into(out), NULL, plain, len(plaintext), ad, len(associated), NULL, npub, k)
    assert result == 0
    return bytes(out)


def unseal(primitive: Primitive, key: bytes, nonce: bytes, associated: bytes, ciphertext: bytes) -> bytes | None:
    out = bytearray(len(ciphertext) - primitive.tag_size)
    raw = [bytearray(data) for data in (ciphertext, associated, nonce, key)]
    sealed, ad, npub, k = (pointer_into(data) for data in raw)
    result = primitive.decrypt(pointer_into(out), NULL, NULL, sealed, len(ciphertext), ad, len(associated), npub, k)
    return bytes(out) if result == 0 else None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["source"]))
def test_published_vectors(vector: dict[str, str], way: str) -> None:
    if vector["algorithm"] == "aes-256-gcm" and not sodium.has_aes():
        pytest.skip("needs a CPU with AES instructions")
    key, nonce, associated, plaintext, ciphertext = (
        bytes.fromhex(vector[name]) for name in ("key", "nonce", "associated", "plaintext", "ciphertext")
    )
    primitive = WAYS[way](NAMES[[algorithm.value for algorithm in Algorithm].index(vector["algorithm"])])
    assert (len(key), len(nonce)) == (primitive.key_size, primitive.nonce_size)
    assert seal(primitive, key, nonce, associated, plaintext) == ciphertext
    assert unseal(primitive, key, nonce, associated, ciphertext) == plaintext
    for at in range(len(ciphertext)):
        forged = ciphertext[:at] + bytes([ciphertext[at] ^ 0x80]) + ciphertext[at + 1 :]
        assert unseal(primitive, key, nonce, associated, forged) is None
    assert unseal(primitive, key, nonce, associated + b"x", ciphertext) is None


def test_every_algorithm_has_vectors() -> None:
    assert {vector["algorithm"] for vector in VECTORS} == {algorithm.value for algorithm in Algorithm}


@pytest.mark.parametrize("name", NAMES)
def test_the_fast_way_is_taken_once_and_silently(name: str, caplog: pytest.LogCaptureFixture) -> None:
    primitive = sodium.primitive(name)
    assert primitive is sodium.primitive(name)
    assert primitive.encrypt is getattr(sodium.lib, f"crypto_aead_{name}_encrypt")
    assert not caplog.records


def _garble(primitive: Primitive) -> Primitive:
    def encrypt(c: Pointer, *rest: Pointer) -> int:
        result = primitive.encrypt(c, *rest)
        c[0] ^= 1
        return result

    return replace(primitive, encrypt=encrypt)


def _refuse(primitive: Primitive) -> Primitive:
    return replace(primitive, decrypt=lambda *_: -1)


def _believe(primitive: Primitive) -> Primitive:
    def decrypt(m: Pointer, *rest: Pointer) -> int:
        primitive.decrypt(m, *rest)
        return 0

    return replace(primitive, decrypt=decrypt)


def _believe_in_tags(primitive: Primitive) -> Primitive:
    """Open whatever begins as the first message did."""
    seen: list[int] = []

    def decrypt(m: Pointer, mlen: Pointer, nsec: Pointer, c: Pointer, *rest: Pointer) -> int:
        seen.append(c[0])
        result = primitive.decrypt(m, mlen, nsec, c, *rest)
        return 0 if c[0] == seen[0] else result

    return replace(primitive, decrypt=decrypt)


def _forget(primitive: Primitive) -> Primitive:
    def decrypt(m: Pointer, *rest: Pointer) -> int:
        result = primitive.decrypt(m, *rest)
        m[0] ^= 1
        return result

    return replace(primitive, decrypt=decrypt)


@pytest.mark.parametrize("damage", [_garble, _refuse, _believe, _believe_in_tags, _forget])
def test_what_fails_the_self_test_goes_the_slow_way(
    damage: Callable[[Primitive], Primitive], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "chacha20poly1305_ietf"
    broken = damage(sodium.primitive(name))
    sodium.primitive.cache_clear()
    inside = SimpleNamespace(
        **{f"crypto_aead_{name}_encrypt": broken.encrypt, f"crypto_aead_{name}_decrypt": broken.decrypt}
    )
    monkeypatch.setattr(sodium, "lib", inside)
    with caplog.at_level(logging.WARNING):
        primitive = sodium.primitive(name)
    assert primitive.encrypt is not broken.encrypt
    assert "failed its self-test" in caplog.text
    sealed = seal(primitive, bytes(32), bytes(12), b"", b"text")
    assert unseal(primitive, bytes(32), bytes(12), b"", sealed) == b"text"


def test_without_pynacls_inside_everything_goes_the_slow_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = seal(sodium.primitive("aegis256"), bytes(32), bytes(32), b"ad", b"text")
    sodium.primitive.cache_clear()
    monkeypatch.setattr(sodium, "lib", None)
    assert seal(sodium.primitive("aegis256"), bytes(32), bytes(32), b"ad", b"text") == expected
    assert "isn't where it was" in caplog.text
    assert not sodium.has_aes()
    raw = bytearray(b"secret")
    sodium.wipe(raw)
    assert raw == bytes(6)


@pytest.mark.parametrize("inside", [None, SimpleNamespace()], ids=["no module", "no names in it"])
def test_loading_survives_a_pynacl_without_its_inside(inside: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nacl._sodium", inside)
    ffi, lib = sodium._load()
    assert lib is None
    raw = bytearray(b"abc")
    assert bytes(ffi.buffer(ffi.from_buffer("unsigned char[]", raw), 3)) == b"abc"


def test_aes_is_not_tried_where_there_are_no_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> int:
        raise AssertionError("called")

    inside = SimpleNamespace(
        crypto_aead_aes256gcm_is_available=lambda: 0,
        crypto_aead_aes256gcm_encrypt=explode,
        crypto_aead_aes256gcm_decrypt=explode,
    )
    monkeypatch.setattr(sodium, "lib", inside)
    assert sodium.primitive("aes256gcm").encrypt is explode


def test_wiping_zeroes_in_place() -> None:
    raw = bytearray(range(1, 33))
    pointer = pointer_into(raw)
    sodium.wipe(raw)
    assert raw == bytes(32)
    assert pointer[0] == pointer[31] == 0
