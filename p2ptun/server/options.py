"""What whoever runs a server asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from p2ptun.relay.config import ServerConfig
from p2ptun.server.http.options import HttpOptions
from p2ptun.stun.credential import CredentialStore
from p2ptun.types import Endpoint


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of `p2ptun serve`.

    Attributes:
        stun_listen: Where clients come by UDP and by TCP. Addresses may be unspecified: all of this machine then.
        tls_listen: Where they come by TLS.
        certificate: The chain and the key for that and for HTTPS, both or none.
        credentials: Who may use the relay; None where there is none.
        core: The configuration of the core; without relay addresses there is no relay.
        http: Where rooms are served, and how; None where there are none.
    """

    stun_listen: tuple[Endpoint, ...]
    tls_listen: tuple[Endpoint, ...]
    certificate: tuple[Path, Path] | None
    credentials: CredentialStore | None
    core: ServerConfig
    http: HttpOptions | None = None
