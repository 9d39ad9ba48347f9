"""A laboratory of network namespaces: an internet with servers, hosts on it, and hosts behind routers.

::

    with Lab() as lab:
        stun = lab.start_stun(lab.add_server("stun"))       # 203.0.113.2 and .3, 2001:db8::2 and ::3, port 3478
        home = lab.add_router("home", LINUX)
        alice = lab.add_host("alice", home)                 # 192.168.1.10, 2001:db8:2:1::a
        carrier = lab.add_router("carrier", exact(mapping, filtering), is_carrier=True)
        office = lab.add_router("office", LINUX, carrier=carrier)
        bob = lab.add_host("bob", office)                   # behind two NATs
        carol = lab.add_host("carol", ipv4=False)           # on the net: 2001:db8:1:2::2
        lab.set_nat(home, replace(LINUX, outbound=Outbound.NO_UDP))
        lab.run(alice, ["ping", "-c1", str(carol.ipv6)])
        block(lab, alice, bob)                              # and other disturbances: tests.e2e.disturbance

Nothing in it reaches, or is reached from, the machine's own network. Public addresses are documentation ranges
(RFC 5737, RFC 3849). Namespaces carry the pid of their maker in their names; on the way out, also after a failure,
Ctrl-C or SIGTERM, the processes in them are ended and they are removed, those of this laboratory and no others.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TypeAlias

from tests.e2e.command import LabError, missing, run_command, wait_until
from tests.e2e.nat import Nat, around_the_kernel, cut_ruleset
from tests.e2e.place import Attachment, Node, Plan, Router, behind, ends, set_address
from tests.e2e.usernat import UserNat

__all__ = ["REPOSITORY", "STUN_PORT", "Lab", "LabError", "Node", "Router", "missing", "wait_until"]

STUN_PORT = 3478

_NUMBERS = itertools.count(1)
REPOSITORY = Path(__file__).resolve().parents[2]
SignalHandler: TypeAlias = Callable[[int, FrameType | None], object] | int | None
Stream: TypeAlias = int | IO[str] | None


class Lab:
    """Build namespaces, run programs in them, disturb them, and remove every trace at the end."""

    def __init__(self) -> None:
        self.prefix = f"p2ptun-{os.getpid()}-{next(_NUMBERS)}"
        self._namespaces: list[str] = []
        self._processes: list[subprocess.Popen[str]] = []
        self._links = itertools.count()
        self._plan = Plan()
        self._nodes: dict[str, Node] = {}
        self._handlers: dict[int, SignalHandler] = {}
        self.core = ""

    def __enter__(self) -> Lab:
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, _interrupt)
        try:
            self.core = self._add_namespace("core", _ROUTER)
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
        """Add a host with two addresses of 203.0.113.0/24 and two of 2001:db8::/48; the second ones: `alternates`."""
        return self._plug(name, self._plan.server(self.core, ipv6), "eth0", "")

    def add_host(self, name: str, router: Router | None = None, ipv4: bool = True, ipv6: bool = True) -> Node:
        """Add a host behind `router`, or directly on the net when there is none."""
        at = self._plan.site(self.core, ipv4, ipv6) if router is None else behind(router, ipv4, ipv6)
        return self._plug(name, at, "eth0", "")

    def add_router(
        self, name: str, nat: Nat, ipv6: bool = True, carrier: Router | None = None, is_carrier: bool = False
    ) -> Router:
        """Add a router with a network 192.168.N.0/24 and 2001:db8:2:N::/64 behind it, 100.64.N.0/24 if `is_carrier`.

        It is on the net, or behind `carrier`: then there are two NATs on the way. IPv6 is routed and filtered, never
        translated. Without translation of IPv4, as with a FIREWALL, those outside are told the way to its network.
        """
        at = self._plan.site(self.core, True, ipv6) if carrier is None else behind(carrier, True, ipv6)
        node = self._plug(name, at, "wan", _ROUTER)
        lan4, lan6 = self._plan.lan(node.ipv6 is not None, is_carrier)
        router = Router(node, nat, lan4, lan6)
        script = "ip link add lan type bridge forward_delay 0 mcast_snooping 0\n" + set_address("lan", lan4[1], 24)
        if lan6 is not None:
            script += set_address("lan", lan6[1], 64)
            self._tell_the_way(f"{lan6} via {node.ipv6}", node)
            if carrier is not None:
                self._tell_the_way(f"{lan6} via {carrier.node.ipv6}", carrier.node)
        if nat.mapping is None:
            self._tell_the_way(f"{lan4} via {node.ipv4}", node)
        self.shell(node.namespace, script + "ip link set lan up")
        self.set_nat(router, nat)
        return router

    def set_nat(self, router: Router, nat: Nat) -> None:
        """Let a router treat packets otherwise from now on; bindings of UDP are lost where it is translated exactly."""
        namespace = router.node.namespace
        if nat.udp is None and router.udp is not None:
            raise LabError("the exact NAT of a router can become another one, but not the kernel's")
        if nat.udp is not None and router.udp is None:
            settings = {"public": str(router.node.ipv4), "inside": str(router.lan_v4), **nat.udp.to_json()}
            argv = [sys.executable, "-m", "tests.e2e.usernat", json.dumps(settings)]
            router.udp = UserNat(self.popen(router.node, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            self.route_udp(router)
        elif nat.udp is not None and router.udp is not None and nat.udp != router.nat.udp:
            router.udp.become(nat.udp)
        router.nat = nat
        self.nft(namespace, nat.ruleset())
        self.shell(namespace, nat.settings())

    def route_udp(self, router: Router) -> None:
        """Let UDP take the way through the router's exact NAT, to and from the address that the router has now."""
        assert router.node.ipv4 is not None
        self.shell(router.node.namespace, around_the_kernel(router.node.ipv4, router.lan_v4))

    def start_stun(self, server: Node) -> str:
        """Run the project's own STUN responder on all addresses of `server`; return its first URI once it listens."""
        addresses = [str(address) for address in (server.ipv4, server.ipv6, *server.alternates) if address is not None]
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
        return self.popen_in(node.namespace, argv, stdin, stdout, stderr, env)

    def popen_in(
        self,
        namespace: str,
        argv: Sequence[str],
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program in a namespace, likewise."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *argv],
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
        return run_command(["ip", "netns", "exec", namespace, "sh", "-euc", script])

    def nft(self, namespace: str, rules: str) -> None:
        """Load nftables rules in a namespace. Raises LabError when they are wrong."""
        run_command(["ip", "netns", "exec", namespace, "nft", "-f", "-"], rules)

    def site_port(self, place: Node | Router) -> str:
        """Name the core's end of the link to the site where a host or router is."""
        node = place.node if isinstance(place, Router) else place
        while node.upstream != self.core:
            node = self._nodes[node.upstream]
        return node.peer_device

    # Disturbing; there is more in `tests.e2e.disturbance`

    def cut(self, node: Node | Router) -> None:
        """Drop silently whatever passes the node's uplink, both ways: the link stays up, nobody gets an error."""
        for namespace, device in ends(node):
            self.nft(namespace, cut_ruleset(device).replace("table netdev cut", f"table netdev cut-{device}"))

    def restore(self, node: Node | Router) -> None:
        """Let traffic pass again."""
        for namespace, device in ends(node):
            self.nft(namespace, f"delete table netdev cut-{device}")

    # Below

    def _plug(self, name: str, at: Attachment, device: str, script: str) -> Node:
        """Make a namespace and the link from it to its upstream, and give both ends their addresses."""
        namespace = self._add_namespace(name, script)
        peer = f"to{next(self._links)}"
        link = ["ip", "link", "add", peer, "netns", at.namespace, "type", "veth", "peer", device, "netns", namespace]
        run_command(link)
        self.shell(at.namespace, at.far(peer))
        self.shell(namespace, at.near(device))
        ipv4 = None if at.ipv4 is None else at.ipv4.ip
        ipv6 = None if at.ipv6 is None else at.ipv6.ip
        alternates = tuple(interface.ip for interface in at.alternates)
        node = self._nodes[namespace] = Node(name, namespace, device, at.namespace, peer, ipv4, ipv6, alternates)
        return node

    def _tell_the_way(self, route: str, node: Node) -> None:
        """Tell a node's upstream a route."""
        self.shell(node.upstream, f"ip route add {route}")

    def _add_namespace(self, name: str, script: str) -> str:
        namespace = f"{self.prefix}-{name}"
        self._namespaces.append(namespace)
        run_command(["ip", "netns", "add", namespace])
        self.shell(namespace, _QUIET + script)
        return namespace

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
