"""p2ptun on the hosts of a laboratory: started, fed, watched and asked, as a person or a program would.

::

    with TunnelLab() as lab:
        alice, bob = lab.add_host("alice"), lab.add_host("bob")
        tunnel = lab.connect(alice, bob, "--rekey-interval", "2")
        assert lab.can_ping(alice, tunnel.join.ipv4)

Every host has a runtime directory of its own, as two machines would: network namespaces share one file system.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from tests.e2e.lab import Lab, Node, wait_until
from tests.e2e.serve import P2PTUN, Serve

__all__ = ["P2PTUN", "Json", "Program", "Tunnel", "TunnelLab"]

Json: TypeAlias = dict[str, Any]
GOODBYE_TIME = 3.0


def environment(runtime: Path) -> dict[str, str]:
    """Make the environment of a host's programs: a runtime directory of its own, none of the caller's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("P2PTUN_")}
    own = {"P2PTUN_RUNTIME_DIRECTORY": str(runtime), "XDG_CONFIG_HOME": str(runtime / "config")}
    return {**kept, **own, "NO_COLOR": "1"}


class Program:
    """One `p2ptun share` or `p2ptun join` with `--json` on a host.

    `expect` goes through its events one after the other; `find` looks for one among all that came so far.
    """

    def __init__(self, process: subprocess.Popen[str], host: Node, name: str, runtime: Path, errors: Path) -> None:
        self.process = process
        self.host = host
        self.name = name
        self.events: list[Json] = []
        self.times: list[float] = []
        self._runtime = runtime
        self._errors = errors
        self._position = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self.times.append(time.monotonic())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def talk(self) -> str:
        """What it has said on stderr."""
        return self._errors.read_text()

    def feed(self, line: str) -> float:
        """Give it a line on stdin; return when."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return time.monotonic()

    def expect(self, kind: str, timeout: float = 15, /, **fields: object) -> Json:
        """Wait for the next event of this kind with these fields, passing over others."""
        return self.expect_timed(kind, timeout, **fields)[0]

    def expect_timed(self, kind: str, timeout: float = 15, /, **fields: object) -> tuple[Json, float]:
        """Do as `expect`, and tell when it came."""
        wanted = {"event": kind, **fields}
        end = time.monotonic() + timeout
        with self._news:
            while True:
                while self._position < len(self.events):
                    event, at = self.events[self._position], self.times[self._position]
                    self._position += 1
                    if wanted.items() <= event.items():
                        return event, at
                left = end - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    raise AssertionError(f"{self.name} gave no {wanted} within {timeout:g} s\n{self.describe()}")
                self._news.wait(min(left, 0.5))

    def find(self, kind: str, /, **fields: object) -> list[Json]:
        """List the events of this kind with these fields that came so far."""
        wanted = {"event": kind, **fields}
        with self._news:
            return [event for event in self.events if wanted.items() <= event.items()]

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def exit_code(self, timeout: float = 10) -> int:
        """Wait for its end, and for its last event."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{self.name} still runs after {timeout:g} s\n{self.describe()}") from error
        self._reader.join(5)
        return code

    def describe(self) -> str:
        """Show what it has done, for a failed test."""
        events = "\n".join(json.dumps(event) for event in self.events[-30:])
        return f"exit code {self.process.poll()}, events:\n{events}\nstderr:\n{self.talk}"

    # What a running tunnel tells

    @property
    def interface(self) -> str:
        """The name of its interface."""
        return str(self.find("interface")[-1]["name"])

    @property
    def ipv4(self) -> IPv4Address:
        """Its IPv4 address in the tunnel."""
        return next(address for address in self._addresses() if isinstance(address, IPv4Address))

    @property
    def ipv6(self) -> IPv6Address:
        """Its IPv6 address in the tunnel."""
        return next(address for address in self._addresses() if isinstance(address, IPv6Address))

    def _addresses(self) -> list[IPv4Address | IPv6Address]:
        return [ip_address(each.split("/")[0]) for each in self.find("interface")[-1]["addresses"]]

    def status(self) -> Json:
        """Ask its control socket, as `p2ptun status` does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(str(self._runtime / f"{self.interface}.sock"))
            client.sendall(b'{"verb":"status"}\n')
            with client.makefile() as answers:
                answer: Json = json.loads(answers.readline())["ok"]
        return answer

    def peer(self) -> Json:
        """Return the one peer of its status."""
        peer: Json = self.status()["peers"][0]
        return peer


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Both sides of a tunnel that is up. `setup` is the time from pasting the answer to both having a path, seconds."""

    share: Program
    join: Program
    offer: str
    answer: str
    setup: float

    def part(self) -> tuple[int, int]:
        """Let the side that shared be interrupted, and the other hear of it, or be interrupted too; both exit codes.

        A goodbye is a datagram: over two relays, that end as well, it may be lost.
        """
        self.share.stop()
        code = self.share.exit_code()
        try:
            return code, self.join.exit_code(GOODBYE_TIME)
        except AssertionError:
            self.join.stop()
            return code, self.join.exit_code()


