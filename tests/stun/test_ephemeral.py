"""Time-limited credentials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.errors import ConfigError
from p2ptun.stun.credential import LongTermCredential, StaticCredentials
from p2ptun.stun.ephemeral import CredentialChain, EphemeralCredentials, ephemeral_credential, expiry_of
from p2ptun.stun.integrity import userhash

NOW = 1_700_000_000.0


def store(now: float = NOW, shared: str = "north") -> EphemeralCredentials:
    return EphemeralCredentials(shared, lambda: now)


def test_a_password_follows_from_secret_and_name() -> None:
    # printf 1700000600:alice | openssl dgst -sha1 -hmac north -binary | base64
    minted = ephemeral_credential("north", "alice", NOW + 600)
    assert minted == LongTermCredential("1700000600:alice", "gthUwOpcRoLI0MMCziCEBOWYnpo=")
    assert store().find_password("1700000600:alice") == minted.password


def test_a_label_can_be_left_out() -> None:
    minted = ephemeral_credential("north", "", NOW + 0.9)
    assert minted.username == "1700000000"
    assert store(NOW - 1).find_password(minted.username) == minted.password


def test_a_label_is_prepared_like_every_user_name() -> None:
    minted = ephemeral_credential("north", "cafe\u0301:x", NOW)
    assert minted.username == "1700000000:caf\u00e9:x"
    assert store(NOW - 1).find_password(minted.username) == minted.password
    with pytest.raises(ConfigError):
        ephemeral_credential("north", "bell\x07", NOW)


def test_a_name_expires() -> None:
    name = "1700000600:alice"
    assert store(NOW + 599).find_password(name) is not None
    assert store(NOW + 600).find_password(name) is None


def test_another_secret_makes_another_password() -> None:
    assert store(shared="south").find_password("1700000600") != store().find_password("1700000600")


@pytest.mark.parametrize(
    "name",
    ["", ":", ":alice", "alice", "alice:1700000600", "-1700000600", "17e9", "1_7", "\u0661\u0662", "9" * 13, " 1"],
)
def test_other_names_are_nobodys(name: str) -> None:
    assert expiry_of(name) is None
    assert store().find_password(name) is None


@given(st.text())
def test_any_name_is_looked_up_without_harm(name: str) -> None:
    password = store().find_password(name)
    assert password is None or expiry_of(name) is not None


def test_a_hash_finds_nobody() -> None:
    assert store().find_username(userhash("1700000600:alice", "example.org")) is None


def test_a_chain_asks_one_store_after_the_other() -> None:
    fixed = StaticCredentials({"bob": "hidden"}, "example.org")
    chain = CredentialChain(store(), fixed)
    assert chain.find_password("bob") == "hidden"
    assert chain.find_password("1700000600") == store().find_password("1700000600")
    assert chain.find_password("mallory") is None
    assert chain.find_username(userhash("bob", "example.org")) == "bob"
    assert chain.find_username(bytes(32)) is None
