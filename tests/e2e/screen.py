"""p2ptun in a terminal of a laboratory's host, with a person before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from subprocess import Popen

from tests.e2e.lab import Node, wait_until
from tests.e2e.program import P2PTUN, TunnelLab
from tests.terminal import Terminal

BLOB = re.compile(r"p2p1[A-Za-z0-9_-]{60,}")


class Screen(Terminal):
    """One p2ptun in a terminal of a host."""

    def __init__(self, lab: TunnelLab, host: Node, *arguments: str, colour: bool = False) -> None:
        environment = {**lab.environment(host), "TERM": "xterm-256color"}
        if colour:
            del environment["NO_COLOR"]

        def start(argv: Sequence[str], terminal: int) -> Popen[str]:
            return lab.popen(host, argv, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)

        super().__init__(start, P2PTUN, *arguments)

    def read_blob(self) -> str:
        """Wait for the blob that it prints."""
        return self.read_blobs(1)[-1]

    def read_blobs(self, count: int) -> list[str]:
        """Wait until so many blobs can be read, those typed included."""
        return wait_until(lambda: found if len(found := BLOB.findall(self.read())) >= count else [], 15, "a blob")
