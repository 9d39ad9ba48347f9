"""The rendezvous that needs no server: people carry blobs. One is shown, the other side's comes from stdin."""

from __future__ import annotations

import json
import math

import trio

from p2ptun.errors import RendezvousEnded, RendezvousError
from p2ptun.rendezvous.base import BurnReason, Context, IceServers
from p2ptun.rendezvous.line import LineReader
from p2ptun.signal.blob import is_complete, unwrap, wrap

PASTE_PAUSE = 1.0  # our choice, in seconds: a paste that was wrapped into several lines comes within milliseconds


class PasteRendezvous:
    """People who carry blobs: there is one room, and no number to it."""

    def __init__(self, url: str, context: Context) -> None:
        self._context = context

    async def open_room(self) -> PasteRoom:
        """Begin; what is sent first is the offer."""
        await trio.lowlevel.checkpoint()
        return PasteRoom(self._context)

    async def join_room(self, number: str, opening: bytes) -> PasteRoom:
        """Begin; what is received first is the offer. There is nobody yet to whom an opening could be given."""
        await trio.lowlevel.checkpoint()
        return PasteRoom(self._context)

    async def enter_room(self, name: str, token: str, opening: bytes) -> PasteRoom:
        """Refuse: nobody carries blobs for machines that meet by themselves. Raises RendezvousError."""
        await trio.lowlevel.checkpoint()
        raise RendezvousError(
            "Machines that find each other by themselves need a rendezvous, and paste is none.",
            "Name one with its URL, such as https://rendezvous.example.net.",
        )

    async def aclose(self) -> None:
        """Leave stdin and stdout open: they aren't ours."""
        await trio.lowlevel.checkpoint()


class PasteRoom:
    """Shows blobs and reads blobs.

    A blob that is read may have quotes or white space around it, may be wrapped into several lines, and may come inside
    a line of `--json`, `{"event": "offer", "blob": "..."}`; other JSON objects are skipped, so that the whole output of
    one side's `--json` can be the other's input.
    """

    number: str | None = None
    ice = IceServers()

    def __init__(self, context: Context) -> None:
        """Show blobs to, and read them from, whom `context` names."""
        self._show = context.show
        self._lines: LineReader = context.lines

    async def send(self, message: bytes) -> None:
        """Show a message's blob. Raises what `show` raises."""
        self._show(wrap(message))
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

    async def renew_ice(self) -> IceServers:
        """Return nothing: people offer no servers."""
        await trio.lowlevel.checkpoint()
        return self.ice

    async def burn(self, reason: BurnReason) -> None:
        """End it; what was carried can't be taken back."""
        await trio.lowlevel.checkpoint()

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
