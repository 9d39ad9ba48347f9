"""QR codes in a terminal: two rows of modules to a line, by half blocks."""

from __future__ import annotations

from itertools import zip_longest

QUIET_ZONE = 4  # modules on each side (ISO/IEC 18004)
STYLE = "#ffffff on #000000"
"""Light modules are drawn and dark ones left out: without colours it looks the same on a dark terminal."""

_BLOCKS = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}  # (upper, lower) is light


def draw_qr(text: str, columns: int) -> str | None:
    """Draw `text` as lines; None when they would be wider than `columns`, or no QR code holds as much."""
    import segno

    try:
        code = segno.make(text, micro=False)
    except segno.DataOverflowError:
        return None
    rows = [[not is_dark for is_dark in row] for row in code.matrix_iter(border=QUIET_ZONE)]
    if len(rows) > columns:
        return None
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=[True] * len(rows))
    return "\n".join("".join(_BLOCKS[pair] for pair in zip(*each, strict=True)) for each in pairs)
