"""systemd's own judgement of the units: that it understands them, and how much they could do (Debian: systemd)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "systemd"
P2PTUN = Path(sys.executable).with_name("p2ptun")
MOST_EXPOSED = {"p2ptun-server.service": 1.5}

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", MOST_EXPOSED)
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    """It looks for the program, too, which is installed elsewhere here."""
    text, count = re.subn(r"^ExecStart=p2ptun ", f"ExecStart={P2PTUN} ", (UNITS / name).read_text(), flags=re.MULTILINE)
    assert count == 1
    unit = tmp_path / name
    unit.write_text(text)
    finished = analyze("verify", "--man=no", str(unit))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


@pytest.mark.parametrize(("name", "most"), MOST_EXPOSED.items())
def test_little_is_exposed(name: str, most: float) -> None:
    report = analyze("security", "--offline=true", str(UNITS / name)).stdout
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", report)
    assert found, report
    assert float(found[1]) <= most, report


def test_a_misspelt_line_is_seen(tmp_path: Path) -> None:
    unit = tmp_path / "p2ptun-misspelt.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nDynamicUsr=yes\n")
    assert "DynamicUsr" in analyze("verify", "--man=no", str(unit)).stderr
