"""`p2ptun serve` with its rooms and its page, as a process on loopback."""

from __future__ import annotations

from pathlib import Path

from tests.free_port import free_port
from tests.server.serving import ADDRESS, Serving


class WebServing(Serving):
    """A server that does everything: rooms and the page over HTTP, STUN and a relay beside them."""

    def __init__(self, directory: Path, *options: str, has_tls: bool = False) -> None:
        self.http_port = free_port()
        self.url = f"http://{ADDRESS}:{self.http_port}"
        super().__init__(directory, "--listen", f"{ADDRESS}:{self.http_port}", *options, has_tls=has_tls)

    def __enter__(self) -> WebServing:
        super().__enter__()
        return self
