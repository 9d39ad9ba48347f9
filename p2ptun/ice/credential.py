"""The short-term credentials of one side in one generation (RFC 8445 5.3, RFC 8839 5.4)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from p2ptun.errors import MalformedPacket
from p2ptun.types import RandomBytes

UFRAG_BYTES = 6  # 48 bits, 8 characters; RFC 8445 5.3 asks for 24 bits at least
PASSWORD_BYTES = 18  # 144 bits, 24 characters; RFC 8445 5.3 asks for 128 bits at least

UFRAG_TEXT = re.compile(r"[A-Za-z0-9+/]{4,256}", re.ASCII)  # RFC 8839 5.4
_PASSWORD_TEXT = re.compile(r"[A-Za-z0-9+/]{22,256}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name fragment and password; `generation` counts restarts. The password stays out of the `repr`.

    Raises:
        MalformedPacket: If one of them breaks the grammar of RFC 8839 5.4; they may come from afar.
    """

    ufrag: str
    password: str = field(repr=False)
    generation: int = 0

    def __post_init__(self) -> None:
        if not UFRAG_TEXT.fullmatch(self.ufrag):
            raise MalformedPacket("credentials: ufrag")
        if not _PASSWORD_TEXT.fullmatch(self.password):
            raise MalformedPacket("credentials: password")

    @classmethod
    def generate(cls, random_bytes: RandomBytes, generation: int = 0) -> Credentials:
        """Draw fresh ones."""
        ufrag = base64.b64encode(random_bytes(UFRAG_BYTES)).decode()
        password = base64.b64encode(random_bytes(PASSWORD_BYTES)).decode()
        return cls(ufrag, password, generation)
