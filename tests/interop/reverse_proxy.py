"""Debian's Caddy and nginx with the files in examples/, as processes on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.free_port import free_port
from tests.interop.web_serving import WebServing
from tests.server.serving import ADDRESS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
NAME = "localhost"
TIMEOUT = 10.0


class Proxy:
    """A proxy in front of a server. What differs from the example is what `_replaced` names, and nothing else."""

    def __init__(self, directory: Path, server: WebServing) -> None:
        assert server.certificate
        self.port, self.plain_port = free_port(), free_port()
        self.certificate, self.key = server.certificate
        self.url = f"https://{NAME}:{self.port}"
        self._directory = directory
        self._log = directory / "proxy.log"
        self._server = server

    def __enter__(self) -> Proxy:
        homes = {"HOME": str(self._directory), "XDG_DATA_HOME": str(self._directory)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._prepare(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **homes}
            )
        end = time.monotonic() + TIMEOUT
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.02)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(TIMEOUT)

    def _prepare(self) -> list[str]:
        """Write the configuration; return the command."""
        raise NotImplementedError

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((ADDRESS, self.port), 1):
            return True
        return False

    def _write(self, example: Path, replaced: dict[str, str], before: str = "") -> Path:
        text = (EXAMPLES / example).read_text()
        for old, new in replaced.items():
            assert old in text, f"{example} has no {old} any more"
            text = text.replace(old, new)
        path = self._directory / example.name
        path.write_text(before + text)
        return path


class Caddy(Proxy):
    """Global options come before the example: no door for its administrator, and a port for plain HTTP."""

    @staticmethod
    def is_missing() -> bool:
        """Tell whether it can't be run here."""
        return shutil.which("caddy") is None

    def _prepare(self) -> list[str]:
        own = "tls /etc/ssl/rv.example.net.pem /etc/ssl/private/rv.example.net.key"
        replaced = {
            f"# {own}": f"tls {self.certificate} {self.key}",
            "rv.example.net {": f"{NAME}:{self.port} {{",
            "127.0.0.1:8080": f"{ADDRESS}:{self._server.http_port}",
        }
        options = f"{{\n\tadmin off\n\thttp_port {self.plain_port}\n\thttps_port {self.port}\n}}\n"
        path = self._write(Path("caddy/Caddyfile"), replaced, options)
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(path)]


class Nginx(Proxy):
    """As in the example, with every port moved."""

    @staticmethod
    def is_missing() -> bool:
        """Tell whether it, or its module, can't be run here."""
        return shutil.which("nginx") is None or not STREAM_MODULE.exists()

    def _prepare(self) -> list[str]:
        replaced = {
            "/run/nginx.pid": str(self._directory / "nginx.pid"),
            "/etc/ssl/rv.example.net.pem;": f"{self.certificate};",
            "/etc/ssl/private/rv.example.net.key;": f"{self.key};",
            "server_name rv.example.net": f"server_name {NAME}",
            "listen 443": f"listen {ADDRESS}:{self.port}",
            "listen 80": f"listen {ADDRESS}:{self.plain_port}",
            "listen [::]:443;": _ipv6(self.port),
            "listen [::]:80;": _ipv6(self.plain_port),
            "127.0.0.1:8443": f"{ADDRESS}:{free_port()}",
            "127.0.0.1:8444": f"{ADDRESS}:{free_port()}",
            "127.0.0.1:8080": f"{ADDRESS}:{self._server.http_port}",
            "127.0.0.1:5349": f"{ADDRESS}:{self._server.tls_port}",
            "worker_processes auto": "worker_processes 1",
        }
        path = self._write(Path("nginx/nginx.conf"), replaced)
        return ["nginx", "-e", "stderr", "-c", str(path), "-g", "daemon off;"]


def _ipv6(port: int) -> str:
    """Listen on IPv6 where there is any."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return ""
    return f"listen [::1]:{port};"
