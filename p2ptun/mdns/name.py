"""Names that hide addresses: `<uuid>.local`, the UUID being random (the draft, 3.1.1; RFC 9562 5.4).

Only names of this form are ever asked for. Others may belong to something well-known, such as `printer.local`, at which
a hostile peer would like our checks to be aimed (the draft, 3.2.2).
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from p2ptun.errors import LocalProtocolError
from p2ptun.mdns.message import Labels
from p2ptun.types import RandomBytes

UUID_SIZE: Final = 16

_NAME = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\.local", re.ASCII)
_DOMAIN = ".local"  # RFC 6762 3


def draw_name(random_bytes: RandomBytes) -> str:
    """Draw a new name: 122 random bits, so that it is nobody else's."""
    return name_of_uuid(UUID(bytes=random_bytes(UUID_SIZE), version=4).bytes)


def is_acceptable(name: str) -> bool:
    """Tell whether a name hides an address: one label in the form of a UUID, then `.local`, in lower case."""
    return _NAME.fullmatch(name) is not None


def name_of_uuid(packed: bytes) -> str:
    """Write the name that 16 bytes stand for."""
    return f"{UUID(bytes=packed)}{_DOMAIN}"


def uuid_of_name(name: str) -> bytes:
    """Give the 16 bytes that stand for a name. Raises LocalProtocolError when it is none of ours."""
    if not is_acceptable(name):
        raise LocalProtocolError(f"{name!r} has no UUID in it")
    return UUID(name.removesuffix(_DOMAIN)).bytes


def labels_of(name: str) -> Labels:
    """Split an acceptable name into its labels."""
    return tuple(label.encode() for label in name.split("."))
