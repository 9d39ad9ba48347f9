"""What a person asked of a pairing, and what the two sides are called."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from p2ptun.daemon.config import DIRECTORY, MAX_PEER_NAME, SUFFIX
from p2ptun.daemon.new_files import NewFiles
from p2ptun.noise.keypair import KeyPair
from p2ptun.signal.acquaintance import MAX_NAME_SIZE
from p2ptun.signal.code import Code
from p2ptun.signal.description import Kind
from p2ptun.types import IPInterface, IPNetwork

UNNAMED: Final = "peer"
"""What a side is called that has no name which could be used."""


@dataclass(frozen=True, slots=True)
class PairOptions:
    """What the person asked for. `keys` is who this machine is already, if it is, and `key_file` where that stands.

    `peer_name` is what the other side is to be called here, if not as it calls itself. `ca_file`: who else may vouch
    for a rendezvous' name. `verifies`: words are compared before anything is kept.
    """

    name: str
    rendezvous: tuple[str, ...]
    directory: Path = DIRECTORY
    code: Code | None = field(default=None, repr=False)
    addresses: tuple[IPInterface, ...] = ()
    routes: tuple[IPNetwork, ...] = ()
    keys: KeyPair | None = None
    key_file: Path | None = None
    peer_name: str | None = None
    host_name: str = UNNAMED
    ca_file: Path | None = None
    verifies: bool = False
    timeout: float | None = None

    @property
    def kind(self) -> Kind:
        """What this side says: who has no code yet offers."""
        return Kind.OFFER if self.code is None else Kind.ANSWER


def check_files(options: PairOptions) -> None:
    """See that the files which it comes to could be made. Raises ConfigError when one exists, or PrivilegeError."""
    keys = [f"{options.name}.key"] * (options.key_file is None)
    NewFiles(options.directory).check(f"{options.name}{SUFFIX}", f"{options.name}.psk", *keys)


def clean_name(text: str) -> str:
    """Make a name for a peer of what it calls itself: small letters, digits and dashes, whatever it says."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return name[:MAX_PEER_NAME].rstrip("-") or UNNAMED


def host_name() -> str:
    """Tell what this machine calls itself, without its domain."""
    name = os.uname().nodename.partition(".")[0]
    return name.encode()[:MAX_NAME_SIZE].decode(errors="ignore") or UNNAMED
