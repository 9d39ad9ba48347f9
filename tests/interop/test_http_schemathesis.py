"""Another reader of the API's description: schemathesis asks what the description allows and forbids, and judges."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.serving import HttpServing

pytest.importorskip("schemathesis", reason="needs schemathesis, of the dev extra")
PROGRAM = Path(sys.executable).with_name("schemathesis")
EXAMPLES = 8


def test_description_and_server_agree(tmp_path: Path) -> None:
    limits = ("--address-requests", "1000000", "--address-entries", "1000000", "--address-rooms", "100000")
    with HttpServing(*limits) as server:
        command = [
            *(str(PROGRAM), "run", f"{server.url}/openapi.json", "--checks", "all", "--generation-deterministic"),
            *("--phases", "coverage,fuzzing", "--max-examples", str(EXAMPLES), "--no-color"),
        ]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
        assert finished.returncode == 0, "\n".join(line[:300] for line in finished.stdout.splitlines()[-100:])
        server.stop()
