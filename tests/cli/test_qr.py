"""QR codes drawn with half blocks: what is drawn is what the code says, module by module."""

from __future__ import annotations

import pytest
import segno

from p2ptun.cli.qr import QUIET_ZONE, draw_qr

COMMAND = "p2ptun join --rendezvous https://rendezvous.example.net 42-amber-tiger-lamp"
LIGHT = {"█": (True, True), "▀": (True, False), "▄": (False, True), " ": (False, False)}


def modules(drawing: str) -> list[list[bool]]:
    """Read a drawing back: rows of modules, each light or not."""
    pairs = [[LIGHT[block] for block in line] for line in drawing.split("\n")]
    return [[pair[half] for pair in line] for line in pairs for half in (0, 1)]


@pytest.mark.parametrize("text", ["a", COMMAND, "p2p1" + "x" * 296])
def test_every_module_is_in_its_place(text: str) -> None:
    drawing = draw_qr(text, 80)
    assert drawing is not None
    rows = modules(drawing)
    code = segno.make(text, micro=False)
    size = len(list(code.matrix_iter(border=QUIET_ZONE)))
    assert [[not light for light in row] for row in rows[:size]] == [
        [bool(dark) for dark in row] for row in code.matrix_iter(border=QUIET_ZONE)
    ]
    assert all(all(row) for row in rows[size:]), "what fills the last line is light, too"


def test_a_code_and_a_blob_fit_a_terminal_of_80_columns() -> None:
    for text, most in ((COMMAND, 48), ("p2p1" + "x" * 296, 80)):
        drawing = draw_qr(text, 80)
        assert drawing is not None
        assert max(map(len, drawing.splitlines())) <= most


def test_what_is_too_wide_is_not_drawn() -> None:
    width = len(str(draw_qr(COMMAND, 80)).split("\n")[0])
    assert draw_qr(COMMAND, width)
    assert draw_qr(COMMAND, width - 1) is None
    assert draw_qr("x" * 5000, 1000) is None, "no QR code holds as much"
