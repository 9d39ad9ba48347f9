"""Time-limited credentials (draft-uberti-behave-turn-rest-00): user names that expire, passwords that follow from them.

Whoever shares a secret with the server mints them; the server stores none. coturn calls it `use-auth-secret`::

    user name = expiry in Unix seconds [":" label]
    password  = base64(HMAC-SHA1(secret, user name))
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from typing import Final

from p2ptun.stun.credential import CredentialStore, LongTermCredential
from p2ptun.stun.precis import opaque_string

MAX_DIGITS: Final = 12  # of an expiry: beyond the year 30,000 nobody means a time


def ephemeral_credential(secret: str, label: str, expires_at: float) -> LongTermCredential:
    """Mint a credential that servers with the same secret accept until `expires_at`, in Unix seconds.

    `label` says whose it is, in the server's log; it may be empty.

    Raises:
        ConfigError: the label has a character that a user name mustn't have.
    """
    username = f"{int(expires_at)}:{label}" if label else str(int(expires_at))
    prepared = opaque_string(username, "label")
    return LongTermCredential(prepared, _password(secret, prepared))


def expiry_of(username: str) -> int | None:
    """Tell when a time-limited user name expires, in Unix seconds; None when it is none."""
    stamp, _, _ = username.partition(":")
    return int(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) <= MAX_DIGITS else None


class EphemeralCredentials:
    """A server's store of them: a secret and the wall clock, `clock()` in Unix seconds."""

    __slots__ = ("_clock", "_secret")

    def __init__(self, secret: str, clock: Callable[[], float]) -> None:
        self._secret = secret
        self._clock = clock

    def find_password(self, username: str) -> str | None:
        """Give the password of a user name; None when it is none of ours, or expired."""
        expires_at = expiry_of(username)
        if expires_at is None or expires_at <= self._clock():
            return None
        return _password(self._secret, username)

    def find_username(self, hashed: bytes) -> str | None:
        """Give None: nobody finds a user name by its USERHASH that he hasn't seen."""
        return None


class CredentialChain:
    """Several stores; the first that knows a user decides."""

    __slots__ = ("_stores",)

    def __init__(self, *stores: CredentialStore) -> None:
        self._stores = stores

    def find_password(self, username: str) -> str | None:
        """Give the password of a user; None for nobody of ours."""
        found = (store.find_password(username) for store in self._stores)
        return next((password for password in found if password is not None), None)

    def find_username(self, hashed: bytes) -> str | None:
        """Give the user behind a USERHASH; None for nobody of ours."""
        found = (store.find_username(hashed) for store in self._stores)
        return next((username for username in found if username is not None), None)


def _password(secret: str, username: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()
