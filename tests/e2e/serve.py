"""`p2ptun serve` on a server of a laboratory: STUN on both of its addresses, a relay or rooms when asked.

::

    server = lab.start_serve(lab.add_server("server"))
    share = lab.start(alice, "share", "--stun", server.stun, *server.options(TCP))
    server.kill()
    server.start()
"""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv6Address
from pathlib import Path
from secrets import token_hex

from p2ptun.types import IPAddress
from tests.e2e.command import LabError, wait_until
from tests.e2e.coturn import UDP, make_certificate
from tests.e2e.lab import STUN_PORT, Lab, Node

P2PTUN = str(Path(sys.executable).with_name("p2ptun"))
TLS_PORTS = (443, 5349)
HTTP_PORT = 80


class Serve:
    """One server: UDP and TCP on 3478, TLS on 443 and 5349. A relay wants time-limited credentials of its secret.

    With rooms it serves HTTP on port 80 besides, and those who meet there are told of its STUN and its relay.
    """

    def __init__(self, lab: Lab, node: Node, scratch: Path, has_relay: bool, has_rooms: bool) -> None:
        self.node = node
        self.certificate = scratch / f"{node.name}-serve.pem"
        self.credentials = scratch / f"{node.name}-serve.toml"
        self._lab = lab
        self._key = scratch / f"{node.name}-serve.key"
        self._secret = scratch / f"{node.name}-serve.secret"
        self._has_relay = has_relay
        self._has_rooms = has_rooms
        self._process: subprocess.Popen[str] | None = None
        secret = token_hex(16)
        for path, text in ((self._secret, secret), (self.credentials, f'secret = "{secret}"')):
            path.touch(0o600)
            path.write_text(text + "\n")
        make_certificate(self.certificate, self._key, str(node.ipv4))

    @property
    def stun(self) -> str:
        """Its URI as a STUN server."""
        return f"stun:{self.node.ipv4}:{STUN_PORT}"

    @property
    def url(self) -> str:
        """Where its rooms are."""
        return f"http://{self.node.ipv4}"

    def options(self, *forms: str) -> tuple[str, ...]:
        """Write the options with which p2ptun relays over it, by one transport or several; UDP when none is named."""
        named = [word for form in forms or (UDP,) for word in ("--turn", form.format(host=self.node.ipv4))]
        return (*named, "--turn-credentials", str(self.credentials), "--ca-file", str(self.certificate))

    def start(self) -> None:
        """Start it; return when it listens."""
        self._process = self._lab.popen(self.node, self.arguments())
        wait_until(self._listens, 20, f"p2ptun serve listens on {self.node.name}")

    def kill(self) -> None:
        """End it at once: it tells nobody."""
        if self._process is None:
            raise LabError("p2ptun serve doesn't run")
        self._process.kill()
        self._process.wait()

    def arguments(self) -> list[str]:
        """Write the command."""
        own = [address for address in (self.node.ipv4, self.node.ipv6) if address is not None]
        argv = [P2PTUN, "serve", "--json"]
        for address in (*own, *self.node.alternates):
            argv += ["--stun-listen", f"{_host(address)}:{STUN_PORT}"]
        for address in own:
            for port in TLS_PORTS:
                argv += ["--tls-listen", f"{_host(address)}:{port}"]
        argv += ["--tls-cert", str(self.certificate), "--tls-key", str(self._key)]
        if self._has_rooms:
            argv += ["--listen", f"{self.node.ipv4}:{HTTP_PORT}"]
        if self._has_relay:
            argv += ["--relay", "--secret-file", str(self._secret)]
            for address in own:
                argv += ["--relay-address", str(address)]
        return argv

    def _listens(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise LabError("p2ptun serve has ended")
        listed = self._lab.run(self.node, ["ss", "-Hlntu"]).stdout
        ports = (STUN_PORT, *TLS_PORTS, *([HTTP_PORT] if self._has_rooms else []))
        return all(f":{port} " in listed for port in ports)


def _host(address: IPAddress) -> str:
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)
