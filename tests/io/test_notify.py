"""What the service manager hears, on a socket of the test's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2ptun.io.notify import notify_ready, notify_status, notify_stopping


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@p2ptun-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def test_a_service_tells_how_it_is(manager: socket.socket) -> None:
    notify_ready("serving")
    notify_status("3 rooms")
    notify_stopping()
    assert [manager.recv(4096) for _ in range(3)] == [b"READY=1\nSTATUS=serving", b"STATUS=3 rooms", b"STOPPING=1"]


def test_a_status_is_one_line(manager: socket.socket) -> None:
    notify_status("all well\nMAINPID=1\r\n")
    assert manager.recv(4096) == b"STATUS=all well MAINPID=1"


@pytest.mark.parametrize("address", ["", "/nonexistent/notify", "vsock:2:1234", "@p2ptun-nobody", "relative"])
def test_without_a_manager_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify_ready("serving")


def test_a_manager_that_does_not_listen_stops_nobody(manager: socket.socket) -> None:
    for _ in range(10_000):  # its queue is full long before
        notify_status("busy")
    assert manager.recv(4096) == b"STATUS=busy"
