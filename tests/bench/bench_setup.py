"""From a code to a connection, next to what others need in the same place.

    python -m tests.bench.bench_setup [ROUNDS]                 as root

Two machines behind port-restricted NATs (EIM/APDF, RFC 4787), a server, a core across which a round trip takes 50 ms.
Measured is the joining side, from the start of its program: `p2ptun join CODE` to the first reply to a ping; aioice,
told of the other side at once and without a server in between, to its path; and where `wormhole` and `twist` are
installed (magic-wormhole with its mailbox server and transit relay; `WORMHOLE=/path/to/bin` says where), `wormhole
receive CODE` of a file of one byte to its end. Prints medians; asserts nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.command import wait_until
from tests.e2e.program import TunnelLab
from tests.e2e.setting_up import Place, meet_by_aioice, meet_by_code

MAILBOX, TRANSIT = 4000, 4001  # ports
WORMHOLE_CODE = "7-crossover-clockwork"


class Wormholes:
    """magic-wormhole with its servers."""

    def __init__(self, place: Place, directory: Path, scratch: Path) -> None:
        self._place = place
        self._program = str(directory / "wormhole")
        self._scratch = scratch
        self._round = 0
        server = place.server.node
        self._servers = [
            *("--relay-url", f"ws://{server.ipv4}:{MAILBOX}/v1"),
            *("--transit-helper", f"tcp:{server.ipv4}:{TRANSIT}"),
        ]
        twist = str(directory / "twist")
        place.lab.popen(server, [twist, "wormhole-mailbox", f"--port=tcp:{MAILBOX}", f"--channel-db={scratch}/db"])
        place.lab.popen(server, [twist, "transitrelay", f"--port=tcp:{TRANSIT}"])
        wait_until(self._listen, 20, "magic-wormhole's servers listen")

    def meet(self) -> float:
        """Send a byte to bob; return how long he needed from the start of his program."""
        self._round += 1
        file = self._scratch / f"file{self._round}"
        file.write_bytes(b"x")
        code = f"{self._round}{WORMHOLE_CODE}"
        lab, place = self._place.lab, self._place
        send = ["send", "--no-qr", "--hide-progress", "--code", code, str(file)]
        sender = lab.popen(place.alice, [self._program, *self._servers, *send], stderr=subprocess.DEVNULL)
        time.sleep(3)  # it prints no code that it was given; by then it waits
        began = time.monotonic()
        done = lab.run(
            place.bob,
            [self._program, *self._servers, "receive", "--accept-file", "-o", f"{file}-there", code],
        )
        took = time.monotonic() - began
        sender.wait(20)
        if done.returncode != 0:
            raise SystemExit(f"wormhole receive failed: {done.stderr}")
        return took

    def _listen(self) -> bool:
        listed = self._place.lab.run(self._place.server.node, ["ss", "-Hlnt"]).stdout
        return all(f":{port} " in listed for port in (MAILBOX, TRANSIT))


def wormhole_directory() -> Path | None:
    """Find where magic-wormhole is installed, with the tool that starts its servers."""
    named = os.environ.get("WORMHOLE")
    found = shutil.which("wormhole") if named is None else str(Path(named) / "wormhole")
    directory = None if found is None else Path(found).parent
    return directory if directory is not None and (directory / "twist").exists() else None


def main() -> None:
    """Measure, and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as scratch, TunnelLab() as lab:
        place = Place(lab)
        ways: dict[str, Callable[[], float]] = {
            "p2ptun join CODE, to the first ping reply": lambda: meet_by_code(place).total,
            "aioice, told at once, to its path": lambda: meet_by_aioice(place),
        }
        directory = wormhole_directory()
        if directory is None:
            print("  magic-wormhole isn't installed here", file=sys.stderr)
        else:
            ways["wormhole receive CODE, to its end"] = Wormholes(place, directory, Path(scratch)).meet
        taken = {name: [way() for _ in range(rounds)] for name, way in ways.items()}
        for name, times in taken.items():
            median, least, most = statistics.median(times), min(times), max(times)
            print(f"  {name:44} {median * 1000:6.0f} ms  ({least * 1000:.0f} to {most * 1000:.0f}, {rounds} rounds)")


if __name__ == "__main__":
    main()
