"""A person at a terminal: a real pseudo-terminal, keys pressed, words read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.lab import Node, wait_until
from tests.e2e.program import TunnelLab
from tests.e2e.screen import Screen
from tests.terminal import CTRL_C, CTRL_D

pytestmark = pytest.mark.root


@dataclass(frozen=True, slots=True)
class Scene:
    """Two hosts with what they were like before."""

    lab: TunnelLab
    alice: Node
    bob: Node
    terminals: list[Screen]

    def open(self, host: Node, *arguments: str, colour: bool = False) -> Screen:
        terminal = Screen(self.lab, host, *arguments, colour=colour)
        self.terminals.append(terminal)
        return terminal


@pytest.fixture
def scene() -> Iterator[Scene]:
    with TunnelLab() as lab:
        scene = Scene(lab, lab.add_host("alice"), lab.add_host("bob"), [])
        before = [lab.configuration(host) for host in (scene.alice, scene.bob)]
        yield scene
        if all(terminal.process.poll() is not None for terminal in scene.terminals):
            for host, wanted in zip((scene.alice, scene.bob), before, strict=True):
                lab.expect_configuration(host, wanted)
        for terminal in scene.terminals:
            terminal.close()


@pytest.mark.parametrize("verb", ["share", "join"])
def test_ctrl_c_while_it_waits_for_a_blob(scene: Scene, verb: str) -> None:
    terminal = scene.open(scene.alice, verb)
    terminal.read_until("press Enter:")
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 0, terminal.shown
    assert "Traceback" not in terminal.shown


def test_ctrl_c_with_half_a_blob_typed(scene: Scene) -> None:
    terminal = scene.open(scene.alice, "join")
    terminal.read_until("press Enter:")
    terminal.type(b"p2p1AAAA")
    terminal.type(CTRL_C)
    assert terminal.exit_code() == 0, terminal.shown


def test_ctrl_d_instead_of_a_blob(scene: Scene) -> None:
    terminal = scene.open(scene.alice, "join")
    terminal.read_until("press Enter:")
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 2, terminal.shown
    assert "The input ended before the other side's blob came." in terminal.shown


def test_a_bad_blob_is_asked_for_again(scene: Scene) -> None:
    """Both people first paste wrong things; the tunnel comes up all the same, with the same interface and offer."""
    share, join = scene.open(scene.alice, "share"), scene.open(scene.bob, "join", colour=True)
    offer = share.read_blob()
    for wrong, complaint in ((offer[:-9], "The blob is cut"), ("Hello?", "This is no p2ptun blob")):
        join.read_until("press Enter:")
        join.type(wrong.encode() + b"\n")
        join.read_until(complaint)
    join.type(offer.encode() + b"\n")
    answer = join.read_blobs(3)[-1]
    assert not offer.startswith(answer)
    share.read_until("press Enter:")
    share.type(offer.encode() + b"\n")
    share.read_until("This is the blob that this side printed itself.")
    share.type(answer.encode() + b"\n")
    share.read_until("connected")
    join.read_until("connected")
    join.type(CTRL_C)
    assert (join.exit_code(), share.exit_code()) == (0, 0)
    share.read_until("the other side closed the tunnel")


def test_what_is_typed_while_the_tunnel_runs_reaches_no_shell(scene: Scene) -> None:
    share, join = scene.open(scene.alice, "share"), scene.open(scene.bob, "join")
    join.type(share.read_blob().encode() + b"\n")
    share.type(join.read_blobs(2)[-1].encode() + b"\n")
    for terminal in (share, join):
        terminal.read_until("connected")
    join.type(b"reboot\n")
    wait_until(join.unread, 5, "typed ahead")
    share.type(b"\x03")
    assert (share.exit_code(), join.exit_code()) == (0, 0)
    assert join.unread() == 0


def test_a_blob_that_a_mail_program_wrapped(scene: Scene) -> None:
    share, join = scene.open(scene.alice, "share"), scene.open(scene.bob, "join")
    offer = share.read_blob()
    join.read_until("press Enter:")
    join.type(b"".join(f"> {offer[at : at + 60]}\n".encode() for at in range(0, len(offer), 60)))
    join.read_until("Give that line back")
    for terminal in (share, join):
        terminal.type(CTRL_C)
        assert terminal.exit_code() == 0, terminal.shown


def test_nothing_is_coloured_where_no_color_is_set(scene: Scene) -> None:
    plain, coloured = scene.open(scene.alice, "join"), scene.open(scene.bob, "join", colour=True)
    for terminal in (plain, coloured):
        terminal.read_until("press Enter:")
        terminal.type(b"rubbish\n")
        terminal.read_until("This is no p2ptun blob.")
        terminal.type(CTRL_C)
        assert terminal.exit_code() == 0
    colours = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
    assert not colours.search(plain.shown)
    assert colours.search(coloured.shown)
