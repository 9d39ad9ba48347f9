"""systemd's own judgement of the units: that it understands them, and how much they could do (Debian: systemd)."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.free_port import free_port

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


def test_the_server_starts_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own options, but for the ports and the place of its files, it says that it is ready."""
    unit = (UNITS / "p2ptun-server.service").read_text()
    command, options = (
        re.findall(rf"^{name}(.*?)\"?$", unit, re.MULTILINE)
        for name in ("ExecStart=p2ptun ", 'Environment="P2PTUN_SERVE_OPTIONS=')
    )
    ports = {":8080": f":{free_port()}", "--stun-listen 0.0.0.0": f"--stun-listen 127.0.0.1:{free_port()}"}
    text = command[0].replace("$P2PTUN_SERVE_OPTIONS", options[0]).replace("%S/p2ptun-server", str(tmp_path))
    for old, new in ports.items():
        assert old in text
        text = text.replace(old, new)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(15)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        process = subprocess.Popen([P2PTUN, *text.replace(" --stun-listen [::]", "").split()], stderr=subprocess.PIPE)
        try:
            assert manager.recv(4096) == b"READY=1\nSTATUS=serving rooms, STUN"
            process.terminate()
            assert b"STOPPING=1" in iter(lambda: manager.recv(4096), b"")
            assert process.wait(15) == 0
        finally:
            process.kill()
            process.communicate()
    assert (tmp_path / "rooms.sqlite").exists()
