"""The core's packages: their own tests reach every line and branch of them.

Each runs as a pytest of its own under coverage. `tests/run.sh` leaves these packages' tests out of its one large run
therefore, as `python -m tests.test_coverage` lists them: what has passed here needn't pass twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ice", "turn", "relay", "nat", "signal", "tunnel", "stun", "noise")
"""The longest first."""

PATIENCE = 900.0  # seconds; ice takes 100 on a machine with two cores that does other things


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_reached_by_its_own_tests(package: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["COVERAGE_FILE"] = str(tmp_path / "coverage")
    coverage = [sys.executable, "-m", "coverage"]
    tests = ["-m", "pytest", f"tests/{package}", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = [*coverage, "run", "--branch", f"--source=p2ptun/{package}", *tests]
    done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    print(package, done.stdout.splitlines()[-1])
    report = [*coverage, "json", "-q", "-o", str(tmp_path / "report")]
    subprocess.run(report, cwd=ROOT, env=environment, check=True)
    assert missing(tmp_path / "report") == []


def missing(report: Path) -> list[str]:
    """List what was not reached, `file:line`, and `file:line->line` for a branch that was never taken."""
    found = []
    for name, file in json.loads(report.read_text())["files"].items():
        found += [f"{name}:{line}" for line in file["missing_lines"]]
        found += [f"{name}:{start}->{end}" for start, end in file["missing_branches"]]
    return found


if __name__ == "__main__":
    print("\n".join(f"tests/{package}" for package in PACKAGES))
