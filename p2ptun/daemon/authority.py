"""Authorities that a person names besides those whom this machine trusts anyway: checked before anything is opened."""

from __future__ import annotations

import ssl
from pathlib import Path

from p2ptun.errors import ConfigError


def check_authorities(path: Path, key: str) -> None:
    """Check a file of certificates in PEM. Raises ConfigError when it can't be read, or none is in it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError("", key, f"there is no certificate in {path}", "Give it certificates as PEM.") from error
    except OSError as error:
        raise ConfigError("", key, f"{path}: {error.strerror}", "Name a file of certificates (PEM).") from error
