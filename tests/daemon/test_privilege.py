from __future__ import annotations

import subprocess
import sys

import pytest

from p2ptun.daemon.privilege import CAP_NET_ADMIN, KEPT

PROGRAM = """
import threading
from p2ptun.daemon.privilege import drop_privileges
def show():
    text = open("/proc/thread-self/status").read()
    print(*[line.split()[1] for line in text.splitlines() if line.startswith(("Cap", "NoNewPrivs"))])
print(drop_privileges())
show()
thread = threading.Thread(target=show)
thread.start()
thread.join()
"""


def run(*prefix: str) -> list[str]:
    done = subprocess.run([*prefix, sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_kept_capabilities_are_what_a_tunnel_needs() -> None:
    assert KEPT & 1 << CAP_NET_ADMIN
    assert KEPT.bit_count() == 2


@pytest.mark.root
def test_only_those_are_left_in_every_set_and_thread() -> None:
    agreed, here, there = run()
    assert agreed == "True"
    kept, none = f"{KEPT:016x}", f"{0:016x}"
    assert here.split() == [none, kept, kept, kept, none, "1"]  # inheritable, permitted, effective, bounding, ambient
    assert there == here


@pytest.mark.root
def test_what_was_missing_does_not_come_back() -> None:
    agreed, here, _ = run("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
    assert agreed == "True"
    assert int(here.split()[1], 16) == KEPT & ~(1 << CAP_NET_ADMIN)
