"""What a person has settled once for all of his commands: `~/.config/p2ptun/config.toml`.

::

    rendezvous = "https://rendezvous.example.net"     # or several: ["https://...", "https://..."]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from p2ptun.daemon.toml import read_toml


class UserConfig(msgspec.Struct, frozen=True):
    """The keys of the file."""

    rendezvous: str | list[str] = []

    @property
    def places(self) -> tuple[str, ...]:
        """Where this person's machines meet, the preferred first."""
        return (self.rendezvous,) if isinstance(self.rendezvous, str) else tuple(self.rendezvous)


def read_user_config(environ: Mapping[str, str]) -> tuple[UserConfig, Path | None]:
    """Read the file, if there is one, and tell where it is.

    Raises:
        ConfigError: If it is there and makes no sense.
    """
    path = config_path(environ)
    if path is None or not path.exists():
        return UserConfig(), None
    return read_toml(path, UserConfig), path


def config_path(environ: Mapping[str, str]) -> Path | None:
    """Tell where the file would be (XDG Base Directory Specification); None where a person has no home."""
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():  # which the specification wants to be ignored
        base = Path(environ.get("HOME", "")) / ".config"
    return base / "p2ptun" / "config.toml" if base.is_absolute() else None
