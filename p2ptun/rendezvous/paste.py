"""The rendezvous that needs no server: people carry blobs. One goes to stdout, the other side's comes from stdin."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import trio

from p2ptun.errors import RendezvousEnded, RendezvousError
from p2ptun.rendezvous.line import LineReader
from p2ptun.signal.blob import is_complete, unwrap, wrap
from p2ptun.signal.description import decode_description

STDIN = 0
PASTE_PAUSE = 1.0  # our choice, in seconds: a paste that was wrapped into several lines comes within milliseconds


def print_line(line: str) -> None:
    """Print a line to stdout at once. Raises RendezvousError when nobody takes it."""
    try:
        print(line, flush=True)
    except OSError as exc:
        raise RendezvousError(
            f"The blob for the other side can't be printed ({exc.strerror}).", "Keep standard output open."
        ) from exc


class PasteRendezvous:
    """Prints blobs and reads blobs.

    A blob that is read may have quotes or white space around it, may be wrapped into several lines, and may come inside
    a line of `--json`, `{"event": "offer", "blob": "..."}`; other JSON objects are skipped, so that the whole output of
    one side's `--json` can be the other's input.

    Args:
        as_json: Print blobs as such JSON lines instead of bare.
        stdin: Where blobs are read from.
        show: What prints a line.
    """

    def __init__(self, as_json: bool = False, *, stdin: int = STDIN, show: Callable[[str], None] = print_line) -> None:
        self._as_json = as_json
        self._show = show
        self._lines = LineReader(stdin)

    async def send(self, message: bytes) -> None:
        """Print a description's blob. Raises RendezvousError when stdout is closed, MalformedPacket for other bytes."""
        blob = wrap(message)
        event = {"event": decode_description(message).kind.value, "blob": blob}
        self._show(json.dumps(event, separators=(",", ":")) if self._as_json else blob)
        await trio.lowlevel.checkpoint()

    async def receive(self) -> bytes:
        """Wait for the other side's blob. Raises RendezvousError; calling it once more waits for the next blob."""
        text = ""
        while not text or not is_complete(text):
            line = await self._next_line(math.inf if not text else PASTE_PAUSE)
            if line is None:
                break
            text += _blob_in(line)
        if not text:
            raise RendezvousEnded(
                "The input ended before the other side's blob came.",
                "Keep standard input open until the other side's blob has been pasted.",
            )
        return unwrap(text)

    async def aclose(self) -> None:
        """Leave stdin and stdout open: they aren't ours."""
        await trio.lowlevel.checkpoint()

    async def _next_line(self, patience: float) -> str | None:
        """Return the next line; None at the end of the input, or when none comes in time."""
        with trio.move_on_after(patience):
            return await self._lines.next_line()
        return None


def _blob_in(line: str) -> str:
    """Return what of a line belongs to a blob: its `blob` when it is a JSON object, else all of it."""
    stripped = line.strip()
    if not stripped.startswith("{"):
        return stripped
    try:
        blob = json.loads(stripped).get("blob", "")
    except (ValueError, RecursionError):
        return stripped
    return blob if isinstance(blob, str) else ""
