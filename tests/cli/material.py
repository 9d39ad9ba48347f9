"""Running the command as a shell does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MAIN = "from p2ptun.cli.main import main; main()"
ROOT = Path(__file__).resolve().parents[2]


def p2ptun(
    *arguments: str, stdin: bytes = b"", prelude: str = "", stdout: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `p2ptun` in a process of its own; `prelude` is Python that runs there before it."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'p2ptun'\n{prelude}\n{MAIN}", *arguments],
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", **environment},
        cwd=ROOT,
        timeout=60,
        check=False,
    )
