from __future__ import annotations

import json
import random
import sys
from hashlib import shake_256
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mlkem

from p2ptun.errors import MalformedPacket
from p2ptun.signal.kem import CIPHERTEXT_SIZE, PUBLIC_KEY_SIZE, SECRET_SIZE, KemKey, draw_kem_key, encapsulate

PUBLISHED = Path(__file__).resolve().parents[1] / "vectors" / "kem" / "published.json"


def draw(seed: bytes) -> KemKey:
    key = draw_kem_key(lambda size: seed[:size])
    assert key is not None
    return key


def sealed_for(key: KemKey) -> tuple[bytes, bytes]:
    made = encapsulate(key.public)
    assert made is not None
    return made


def test_a_published_vector() -> None:
    vector = {name: bytes.fromhex(value) for name, value in json.loads(PUBLISHED.read_text())["vector"].items()}
    key = draw(vector["seed"])
    assert key.public == vector["ek"]
    assert key.decapsulate(vector["c"]) == vector["K"]


def test_both_get_the_same_secret() -> None:
    key = draw(random.Random(1).randbytes(64))
    secret, ciphertext = sealed_for(key)
    assert key.decapsulate(ciphertext) == secret
    assert (len(key.public), len(ciphertext), len(secret)) == (PUBLIC_KEY_SIZE, CIPHERTEXT_SIZE, SECRET_SIZE)
    assert sealed_for(key)[0] != secret


def test_another_key_or_ciphertext_gives_the_secret_of_nobody() -> None:
    seed = random.Random(2).randbytes(64)
    key, other = draw(seed), draw(random.Random(3).randbytes(64))
    secret, ciphertext = sealed_for(key)
    assert other.decapsulate(ciphertext) != secret
    changed = ciphertext[:500] + bytes([ciphertext[500] ^ 1]) + ciphertext[501:]
    assert key.decapsulate(changed) == shake_256(seed[32:] + changed).digest(32)  # FIPS 203 algorithm 18, line 7


@pytest.mark.parametrize("size", [0, 1, CIPHERTEXT_SIZE - 1, CIPHERTEXT_SIZE + 1])
def test_a_ciphertext_of_another_size(size: int) -> None:
    with pytest.raises(MalformedPacket):
        draw(bytes(64)).decapsulate(bytes(size))


@pytest.mark.parametrize(
    "public", [b"", bytes(PUBLIC_KEY_SIZE - 1), bytes(PUBLIC_KEY_SIZE + 1), b"\xff" * PUBLIC_KEY_SIZE]
)
def test_what_is_no_key(public: bytes) -> None:
    with pytest.raises(MalformedPacket):
        encapsulate(public)


def test_a_library_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    public = draw(bytes(64)).public
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mlkem", None)
    assert draw_kem_key(lambda size: bytes(size)) is None
    assert encapsulate(public) is None


def test_a_backend_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsupported:
        @staticmethod
        def from_seed_bytes(_: bytes) -> KemKey:
            raise UnsupportedAlgorithm("ML-KEM-768 is not supported by this backend.")

        from_public_bytes = from_seed_bytes

    monkeypatch.setattr(mlkem, "MLKEM768PrivateKey", Unsupported)
    monkeypatch.setattr(mlkem, "MLKEM768PublicKey", Unsupported)
    assert draw_kem_key(lambda size: bytes(size)) is None
    assert encapsulate(bytes(PUBLIC_KEY_SIZE)) is None