class TunnelLab(Lab):
    """A laboratory whose hosts can run p2ptun."""

    def __init__(self) -> None:
        super().__init__()
        self._programs: list[Program] = []
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))

    def __enter__(self) -> TunnelLab:
        super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        shutil.rmtree(self._scratch)

    def environment(self, host: Node) -> dict[str, str]:
        """Return the environment for programs on a host."""
        return environment(self.runtime(host))

    def runtime(self, host: Node) -> Path:
        """Return where the control sockets of a host are."""
        return self._scratch / host.name

    def start(self, host: Node, verb: str, *options: str, argv: Sequence[str] = (P2PTUN,)) -> Program:
        """Start `p2ptun VERB --json` on a host."""
        errors = self._scratch / f"talk{time.monotonic_ns()}"
        with errors.open("w") as file:
            process = self.popen(
                host,
                [*argv, verb, "--json", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=self.environment(host),
            )
        program = Program(process, host, f"{verb} on {host.name}", self.runtime(host), errors)
        self._programs.append(program)
        return program

    def start_serve(self, server: Node, relay: bool = True, rooms: bool = False) -> Serve:
        """Run `p2ptun serve` on a server; return when it listens."""
        serving = Serve(self, server, self._scratch, relay, rooms)
        serving.start()
        return serving

    def kill_programs(self) -> None:
        """End what a failed test has left running, so that the next one finds the hosts as they were."""
        for program in self._programs:
            if program.process.poll() is None:
                program.stop(signal.SIGKILL)
                program.exit_code()
        self._programs.clear()

    def p2ptun(self, host: Node, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run p2ptun on a host to its end."""
        return self.run(host, [P2PTUN, *arguments], stdin=stdin, env=self.environment(host))

    def connect(self, alice: Node, bob: Node, *options: str, names: tuple[str, str] | None = None) -> Tunnel:
        """Share on `alice`, join on `bob`, carry the blobs, and wait until both have a path."""
        own, others = (["--name", name] for name in names) if names else ([], [])
        share = self.start(alice, "share", *options, *own)
        join = self.start(bob, "join", *options, *others)
        return self.introduce(share, join)

    def introduce(self, share: Program, join: Program) -> Tunnel:
        """Carry the blobs between two that wait for them, and wait until both have a path."""
        offer = share.expect("offer")["blob"]
        join.feed(offer)
        answer = join.expect("answer")["blob"]
        pasted = share.feed(answer)
        ready = max(side.expect_timed("path")[1] for side in (share, join))
        return Tunnel(share, join, offer, answer, ready - pasted)

    def configuration(self, host: Node) -> str:
        """Show the interfaces, addresses, routes and control sockets of a host, to be compared with a later state."""
        runtime = self.runtime(host)
        sockets = sorted(path.name for path in runtime.iterdir()) if runtime.is_dir() else []
        script = "ip -brief link; ip -brief address; ip route show table all; ip -6 route show table all"
        return self.shell(host.namespace, script) + "\n".join(sockets)

    def expect_configuration(self, host: Node, wanted: str) -> None:
        """Wait a moment until a host is in a state again: the kernel ends sockets and devices just after the exit."""
        try:
            wait_until(lambda: self.configuration(host) == wanted, 3, "the host is as before")
        finally:
            assert self.configuration(host) == wanted
