"""A Redis of the tests' own, from Debian's package, on a Unix socket."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import redis

PATIENCE = 15.0

CONFIGURATION = """
port 0
unixsocket {directory}/redis.sock
dir {directory}
appendonly yes
appendfsync {appendfsync}
save ""
rdbcompression no
loglevel warning
logfile {directory}/redis.log
"""


class RedisServer:
    """A server, whose data outlast being killed when it writes each change before it answers: `always`."""

    def __init__(self, directory: Path, appendfsync: str = "everysec") -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("needs redis-server (apt-get install redis-server)")
        self.directory = directory
        self.url = f"unix://{directory}/redis.sock"
        self._configuration = directory / "redis.conf"
        self._configuration.write_text(CONFIGURATION.format(directory=directory, appendfsync=appendfsync))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = subprocess.Popen(["redis-server", self._configuration], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, (self.directory / "redis.log").read_text()
            assert self._process.poll() is None, (self.directory / "redis.log").read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it, with no time for a last word. Harmless twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def clear(self) -> None:
        """Forget everything."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def held(self) -> bytes:
        """Return all that it holds and has written."""
        with redis.Redis.from_url(self.url) as client:
            keys: list[bytes] = list(client.scan_iter())
            dumped = [client.dump(key) for key in keys]
        written = [path.read_bytes() for path in self.directory.rglob("*.aof")]
        return b"\0".join([*keys, *(dump for dump in dumped if isinstance(dump, bytes)), *written])

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
