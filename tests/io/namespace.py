"""A network namespace for one test, without a name: it goes with the thread that made it, however the test ends.

Namespaces belong to threads. The test runs in a thread of its own, in a fresh namespace; so do the sockets it opens,
the threads that trio starts from there, and the commands it runs.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LAN = """
ip link add lan0 type veth peer far0
ip link set far0 up
ip address add 192.168.1.2/24 dev lan0
ip address add 2001:db8:1::2/64 dev lan0 nodad
ip link set lan0 up
ip route add default via 192.168.1.1
ip -6 route add default via 2001:db8:1::1
"""
"""A script that makes an interface with addresses and default routes, as a machine at home has it."""

CLONE_FS = 0x00000200  # linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def in_namespace(test: Callable[P, R]) -> Callable[P, R]:
    """Run a test in a network namespace of its own, with loopback up and mounts that nobody else sees."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with ThreadPoolExecutor(max_workers=1, initializer=_enter) as thread:
            return thread.submit(test, *args, **kwargs).result()

    return run


def shell(script: str) -> str:
    """Run a shell script in the namespace of this thread; return what it printed."""
    finished = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{script!r} failed: {finished.stderr}"
    return finished.stdout


def _enter() -> None:
    if _libc.unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_FS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    shell("mount --make-rprivate / && ip link set lo up")
