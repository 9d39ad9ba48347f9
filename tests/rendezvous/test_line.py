from __future__ import annotations

import os
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fcntl import F_GETFL, fcntl
from pathlib import Path

import pytest
import trio

from p2ptun.errors import RendezvousEnded
from p2ptun.rendezvous.line import LineReader


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe: what is read, what is written to."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Open a terminal: what a program reads, what a person writes to."""
    person, program = os.openpty()
    try:
        yield program, person
    finally:
        os.close(person)
        os.close(program)


sources = pytest.mark.parametrize("source", [pipe, terminal])
Source = Callable[[], AbstractContextManager[tuple[int, int]]]


@sources
def test_lines_come_one_by_one(source: Source) -> None:
    async def main() -> None:
        with source() as (reading, writing):
            reader = LineReader(reading)
            os.write(writing, b"one\ntwo\n")
            assert [await reader.next_line(), await reader.next_line()] == ["one", "two"]
            os.write(writing, b"three\n")
            assert await reader.next_line() == "three"

    trio.run(main)


@sources
def test_waiting_can_be_cancelled_and_nothing_is_lost(source: Source) -> None:
    async def main() -> None:
        with source() as (reading, writing):
            reader = LineReader(reading)
            with trio.move_on_after(0.01) as scope:
                await reader.next_line()
            assert scope.cancelled_caught
            os.write(writing, b"late\n")
            assert await reader.next_line() == "late"

    trio.run(main)


def test_a_terminal_stays_as_it_is() -> None:
    async def main() -> None:
        with terminal() as (program, person):
            before = fcntl(program, F_GETFL), termios.tcgetattr(program)
            reader = LineReader(program)
            with trio.move_on_after(0.01):
                await reader.next_line()
            os.write(person, b"text\n")
            await reader.next_line()
            assert (fcntl(program, F_GETFL), termios.tcgetattr(program)) == before
            assert not before[0] & os.O_NONBLOCK

    trio.run(main)


def test_the_end_of_a_terminals_input() -> None:
    async def main() -> None:
        with terminal() as (program, person):
            os.write(person, b"text\n\x04")
            reader = LineReader(program)
            assert [await reader.next_line(), await reader.next_line()] == ["text", None]

    trio.run(main)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\n\ntwo\n", ["one", "", "two"]),
        (b"one\r\ntwo\r", ["one", "", "two"]),
        (b"\xff\n", ["\ufffd"]),
        (b"x" * 10_000 + b"\ny", ["x" * 10_000, "y"]),
    ],
)
def test_files(content: bytes, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(content)

    async def main() -> list[str]:
        with path.open("rb", buffering=0) as file:
            reader = LineReader(file.fileno())
            found = []
            while (line := await reader.next_line()) is not None:
                found.append(line)
            assert await reader.next_line() is None
            return found

    assert trio.run(main) == lines


def test_a_line_without_end_is_refused() -> None:
    async def main(fd: int) -> None:
        with pytest.raises(RendezvousEnded, match="line without end") as caught:
            await LineReader(fd).next_line()
        assert caught.value.remedy

    with Path("/dev/zero").open("rb", buffering=0) as endless:
        trio.run(main, endless.fileno())


def test_a_closed_input_is_told() -> None:
    closed = 900  # far from the numbers that trio's own descriptors will get
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(closed)

    async def main() -> None:
        with pytest.raises(
            RendezvousEnded, match="can't be read from standard input \\(Bad file descriptor\\)"
        ) as caught:
            await LineReader(closed).next_line()
        assert caught.value.remedy

    trio.run(main)


def test_an_input_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(RendezvousEnded, match="Is a directory"):
                await LineReader(fd).next_line()
        finally:
            os.close(fd)

    trio.run(main)
