"""A laboratory of network namespaces: an internet with servers, hosts on it, and hosts behind routers.

::

    with Lab() as lab:
        stun = lab.start_stun(lab.add_server("stun"))       # 203.0.113.2:3478 and [2001:db8::2]:3478
        home = lab.add_router("home", LINUX)
        alice = lab.add_host("alice", home)                 # 192.168.1.10, 2001:db8:2:1::10
        bob = lab.add_host("bob")                           # 198.51.100.18, 2001:db8:1:1::2
        lab.run(alice, ["ping", "-c1", str(bob.ipv4)])
        lab.cut(bob)

Nothing in it reaches, or is reached from, the machine's own network. Public addresses are documentation ranges
(RFC 5737, RFC 3849). Namespaces carry the pid of their maker in their names; on the way out, also after a failure,
Ctrl-C or SIGTERM, the processes in them are ended and they are removed, those of this laboratory and no others.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TypeAlias, TypeVar

from tests.e2e.nat import FIREWALL, Nat, cut_ruleset

STUN_PORT = 3478
SERVERS_V4 = IPv4Network("203.0.113.0/24")
SITES_V4 = IPv4Network("198.51.100.0/24")
SERVERS_V6 = IPv6Network("2001:db8::/48")
SITES_V6 = IPv6Network("2001:db8:1::/48")
LANS_V6 = IPv6Network("2001:db8:2::/48")

AnswerT = TypeVar("AnswerT")

_NUMBERS = itertools.count(1)
REPOSITORY = Path(__file__).resolve().parents[2]
SignalHandler: TypeAlias = Callable[[int, FrameType | None], object] | int | None
Stream: TypeAlias = int | IO[str] | None


class LabError(Exception):
    """A command that builds or uses the laboratory failed; the text says which and what it printed."""


def missing() -> str:
    """Say what this machine lacks for a laboratory; an empty string when it lacks nothing."""
    if os.geteuid() != 0:
        return "needs root"
    tools = {"ip": "iproute2", "nft": "nftables", "ping": "iputils-ping"}
    absent = [package for tool, package in tools.items() if shutil.which(tool) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs /dev/net/tun"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return f"needs network namespaces: {probe.stderr.strip()}" if probe.returncode else ""


def wait_until(condition: Callable[[], AnswerT], timeout: float, what: str) -> AnswerT:
    """Ask `condition` until it returns something true, and return that. Raises LabError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.02)
    raise LabError(f"not within {timeout:g} s: {what}")


@dataclass(frozen=True, slots=True)
class Node:
    """One namespace with one uplink. `device` is its end of the link, `peer_device` the end in namespace `upstream`."""

    name: str
    namespace: str
    device: str
    upstream: str
    peer_device: str
    ipv4: IPv4Address | None
    ipv6: IPv6Address | None


@dataclass(slots=True)
class Router:
    """A node with a network behind it; `hosts` counts those who live there."""

    node: Node
    lan_v4: IPv4Network
    lan_v6: IPv6Network | None
    hosts: itertools.count[int] = field(default_factory=lambda: itertools.count(10))


@dataclass(frozen=True, slots=True)
class _Attachment:
    """Where a new node is plugged in: the upstream's namespace and bridge, its gateways, the node's own addresses."""

    namespace: str
    bridge: str
    ipv4: IPv4Interface | None
    ipv6: IPv6Interface | None
    gateway_v4: IPv4Address
    gateway_v6: IPv6Address


