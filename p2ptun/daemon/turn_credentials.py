"""Credentials for relays: a user name and a password, or the secret that a relay shares with those who may use it.

A file of credentials is TOML, and only its owner can read it::

    username = "alice"              secret = "..."
    password = "..."                label = "alice"        # optional: what the relay's log says of us
                                    ttl = 86400            # optional: seconds for which a user name is good

From a secret a user name with the time of its end in it is made, and another before that time comes. A file with a
user name is read again then: whoever wrote a time into it may have written a later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from p2ptun.daemon.secret import MAX_SIZE, read_private
from p2ptun.errors import ConfigError
from p2ptun.stun.codec import USERNAME_LIMIT
from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.ephemeral import ephemeral_credential, expiry_of
from p2ptun.stun.precis import opaque_string

OPTION: Final = "--turn-credentials"
USERNAME: Final = "P2PTUN_TURN_USERNAME"
PASSWORD: Final = "P2PTUN_TURN_PASSWORD"  # noqa: S105 (the name of a variable)

DEFAULT_TTL: Final = 24 * 3600  # seconds
MIN_TTL: Final = 60  # seconds: clocks differ, and an allocation wants to be made before the end
MAX_TTL: Final = 10 * 365 * 24 * 3600  # seconds

EARLIEST_EXPIRY: Final = 1_000_000_000  # Unix time, in 2001: a smaller number is a name, not a time
_LINES = 'Write two lines: username = "NAME" and password = "PASSWORD"; or one: secret = "SECRET".'


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and a password as they are."""

    credential: LongTermCredential

    @property
    def ends_at(self) -> float | None:
        """Unix time at which a time-limited user name ends; None when it doesn't say one."""
        expiry = expiry_of(self.credential.username)
        return None if expiry is None or expiry < EARLIEST_EXPIRY else float(expiry)


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """What time-limited credentials are made of; each is good for `ttl` seconds."""

    secret: str = field(repr=False)
    label: str = ""
    ttl: int = DEFAULT_TTL


Given: TypeAlias = Login | SharedSecret


@dataclass(frozen=True, slots=True)
class Issued:
    """A credential, and when it ends: in Unix time, None when it doesn't say; and in seconds from when it was issued.

    `lifetime` is None as well when the end has passed by our clock. That may be wrong: the relay is the judge.
    `is_minted` tells whether it was made of a secret.
    """

    credential: LongTermCredential
    ends_at: float | None = None
    lifetime: float | None = None
    is_minted: bool = False

    @property
    def is_overdue(self) -> bool:
        """Tell whether its end has passed."""
        return self.ends_at is not None and self.lifetime is None


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    """What the person gave, and the file that it came from, if any."""

    given: Given
    path: Path | None = None

    def issue(self, unix_time: float) -> Issued:
        """Make a credential that is good now, as far as we know."""
        if isinstance(self.given, SharedSecret):
            ends_at = int(unix_time) + self.given.ttl
            made = ephemeral_credential(self.given.secret, self.given.label, ends_at)
            return Issued(made, ends_at, ends_at - unix_time, is_minted=True)
        login, ends_at_or_none = self.given.credential, self.given.ends_at
        if ends_at_or_none is None or ends_at_or_none <= unix_time:
            return Issued(login, ends_at_or_none)
        return Issued(login, ends_at_or_none, ends_at_or_none - unix_time)

    def reread(self) -> TurnCredentials:
        """Look whether the file says something else by now. What can't be read any more holds as it was."""
        if self.path is None:
            return self
        try:
            return read_credentials(self.path)
        except ConfigError:
            return self


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    username: str = ""
    password: str = ""
    secret: str = ""
    label: str = ""
    ttl: int = DEFAULT_TTL


def read_credentials(path: Path) -> TurnCredentials:
    """Read a file of credentials that only its owner can read.

    Raises:
        ConfigError: If it can't be read, others can read it, or it has not what it should. It quotes no secret.
    """
    text = read_private(path, OPTION, MAX_SIZE, "Make one: umask 077; p2ptun genturn < SECRET > FILE")
    try:
        document = msgspec.toml.decode(text, type=_File)
    except msgspec.ValidationError as error:
        raise ConfigError("", OPTION, f"{path}: {_shortened(error)}", _LINES) from error
    except (msgspec.DecodeError, ValueError):
        raise ConfigError("", OPTION, f"{path} is no TOML", _LINES) from None
    return TurnCredentials(_given(document, path), path)


def password_credentials(username: str, path: Path, key: str) -> TurnCredentials:
    """Take a user name, and the password from a file that only its owner can read.

    Raises:
        ConfigError: If it can't be read, others can read it, or there is no password in it; `key` names the setting.
    """
    password = read_private(path, key, MAX_SIZE, "Write the password into a file of its own.").decode(
        "utf-8", "replace"
    )
    if not password.strip():
        raise ConfigError("", key, f"{path} is empty", "Write the password into it.")
    return TurnCredentials(_login(username, password.strip(), key))


def environment_credentials(environment: Mapping[str, str]) -> TurnCredentials | None:
    """Take user name and password from the environment; None when they aren't there.

    Raises:
        ConfigError: If one is there without the other.
    """
    username, password = environment.get(USERNAME, ""), environment.get(PASSWORD, "")
    if not username and not password:
        return None
    if not username or not password:
        there, missing = (USERNAME, PASSWORD) if username else (PASSWORD, USERNAME)
        raise ConfigError("", there, f"is set, and {missing} isn't", f"Set both, or name a file with {OPTION}.")
    return TurnCredentials(_login(username, password, USERNAME))


def _given(document: _File, path: Path) -> Given:
    if document.secret:
        if document.username or document.password:
            problem = f"{path} has a secret, and a user name or password besides"
            raise ConfigError("", OPTION, problem, "Leave the secret, or user name and password, not both.")
        if not MIN_TTL <= document.ttl <= MAX_TTL:
            problem = f"{path}: ttl is {document.ttl}"
            raise ConfigError("", OPTION, problem, f"Give it {MIN_TTL} s at least and {MAX_TTL} s at most.")
        return _shared_secret(document)
    if not document.username or not document.password:
        missing = "password" if document.username else "username"
        raise ConfigError("", OPTION, f"{path} has no {missing}", _LINES)
    return _login(document.username, document.password, f"{OPTION} {path}")


def _shared_secret(document: _File) -> SharedSecret:
    try:
        ephemeral_credential(document.secret, document.label, 0)
    except ConfigError as error:
        raise ConfigError("", OPTION, f"{error.key}: {error.problem}", error.remedy) from None
    return SharedSecret(document.secret, document.label, document.ttl)


def _login(username: str, password: str, key: str) -> Login:
    try:
        prepared = opaque_string(username, "user name")
        opaque_string(password, "password")
    except ConfigError as error:
        raise ConfigError("", key, f"{error.key}: {error.problem}", error.remedy) from None
    if len(prepared.encode()) > USERNAME_LIMIT:
        raise ConfigError("", key, f"the user name has more than {USERNAME_LIMIT} bytes", "Take a shorter one.")
    return Login(LongTermCredential(username, password))


def _shortened(error: msgspec.ValidationError) -> str:
    """Say what msgspec says, which names keys and types, never values."""
    return str(error).replace("Object contains", "it has").replace("`", "'").rstrip(".")
