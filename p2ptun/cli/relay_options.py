"""What `share` and `join` are told of relays: checked before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from p2ptun.daemon.authority import check_authorities
from p2ptun.daemon.turn_credentials import OPTION, TurnCredentials, environment_credentials, read_credentials
from p2ptun.errors import ConfigError
from p2ptun.ice.config import PathPolicy
from p2ptun.stun.uri import StunUri, parse_uri

HOW_TO_WRITE = "Write turn:HOST or turn:HOST:PORT, with ?transport=tcp for TCP; turns:HOST:PORT for TLS."


def relays(texts: Sequence[str], policy: PathPolicy, *, are_offered: bool = False) -> tuple[StunUri, ...]:
    """Read the relays, each once; a rendezvous may offer others.

    Raises:
        ConfigError: If one of them is none, or only relayed paths are wanted and nobody can name a relay.
    """
    found = tuple(dict.fromkeys(_relay(text) for text in texts))
    if policy is PathPolicy.RELAY and not found and not are_offered:
        raise ConfigError("", "--path", "relay needs a relay, and none is named", "Name one with --turn.")
    return found


def relay_credentials(path: Path | None, texts: Sequence[str]) -> TurnCredentials | None:
    """Find the credentials: the file beats the environment. None when there are none, or nobody to give them to.

    Raises:
        ConfigError: If they can't be used.
    """
    if path is not None and not texts:
        raise ConfigError("", OPTION, "there is no relay to give them to", "Name one with --turn.")
    if path is not None:
        return read_credentials(path)
    return environment_credentials(os.environ) if texts else None


def authorities(path: Path | None) -> Path | None:
    """Check a file of certificates, if one is named. Raises ConfigError when it can't be read, or none is in it."""
    if path is None:
        return None
    check_authorities(path, "--ca-file")
    return path


def _relay(text: str) -> StunUri:
    try:
        uri = parse_uri(text, key="--turn")
    except ConfigError as error:
        if "user name" in error.problem:
            remedy = f"Give user name and password with {OPTION} FILE, and only the host here."
        else:
            remedy = error.remedy if text.lower().startswith(("turn:", "turns:")) else HOW_TO_WRITE
        raise ConfigError("", error.key, error.problem, remedy) from error
    if not uri.scheme.is_turn:
        raise ConfigError("", "--turn", f"{uri} names no relay", HOW_TO_WRITE)
    return uri
