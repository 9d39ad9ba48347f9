"""Our relay against coturn, in one run: packets through it, CPU for them, allocations.

    python -m tests.bench.bench_relay [SECONDS [ROUNDS]]          as root; two processors or more

Each relay is alone on one processor, in a network namespace of its own behind a veth pair; the client, its peer and
everything else of the load are on another (`relay_load`). The two relays take turns, and the best of a relay's rounds
counts: others use the machine too, and that only makes things slower. First with the link's default offloads, then
with all of them off. Prints ratios; asserts nothing.

Behind each rate stands what limited it: the relay, the load, or others who used the processor. In the last two cases
the ratio of packets says little; that of packets per second of the relay's own CPU holds on a busy machine too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

Results: TypeAlias = dict[str, Any]

SERVER, LOAD = f"p2b{os.getpid()}s", f"p2b{os.getpid()}l"
SERVER_ADDRESS, LOAD_ADDRESS = "10.99.0.1", "10.99.0.2"
PORT = 3478
SERVER_PROCESSOR, LOAD_PROCESSOR = "0", "1"
OFFLOADS = "tx rx sg tso gso gro tx-udp-segmentation rx-gro-list rx-udp-gro-forwarding"
FIRST = ("nice", "-n", "-20")
BUSY = 0.03  # share of the time in which the load has nothing to do; with less of it, the load is what limits
SATURATED = 0.85  # share of its processor that a relay gets; with less of it, whatever else runs there limits
REPOSITORY = Path(__file__).resolve().parents[2]
OURS, THEIRS = "p2ptun", "coturn"


def run(*command: str, check: bool = True) -> str:
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout


@contextmanager
def network() -> Iterator[None]:
    """Two namespaces with a veth pair between them."""
    try:
        for name in (SERVER, LOAD):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", SERVER, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", LOAD)
        for name, address in ((SERVER, SERVER_ADDRESS), (LOAD, LOAD_ADDRESS)):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        yield
    finally:
        for name in (SERVER, LOAD):
            run("ip", "netns", "del", name, check=False)


def switch_offloads_off() -> None:
    for name in (SERVER, LOAD):
        for offload in OFFLOADS.split():
            run("ip", "netns", "exec", name, "ethtool", "-K", "eth0", offload, "off", check=False)


@contextmanager
def relay(name: str, scratch: Path) -> Iterator[int]:
    """Run a relay on its processor; give its process id."""
    ours = [sys.executable, "-m", "tests.bench.relay_server", SERVER_ADDRESS, str(PORT), LOAD_ADDRESS]
    theirs = [
        *("turnserver", "-n", "-c", "/dev/null", "--log-file", "/dev/null", "--no-cli", "--no-tls", "--no-dtls"),
        *("-L", SERVER_ADDRESS, "-E", SERVER_ADDRESS, "-p", str(PORT), "-a", "-r", "bench", "-u", "alice:secret1"),
        *("--pidfile", str(scratch / "pid"), "--db", str(scratch / "db"), "-m", "1"),
    ]
    command = ours if name == OURS else theirs
    prefix = ["ip", "netns", "exec", SERVER, *FIRST, "taskset", "-c", SERVER_PROCESSOR]
    process = subprocess.Popen([*prefix, *command], stdout=subprocess.DEVNULL, cwd=REPOSITORY)
    try:
        wait_for_port()
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def wait_for_port() -> None:
    end = time.monotonic() + 15
    while f"{SERVER_ADDRESS}:{PORT} " not in run("ip", "netns", "exec", SERVER, "ss", "-Hlun"):
        if time.monotonic() > end:
            raise SystemExit("the relay doesn't listen")
        time.sleep(0.1)


def load(process: int, seconds: float) -> Results:
    """Run the load against the relay that is there."""
    prefix = ["ip", "netns", "exec", LOAD, *FIRST, "taskset", "-c", LOAD_PROCESSOR, sys.executable]
    arguments = [SERVER_ADDRESS, str(PORT), LOAD_ADDRESS, str(process), str(seconds)]
    finished = subprocess.run(
        [*prefix, "-m", "tests.bench.relay_load", *arguments],
        check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    results: Results = json.loads(finished.stdout)
    return results


def best(rounds: list[Results]) -> Results:
    """Take each measurement from the round that was the fastest."""
    flows = {
        name: max((each["flows"][name] for each in rounds), key=lambda flow: float(flow["packets"]))
        for name in rounds[0]["flows"]
    }
    allocations = max((each["allocations"] for each in rounds), key=lambda one: float(one["per_second"]))
    return {"flows": flows, "allocations": allocations}


def report(title: str, ours: Results, theirs: Results) -> None:
    print(f"\n{title}\n{'':18}{OURS:>34}{THEIRS:>34}")
    for name, flow in ours["flows"].items():
        other = theirs["flows"][name]
        ratio = flow["packets"] / other["packets"]
        cpu = other["cpu_per_gb"] / flow["cpu_per_gb"]
        cells = f"{describe(flow):>34}{describe(other):>34}"
        print(f"{name:18}{cells}  {ratio:5.2f} times the packets, {cpu:5.2f} times per CPU")
    made, other = ours["allocations"], theirs["allocations"]
    ratio = made["per_second"] / other["per_second"]
    texts = [f"{each['per_second']:,.0f}/s  {each['cpu_ms']:.2f} ms CPU" for each in (made, other)]
    print(f"{'allocations':18}{texts[0]:>34}{texts[1]:>34}  {ratio:5.2f} times")


def describe(flow: dict[str, float]) -> str:
    """Say how fast a flow was, what it cost, and what limited it: the load does when it never waited for the relay."""
    limit = "load" if flow["idle"] < BUSY else "relay" if flow["cpu"] > SATURATED else "others"
    return f"{flow['packets'] / 1000:,.0f} k/s  {flow['cpu_per_gb']:.2f} s/GB  {limit:6}"


def main(seconds: str = "1", rounds: str = "3") -> None:
    """Measure and print."""
    if os.geteuid() != 0 or not shutil.which("turnserver") or (os.cpu_count() or 1) < 2:
        raise SystemExit("needs root, coturn and two processors")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(network())
        for title in ("default offloads", "all offloads off"):
            if title != "default offloads":
                switch_offloads_off()
            found: dict[str, list[Results]] = {OURS: [], THEIRS: []}
            for _ in range(int(rounds)):
                for name, results in found.items():
                    with relay(name, scratch) as process:
                        results.append(load(process, float(seconds)))
            report(title, best(found[OURS]), best(found[THEIRS]))


if __name__ == "__main__":
    main(*sys.argv[1:])
