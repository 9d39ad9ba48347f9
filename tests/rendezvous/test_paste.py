from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from p2ptun.errors import RendezvousEnded, RendezvousError
from p2ptun.rendezvous.base import BurnReason, Context, Room
from p2ptun.rendezvous.line import LineReader
from p2ptun.rendezvous.paste import PasteRendezvous, PasteRoom
from p2ptun.signal.blob import encode_blob, unwrap
from p2ptun.signal.description import Kind, encode_description
from tests.rendezvous.test_line import Source, pipe, sources
from tests.signal.sample import make_description

REPOSITORY = Path(__file__).resolve().parents[2]
OFFER, ANSWER = make_description(), make_description(Kind.ANSWER, seed=2)
MESSAGE, BLOB = encode_description(OFFER), encode_blob(OFFER)
ANSWER_MESSAGE, ANSWER_BLOB = encode_description(ANSWER), encode_blob(ANSWER)


def paste_room(stdin: int) -> PasteRoom:
    return PasteRoom(Context(print, LineReader(stdin)))


async def message_of(room: Room) -> bytes:
    message = await room.receive()
    assert isinstance(message, bytes)
    return message


def receive_from(*chunks: bytes, close: bool = False, times: int = 1) -> list[bytes]:
    """Write chunks to a pipe and receive from it, with a clock that jumps over every waiting."""

    async def main() -> list[bytes]:
        reading, writing = os.pipe()
        try:
            for chunk in chunks:
                os.write(writing, chunk)
            if close:
                os.close(writing)
            room: Room = paste_room(reading)
            messages = [await message_of(room) for _ in range(times)]
            await room.aclose()
            os.fstat(reading)
            return messages
        finally:
            os.close(reading)
            if not close:
                os.close(writing)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.05))


def refusal(*chunks: bytes, close: bool = False) -> str:
    with pytest.raises(RendezvousError) as caught:
        receive_from(*chunks, close=close)
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        BLOB,
        f"  {BLOB}  ",
        f'"{BLOB}"',
        f"\n\n{BLOB}",
        f"{BLOB}\r",
        "\n".join(BLOB[at : at + 40] for at in range(0, len(BLOB), 40)),
        "\r\n> ".join(BLOB[at : at + 72] for at in range(0, len(BLOB), 72)),
        json.dumps({"event": "offer", "blob": BLOB}),
        '{"event":"interface","name":"p2ptun0"}\n{"event":"peer","blob":null}\n' + json.dumps({"blob": BLOB}),
    ],
)
@pytest.mark.parametrize("ending", ["\n", ""])
def test_a_blob_is_found_in_what_was_pasted(text: str, ending: str) -> None:
    assert receive_from((text + ending).encode(), close=not ending) == [MESSAGE]


@sources
def test_it_comes_from_a_pipe_or_a_terminal(source: Source) -> None:
    async def main() -> bytes:
        with source() as (reading, writing):
            os.write(writing, BLOB.encode() + b"\n")
            return await message_of(paste_room(reading))

    assert trio.run(main) == MESSAGE


def test_it_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "offer"
    path.write_text(BLOB)

    async def main() -> bytes:
        with path.open("rb") as file:
            return await message_of(paste_room(file.fileno()))

    assert trio.run(main) == MESSAGE


def test_lines_that_arrive_one_after_the_other_belong_together() -> None:
    async def main() -> bytes:
        with pipe() as (reading, writing):
            room = paste_room(reading)
            received: list[bytes] = []

            async def receive() -> None:
                received.append(await message_of(room))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                for at in range(0, len(BLOB), 50):
                    os.write(writing, BLOB[at : at + 50].encode() + b"\n")
                    await trio.sleep(0.5)
            return received[0]

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.05)) == MESSAGE


def test_several_blobs_are_received_in_turn() -> None:
    assert receive_from(f"{BLOB}\n{ANSWER_BLOB}\n".encode(), times=2) == [MESSAGE, ANSWER_MESSAGE]


