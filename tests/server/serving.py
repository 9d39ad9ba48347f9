"""`p2ptun serve` as a process on loopback, watched as a program would."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from hashlib import blake2s
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from p2ptun.types import Endpoint
from tests.free_port import free_port
from tests.server.turn_client import TIMEOUT, USERS, TurnClient, connect_udp

P2PTUN = str(Path(sys.executable).with_name("p2ptun"))
Json: TypeAlias = dict[str, Any]
ADDRESS = "127.0.0.1"
RELAY_PORTS = "61000-65535"
"""Above those that the kernel gives to sockets that ask for any: no other test takes one that is reserved here."""


def private_file(path: Path, text: str) -> Path:
    """Write a file that only its owner can read."""
    path.touch(0o600)
    path.write_text(text)
    return path


def users_file(directory: Path) -> Path:
    """Write the users of the tests, and one more.

    A server's relay ports follow from its secrets: servers of two tests at once mustn't want the same ones.
    """
    users = {**USERS, "nobody": blake2s(bytes(directory)).hexdigest()}
    return private_file(directory / "users.toml", "".join(f'{name} = "{word}"\n' for name, word in users.items()))


def make_certificate(directory: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Make a self-signed certificate and its key."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "30", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name},IP:{ADDRESS}"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


ProcessT = TypeVar("ProcessT", bound="ServerProcess")


class ServerProcess:
    """A server and what it tells."""

    def __init__(self, *options: str) -> None:
        self.events: list[Json] = []
        self._command = [P2PTUN, "serve", "--json", *options]
        self._news = threading.Condition()

    @property
    def resident(self) -> int:
        """Bytes of memory that it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    def expect(self, kind: str, timeout: float = TIMEOUT, **fields: object) -> Json:
        """Wait for an event of this kind with these fields, among all that came or will."""
        wanted = {"event": kind, **fields}
        end = time.monotonic() + timeout
        with self._news:
            while True:
                found = next((event for event in self.events if wanted.items() <= event.items()), None)
                if found is not None:
                    return found
                assert time.monotonic() < end, f"no {wanted} among {self.events[-20:]}"
                self._news.wait(0.1)

    def stop(self, number: signal.Signals = signal.SIGINT) -> Json:
        """End it, and return its last event."""
        self.process.send_signal(number)
        assert self.process.wait(10) == 0
        self._reader.join(5)
        return self.events[-1]

    def __enter__(self: ProcessT) -> ProcessT:
        environment = {**os.environ, "NO_COLOR": "1"}
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, env=environment)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.expect("ready", 15)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()


class Serving(ServerProcess):
    """A server that relays on loopback, for the users of the tests.

    ::

        with Serving(tmp_path) as server:
            client = server.udp()
    """

    def __init__(self, directory: Path, *options: str, has_tls: bool = False) -> None:
        self.port = free_port()
        self.tls_port = free_port()
        self.certificate = make_certificate(directory) if has_tls else None
        users = ("--users", str(users_file(directory)))
        relay = ("--relay", "--relay-address", ADDRESS, "--relay-ports", RELAY_PORTS, *users)
        tls: tuple[str, ...] = ()
        if self.certificate:
            files = ("--tls-cert", str(self.certificate[0]), "--tls-key", str(self.certificate[1]))
            tls = ("--tls-listen", f"{ADDRESS}:{self.tls_port}", *files)
        super().__init__("--stun-listen", f"{ADDRESS}:{self.port}", *relay, *tls, *options)

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, for UDP and TCP."""
        return Endpoint.of(ADDRESS, self.port)

    def udp(self) -> TurnClient:
        """Connect a client by UDP."""
        return TurnClient(connect_udp(self.endpoint))

    def tcp(self) -> TurnClient:
        """Connect a client by TCP."""
        return TurnClient(socket.create_connection((ADDRESS, self.port), TIMEOUT))

    def tls(self) -> TurnClient:
        """Connect a client by TLS, which checks the certificate."""
        assert self.certificate is not None
        context = ssl.create_default_context(cafile=str(self.certificate[0]))
        context.set_alpn_protocols(["stun.turn"])
        plain = socket.create_connection((ADDRESS, self.tls_port), TIMEOUT)
        return TurnClient(context.wrap_socket(plain, server_hostname=ADDRESS))


class HttpServing(ServerProcess):
    """A server of rooms on loopback, over HTTP, and over HTTPS with a certificate.

    ::

        with HttpServing() as server:
            httpx.post(server.url + "/v1/rooms")
    """

    def __init__(self, *options: str, certificate: tuple[Path, Path] | None = None) -> None:
        self.port = free_port()
        self.secure_port = free_port()
        tls: tuple[str, ...] = ()
        if certificate:
            files = ("--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
            tls = ("--https-listen", f"{ADDRESS}:{self.secure_port}", *files)
        super().__init__("--listen", f"{ADDRESS}:{self.port}", *tls, *options)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{ADDRESS}:{self.port}"

    @property
    def secure_url(self) -> str:
        """Where it is with TLS."""
        return f"https://{ADDRESS}:{self.secure_port}"
