"""What systemctl status shows of a server, and that a server as a process says when it is ready."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2ptun.server.event import ErrorEvent, ReadyEvent, ReloadedEvent, RoomsEvent
from p2ptun.server.herald import herald
from tests.server.serving import Serving


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (ReadyEvent(False, [], 1, 2, has_stun=False, store="memory"), b"READY=1\nSTATUS=serving rooms"),
        (ReadyEvent(False, ["192.0.2.1"], 1, 2), b"READY=1\nSTATUS=serving STUN, a relay"),
        (RoomsEvent(3, 4, 5, 6, {}), b"STATUS=rooms: 3 with a number, 4 with a name; waiting: 5"),
    ],
)
def test_a_manager_hears_what_matters(manager: socket.socket, event: ReadyEvent | RoomsEvent, status: bytes) -> None:
    herald(ErrorEvent("It is none of its business.", ""))
    herald(ReloadedEvent())
    herald(event)
    assert manager.recv(4096) == status


def test_a_server_says_when_it_is_ready_and_when_it_ends(manager: socket.socket, tmp_path: Path) -> None:
    with Serving(tmp_path) as server:
        assert manager.recv(4096) == b"READY=1\nSTATUS=serving STUN, a relay"
        server.stop()
        assert manager.recv(4096) == b"STOPPING=1"