class Lab:
    """Build namespaces, run programs in them, disturb them, and remove every trace at the end."""

    def __init__(self) -> None:
        self.prefix = f"p2ptun-{os.getpid()}-{next(_NUMBERS)}"
        self._namespaces: list[str] = []
        self._processes: list[subprocess.Popen[str]] = []
        self._links = itertools.count()
        self._servers = itertools.count()
        self._sites = itertools.count()
        self._routers = itertools.count(1)
        self._handlers: dict[int, SignalHandler] = {}
        self._core = ""

    def __enter__(self) -> Lab:
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, _interrupt)
        try:
            self._core = self._add_namespace("core", _ROUTER)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that run inside, remove the namespaces, restore the signal handlers."""
        ctrl_c = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._stop_processes()
            for namespace in reversed(self._namespaces):
                subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)
            self._namespaces.clear()
        finally:
            signal.signal(signal.SIGINT, ctrl_c)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    # Building

    def add_server(self, name: str, ipv6: bool = True) -> Node:
        """Add a host with an address of 203.0.113.0/24 and of 2001:db8::/48."""
        return self._add_leaf(name, self._on_the_net(next(self._servers), SERVERS_V4, SERVERS_V6, ipv6))

    def add_host(self, name: str, router: Router | None = None, ipv4: bool = True, ipv6: bool = True) -> Node:
        """Add a host behind `router`, or directly on the net when there is none."""
        if router is not None:
            return self._add_leaf(name, _behind(router, ipv4, ipv6))
        return self._add_leaf(name, self._on_the_net(next(self._sites), SITES_V4, SITES_V6, ipv6))

    def add_router(self, name: str, nat: Nat, ipv6: bool = True) -> Router:
        """Add a router with a network 192.168.N.0/24 and 2001:db8:2:N::/64 behind it.

        IPv6 is routed and filtered, never translated. A FIREWALL has no translation of IPv4 either: the core is told
        the way to its network.
        """
        attachment = self._on_the_net(next(self._sites), SITES_V4, SITES_V6, ipv6)
        node = self._plug(name, attachment, "wan", _ROUTER)
        number = next(self._routers)
        router = Router(
            node=node,
            lan_v4=IPv4Network(f"192.168.{number}.0/24"),
            lan_v6=IPv6Network((int(LANS_V6[0]) + (number << 64), 64)) if ipv6 else None,
        )
        script = "ip link add lan type bridge forward_delay 0 mcast_snooping 0\n"
        script += _address("lan", router.lan_v4[1], 24)
        if router.lan_v6 is not None:
            script += _address("lan", router.lan_v6[1], 64)
            self.shell(self._core, f"ip route add {router.lan_v6} via {node.ipv6}")
        if nat is FIREWALL:
            self.shell(self._core, f"ip route add {router.lan_v4} via {node.ipv4}")
        self.shell(node.namespace, script + "ip link set lan up")
        self._nft(node.namespace, nat.ruleset())
        return router

    def start_stun(self, server: Node) -> str:
        """Run the project's own STUN responder on `server` and return its URI once it listens."""
        addresses = [str(address) for address in (server.ipv4, server.ipv6) if address is not None]
        argv = [sys.executable, "-m", "tests.e2e.stun_server", *(f"{address},{STUN_PORT}" for address in addresses)]
        process = self.popen(server, argv, stdout=subprocess.PIPE)
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise LabError(f"the STUN responder on {server.name} did not start")
        return f"stun:{server.ipv4}:{STUN_PORT}"

    # Using

    def popen(
        self,
        node: Node,
        argv: Sequence[str],
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program on `node`, in a session of its own; `.pid` is the program's. It is ended with the lab."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", node.namespace, *argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=REPOSITORY,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def run(
        self,
        node: Node,
        argv: Sequence[str],
        timeout: float = 60,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on `node` to its end with its output captured; its exit code is the caller's to judge."""
        return subprocess.run(
            ["ip", "netns", "exec", node.namespace, *argv],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env=env,
            cwd=REPOSITORY,
            text=True,
            check=False,
        )

    def can_ping(self, node: Node, address: object, timeout: float = 1) -> bool:
        """Tell whether one echo request to `address` is answered within `timeout` seconds."""
        return self.run(node, ["ping", "-n", "-c1", f"-W{timeout:g}", str(address)]).returncode == 0

    def shell(self, namespace: str, script: str) -> str:
        """Run a shell script in a namespace and return what it printed. Raises LabError when it fails."""
        return _command(["ip", "netns", "exec", namespace, "sh", "-euc", script])

    # Disturbing

    def cut(self, node: Node | Router) -> None:
        """Drop silently whatever passes the node's uplink, both ways: the link stays up, nobody gets an error."""
        for namespace, device in _ends(node):
            self._nft(namespace, cut_ruleset(device).replace("table netdev cut", f"table netdev cut-{device}"))

    def restore(self, node: Node | Router) -> None:
        """Let traffic pass again."""
        for namespace, device in _ends(node):
            self._nft(namespace, f"delete table netdev cut-{device}")

    # Below

    def _on_the_net(self, number: int, all_v4: IPv4Network, all_v6: IPv6Network, ipv6: bool) -> _Attachment:
        """Take the next /28 and /64 of a range: .1 is the core's, .2 the node's."""
        net4 = IPv4Network((int(all_v4[0]) + 16 * number, 28))
        net6 = IPv6Network((int(all_v6[0]) + (number << 64), 64))
        return _Attachment(
            namespace=self._core,
            bridge="",
            ipv4=IPv4Interface((net4[2], 28)),
            ipv6=IPv6Interface((net6[2], 64)) if ipv6 else None,
            gateway_v4=net4[1],
            gateway_v6=net6[1],
        )

    def _add_leaf(self, name: str, attachment: _Attachment) -> Node:
        return self._plug(name, attachment, "eth0", "")

    def _plug(self, name: str, at: _Attachment, device: str, script: str) -> Node:
        """Make a namespace and the link from it to its upstream, and give both ends their addresses."""
        namespace = self._add_namespace(name, script)
        peer = f"to{next(self._links)}"
        _command(["ip", "link", "add", peer, "netns", at.namespace, "type", "veth", "peer", device, "netns", namespace])
        near = f"ip link set {device} up\n"
        far = f"ip link set {peer} up\n" + (f"ip link set {peer} master {at.bridge}\n" if at.bridge else "")
        pairs: list[tuple[IPv4Interface | IPv6Interface | None, IPv4Address | IPv6Address]]
        pairs = [(at.ipv4, at.gateway_v4), (at.ipv6, at.gateway_v6)]
        for own, gateway in pairs:
            if own is None:
                continue
            length = own.network.prefixlen
            far += "" if at.bridge else _address(peer, gateway, length)
            near += _address(device, own.ip, length) + f"ip -{own.version} route add default via {gateway}\n"
        self.shell(at.namespace, far)
        self.shell(namespace, near)
        ipv4 = None if at.ipv4 is None else at.ipv4.ip
        ipv6 = None if at.ipv6 is None else at.ipv6.ip
        return Node(name, namespace, device, at.namespace, peer, ipv4, ipv6)

    def _add_namespace(self, name: str, script: str) -> str:
        namespace = f"{self.prefix}-{name}"
        self._namespaces.append(namespace)
        _command(["ip", "netns", "add", namespace])
        self.shell(namespace, _QUIET + script)
        return namespace

    def _nft(self, namespace: str, rules: str) -> None:
        _command(["ip", "netns", "exec", namespace, "nft", "-f", "-"], rules)

    def _stop_processes(self) -> None:
        """Ask the programs we started to end, then end whatever is left inside our namespaces."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + 3
        for process in self._processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    _close(stream)
        self._processes.clear()
        for namespace in self._namespaces:
            listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
            for pid in listed.stdout.split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue


def _behind(router: Router, ipv4: bool, ipv6: bool) -> _Attachment:
    """Take the next addresses of a router's network; .1 is the router's."""
    number = next(router.hosts)
    lan6 = router.lan_v6
    return _Attachment(
        namespace=router.node.namespace,
        bridge="lan",
        ipv4=IPv4Interface((router.lan_v4[number], 24)) if ipv4 else None,
        ipv6=IPv6Interface((lan6[number], 64)) if ipv6 and lan6 is not None else None,
        gateway_v4=router.lan_v4[1],
        gateway_v6=IPv6Address(0) if lan6 is None else lan6[1],
    )


def _ends(node: Node | Router) -> tuple[tuple[str, str], tuple[str, str]]:
    """Name both ends of a node's uplink: namespace and device."""
    node = node.node if isinstance(node, Router) else node
    return (node.namespace, node.device), (node.upstream, node.peer_device)


def _address(device: str, address: IPv4Address | IPv6Address, length: int) -> str:
    """Write the command that sets an address; IPv6 without duplicate detection, so that it is usable at once."""
    return f"ip address add {address}/{length} dev {device}{' nodad' if address.version == 6 else ''}\n"


def _command(argv: Sequence[str], stdin: str = "") -> str:
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, timeout=30, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}\n{stdin}")
    return done.stdout


def _close(stream: IO[str]) -> None:
    """Close a pipe whose other end may be gone already."""
    try:
        stream.close()
    except BrokenPipeError:
        return


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Turn a request to end into an exception, so that every `with` on the stack gets to clean up."""
    raise KeyboardInterrupt(signal.Signals(number).name)


_QUIET = """
ip link set lo up
for scope in all default; do
  echo 0 > /proc/sys/net/ipv4/conf/$scope/rp_filter
  if [ -d /proc/sys/net/ipv6 ]; then
    echo 0 > /proc/sys/net/ipv6/conf/$scope/accept_dad
    echo 0 > /proc/sys/net/ipv6/conf/$scope/accept_ra
  fi
done
"""

_ROUTER = """
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
"""
