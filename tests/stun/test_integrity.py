"""Seals and keys: published ones, wrong ones, truncated ones."""

from __future__ import annotations

import hmac

import pytest

from p2ptun.errors import ConfigError
from p2ptun.stun.attribute import USERNAME
from p2ptun.stun.integrity import (
    HMAC_SHA1,
    HMAC_SHA256,
    Integrity,
    KeyAlgorithm,
    compute_fingerprint,
    compute_mac,
    has_integrity,
    long_term_key,
    short_term_key,
    userhash,
    verify_integrity,
)
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId, decode_message, encode_message
from tests.stun import vectors
from tests.stun.vectors import SAMPLES

KEY = b"secret"
REQUEST = Message(Method.BINDING, MessageClass.REQUEST, TransactionId(bytes(12)), ((USERNAME, "a:b"),))


def sealed(algorithm: Integrity) -> Message:
    return decode_message(encode_message(REQUEST, algorithm))


def truncated(kept: int) -> Message:
    """A request whose MESSAGE-INTEGRITY-SHA256 keeps that many bytes."""
    data = encode_message(REQUEST, fingerprint=False)
    mac = compute_mac(data, HMAC_SHA256, KEY, kept)
    body = data[20:] + b"\x00\x1c" + kept.to_bytes(2, "big") + mac
    return decode_message(data[:2] + len(body).to_bytes(2, "big") + data[4:20] + body)


def test_the_key_of_rfc8489_9_2_2() -> None:
    assert long_term_key("user", "realm", "pass").hex() == "8493fbc53ba582fb4c044c456bdc40eb"


def test_keys_have_the_length_of_their_hash() -> None:
    assert len(long_term_key("user", "realm", "pass", KeyAlgorithm.SHA256)) == 32
    assert short_term_key("pass") == b"pass"


def test_the_userhash_of_rfc8489_b1() -> None:
    assert userhash(vectors.USERNAME, vectors.REALM) == vectors.SHA256_REQUEST[24:56]


@pytest.mark.parametrize("empty", range(3))
def test_no_part_of_a_credential_is_empty(empty: int) -> None:
    username, realm, password = ("" if index == empty else "a" for index in range(3))
    with pytest.raises(ConfigError, match="is empty"):
        long_term_key(username, realm, password)
    with pytest.raises(ConfigError, match="password: is empty"):
        short_term_key("")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_wrong_key_or_a_changed_byte_is_noticed(name: str) -> None:
    data, key = SAMPLES[name]
    message = decode_message(data)
    assert verify_integrity(message, key)
    assert not verify_integrity(message, key + b"x")
    for position in range(message.macs[0].at + 4 + len(message.macs[0].value)):
        if position in (2, 3):
            continue  # the length counts as it is written at sealing, not as it stands here
        raw = bytearray(data)
        raw[position] ^= 1
        changed = Message(
            message.method, message.message_class, message.transaction_id, raw=bytes(raw), macs=message.macs
        )
        assert verify_integrity(changed, key) is (position >= message.macs[0].at)


def test_without_a_seal_nothing_is_verified() -> None:
    message = decode_message(encode_message(REQUEST))
    assert not has_integrity(message)
    assert not verify_integrity(message, KEY)


def test_sha256_decides_when_both_are_there() -> None:
    both = sealed(Integrity(HMAC_SHA1 | HMAC_SHA256, KEY))
    assert has_integrity(both)
    assert verify_integrity(both, KEY)
    sha1, sha256 = both.macs
    raw = both.raw[: sha256.at + 4] + bytes(32)
    forged = Message(
        both.method,
        both.message_class,
        both.transaction_id,
        raw=raw,
        macs=(sha1, type(sha256)(sha256.algorithm, sha256.at, bytes(32))),
    )
    assert not verify_integrity(forged, KEY)
    assert verify_integrity(forged, KEY, HMAC_SHA1)


def test_only_accepted_algorithms_count() -> None:
    assert not verify_integrity(sealed(Integrity(HMAC_SHA1, KEY)), KEY, HMAC_SHA256)
    assert not verify_integrity(sealed(Integrity(HMAC_SHA256, KEY)), KEY, HMAC_SHA1)
    assert verify_integrity(sealed(Integrity(HMAC_SHA1, KEY)), KEY, HMAC_SHA1)


@pytest.mark.parametrize("kept", [16, 20, 24, 28, 32])
def test_a_truncated_seal_counts_only_where_the_usage_allows_it(kept: int) -> None:
    message = truncated(kept)
    assert verify_integrity(message, KEY) is (kept == 32)
    assert verify_integrity(message, KEY, shortest=16)
    assert verify_integrity(message, KEY, shortest=24) is (kept >= 24)
    assert not verify_integrity(message, b"other", shortest=16)


def test_comparison_is_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    genuine = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return genuine(one, other)

    message = sealed(Integrity(HMAC_SHA1, KEY))
    monkeypatch.setattr("p2ptun.stun.integrity.hmac.compare_digest", spy)
    assert verify_integrity(message, KEY)
    assert compared == [(message.macs[0].value, message.macs[0].value)]


def test_keys_stay_out_of_repr() -> None:
    assert "secret" not in repr(Integrity(HMAC_SHA1, KEY))


def test_fingerprint_is_a_masked_crc() -> None:
    assert compute_fingerprint(b"123456789") == 0xCBF43926 ^ 0x5354554E
