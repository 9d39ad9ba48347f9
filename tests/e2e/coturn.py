"""coturn on a server of a laboratory: TURN over UDP and TCP on 3478, over TLS on 5349, over both on 443.

::

    relay = Coturn(lab, lab.add_server("relay"), scratch, password="...")
    relay.start()
    share = lab.start(alice, "share", *relay.options(TCP))
    relay.kill()
    relay.start()
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.command import LabError, run_command, wait_until
from tests.e2e.lab import Lab, Node

UDP = "turn:{host}"
TCP = "turn:{host}?transport=tcp"
TLS = "turns:{host}"
TLS_443 = "turns:{host}:443"
USER = "alice"


class Coturn:
    """One server. With `password`, `USER` may use it; with `secret`, whoever has a time-limited user name."""

    def __init__(self, lab: Lab, node: Node, scratch: Path, password: str = "", secret: str = "") -> None:
        self.node = node
        self.certificate = scratch / f"{node.name}.pem"
        self._lab = lab
        self._scratch = scratch
        self._mechanism = ["--use-auth-secret", f"--static-auth-secret={secret}"]
        document = f'secret = "{secret}"'
        if password:
            self._mechanism = ["--lt-cred-mech", f"--user={USER}:{password}"]
            document = f'username = "{USER}"\npassword = "{password}"'
        self.credentials = self.write("credentials", document)
        self._process: subprocess.Popen[str] | None = None
        make_certificate(self.certificate, self._key, str(node.ipv4))

    def uri(self, form: str = UDP) -> str:
        """Write its URI."""
        return form.format(host=self.node.ipv4)

    def options(self, *forms: str) -> tuple[str, ...]:
        """Write the options with which p2ptun uses it, by one transport or several; UDP when none is named."""
        named = [word for form in forms or (UDP,) for word in ("--turn", self.uri(form))]
        return (*named, "--turn-credentials", str(self.credentials), "--ca-file", str(self.certificate))

    def write(self, name: str, document: str) -> Path:
        """Write a file of credentials."""
        path = self._scratch / f"{self.node.name}-{name}"
        path.touch(0o600)
        path.write_text(document)
        return path

    def start(self) -> None:
        """Start it; return when it listens."""
        self._process = self._lab.popen(self.node, self._arguments(), stderr=subprocess.DEVNULL)
        wait_until(self._listens, 20, f"coturn listens on {self.node.name}")

    def kill(self) -> None:
        """End it at once: it tells nobody, and the kernel resets its connections."""
        if self._process is None:
            raise LabError("coturn doesn't run")
        self._process.kill()
        self._process.wait()

    @property
    def _key(self) -> Path:
        return self._scratch / f"{self.node.name}.key"

    def _arguments(self) -> list[str]:
        address, own = self.node.ipv4, self._scratch / self.node.name
        return [
            *("turnserver", "-n", "--no-cli", "--no-software-attribute", "--log-file=/dev/null", "--simple-log"),
            *(f"--listening-ip={address}", f"--relay-ip={address}", f"--aux-server={address}:443"),
            *(f"--cert={self.certificate}", f"--pkey={self._key}", "--realm=laboratory"),
            *(f"--userdb={own}.db", f"--pidfile={own}.pid", *self._mechanism),
        ]

    def _listens(self) -> bool:
        """Tell whether it has opened the last of its ports, at both of its threads."""
        listed = self._lab.run(self.node, ["ss", "-Hlnt", "sport", "=", ":443"]).stdout
        return len(listed.splitlines()) > 0


def make_certificate(certificate: Path, key: Path, address: str) -> None:
    """Make a certificate that names an address, signed by itself."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7 -subj /CN=relay -addext"
    where = ["-keyout", str(key), "-out", str(certificate)]
    run_command(["openssl", *words.split(), f"subjectAltName=IP:{address}", *where])
