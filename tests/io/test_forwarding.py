from __future__ import annotations

from pathlib import Path

import pytest

from p2ptun.io.forwarding import SWITCHES, is_forwarding


@pytest.mark.parametrize("version", SWITCHES)
@pytest.mark.parametrize(("text", "forwards"), [("1\n", True), ("2\n", True), ("0\n", False), ("", False)])
def test_the_switch_decides(version: int, text: str, forwards: bool, tmp_path: Path) -> None:
    switch = tmp_path.joinpath(*SWITCHES[version].split("."))
    switch.parent.mkdir(parents=True)
    switch.write_text(text)
    assert is_forwarding(version, tmp_path) is forwards


def test_a_kernel_without_the_switch_forwards_nothing(tmp_path: Path) -> None:
    assert not is_forwarding(6, tmp_path)


def test_this_kernel_has_the_switch() -> None:
    assert Path("/proc/sys", *SWITCHES[4].split(".")).exists()