def test_what_can_not_be_read_is_told_at_once_and_the_next_may_be_good() -> None:
    async def main() -> bytes:
        with pipe() as (reading, writing):
            os.write(writing, f"hello\n{BLOB[:-1]}!\n{BLOB}\n".encode())
            room = paste_room(reading)
            for message in ("no p2ptun blob", "mistyped"):
                with pytest.raises(RendezvousError, match=message):
                    await message_of(room)
            return await message_of(room)

    assert trio.run(main) == MESSAGE


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("size", [5, 100, len(BLOB) - 1])
def test_a_cut_blob_is_told_without_waiting_for_ever(size: int, close: bool) -> None:
    assert refusal(BLOB[:size].encode() + b"\n", close=close).startswith("The blob is cut")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "no p2ptun blob"),
        (b'{"blob":', "no p2ptun blob"),
        pytest.param(b'{"a":' * 100_000, "line without end", id="deepest"),
        pytest.param(b'{"a":' * 10_000, "no p2ptun blob", id="deep"),
        (b'""\n', "Nothing was pasted"),
        (b'{"blob":"p2p2AAAA"}\n', "version 2"),
        (b"\xff\xfe\n", "no p2ptun blob"),
    ],
)
def test_other_input_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(text)

    async def main() -> None:
        with path.open("rb") as file, pytest.raises(RendezvousError, match=message):
            await message_of(paste_room(file.fileno()))

    trio.run(main)


@pytest.mark.parametrize("text", [b"", b"\n\n", b'{"event":"interface"}\n'])
def test_an_input_that_ends_is_told(text: bytes) -> None:
    assert refusal(text, close=True) == "The input ended before the other side's blob came."
    with pytest.raises(RendezvousEnded):
        receive_from(text, close=True)


def test_each_message_is_shown_as_one_line() -> None:
    async def main() -> None:
        room = PasteRoom(Context(shown.append, LineReader(0)))
        await room.send(MESSAGE)
        await room.send(ANSWER_MESSAGE)

    shown: list[str] = []
    trio.run(main)
    assert shown == [BLOB, ANSWER_BLOB]


def test_messages_are_opaque() -> None:
    shown: list[str] = []
    trio.run(PasteRoom(Context(shown.append, LineReader(0))).send, b"something else")
    assert unwrap(shown[0]) == b"something else"


@sources
def test_ctrl_c_ends_the_waiting(source: Source) -> None:
    program = (
        "import trio\nfrom p2ptun.rendezvous.base import Context\n"
        "from p2ptun.rendezvous.line import LineReader\nfrom p2ptun.rendezvous.paste import PasteRoom\n"
        "async def main():\n"
        "    print('waiting', flush=True)\n"
        "    await PasteRoom(Context(print, LineReader(0))).receive()\n"
        "try:\n"
        "    trio.run(main, strict_exception_groups=False)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
    )
    with source() as (reading, _):
        child = subprocess.Popen(
            [sys.executable, "-c", program], stdin=reading, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "waiting\n"
            _until(lambda: _sleeps(child.pid))
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=30)[0] == "interrupted\n"
            assert child.returncode == 0
        finally:
            child.kill()
            child.wait()


def _sleeps(pid: int) -> bool:
    """Tell whether a process waits in epoll."""
    return "epoll" in Path(f"/proc/{pid}/wchan").read_text()


def _until(condition: Callable[[], bool], deadline: float = 5) -> None:
    """Poll for a condition. Not every kernel tells where a process waits, so the end of the time is good enough."""
    end = time.monotonic() + deadline
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def test_there_is_one_room_without_a_number_for_both_sides_and_none_with_a_name() -> None:
    async def main() -> None:
        rendezvous = PasteRendezvous("paste", Context(print, LineReader(0)))
        for room in (await rendezvous.open_room(), await rendezvous.join_room("", b"")):
            assert room.number is None
            assert (await room.renew_ice()).servers == ()
            await room.burn(BurnReason.DONE)
            await room.aclose()
        with pytest.raises(RendezvousError, match="paste is none"):
            await rendezvous.enter_room("0" * 64, "x" * 43, b"")
        await rendezvous.aclose()

    trio.run(main)
