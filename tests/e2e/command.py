"""Commands that build a laboratory: run to their end, and what they say when they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

AnswerT = TypeVar("AnswerT")


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


def run_command(argv: Sequence[str], stdin: str = "") -> str:
    """Run a command to its end and return what it printed. Raises LabError when it fails."""
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, timeout=30, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}\n{stdin}")
    return done.stdout
