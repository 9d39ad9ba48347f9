"""The control socket: who may open it, what stands in its way, and clients that misbehave."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from p2ptun.daemon import control
from p2ptun.daemon.control import MAX_CLIENTS, MAX_LINE, ControlServer, ask, running_tunnels, socket_path
from p2ptun.errors import DeviceError, P2ptunError, PrivilegeError


class Answer(msgspec.Struct):
    """What the verb of these tests answers."""

    value: int


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run" / "p2ptun"
    monkeypatch.setenv("P2PTUN_RUNTIME_DIRECTORY", str(path))
    return path


def server() -> ControlServer:
    return ControlServer("home", {"status": lambda: Answer(7)})


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    made = server()
    with made.claim() as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.serve, listener)
            yield
            nursery.cancel_scope.cancel()


async def exchange(data: bytes) -> bytes:
    """Send bytes, no more, and read until the server has nothing more to say."""
    async with await trio.open_unix_socket(str(socket_path("home"))) as stream:
        await stream.send_all(data)
        with trio.fail_after(5):
            answer = b""
            while not answer.endswith(b"\n"):
                chunk = await stream.receive_some()
                if not chunk:
                    break
                answer += chunk
    return answer


# Files


def test_the_directory_is_that_of_the_system_unless_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert running_tunnels() == []
    monkeypatch.delenv("P2PTUN_RUNTIME_DIRECTORY")
    assert socket_path("home") == Path("/run/p2ptun/home.sock")


@pytest.mark.trio
async def test_the_socket_is_for_owner_and_group_and_goes_with_the_tunnel() -> None:
    before = os.umask(0)
    try:
        async with running():
            mode = socket_path("home").stat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o660
            assert running_tunnels() == ["home"]
            assert os.umask(0) == 0, "the umask is as it was"
    finally:
        os.umask(before)
    assert not socket_path("home").exists()
    assert running_tunnels() == []


@pytest.mark.trio
async def test_the_group_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "GROUP", "no such group here")
    async with running():
        assert socket_path("home").stat().st_gid == os.getgid()
    chowned = []
    monkeypatch.setattr(control, "GROUP", "root")
    monkeypatch.setattr(os, "chown", lambda path, user, group: chowned.append((user, group)))
    async with running():
        assert chowned == [(-1, 0)]


def test_a_socket_that_a_killed_process_left_is_replaced() -> None:
    socket_path("home").parent.mkdir(parents=True)
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(socket_path("home")))
    left.close()
    assert running_tunnels() == ["home"]
    with server().claim():
        assert socket_path("home").exists()


def test_a_tunnel_that_runs_is_left_alone() -> None:
    with (
        server().claim(),
        pytest.raises(DeviceError, match="tunnel named home already runs") as caught,
        server().claim(),
    ):
        pass
    assert "--name" in caught.value.remedy


def test_a_running_tunnel_that_answers_nobody_still_runs() -> None:
    """Its queue is full: connecting would wait for ever."""
    socket_path("home").parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stuck:
        stuck.bind(str(socket_path("home")))
        stuck.listen(0)
        clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(str(socket_path("home")))
        with pytest.raises(DeviceError, match="already runs"), server().claim():
            pass
        for client in clients:
            client.close()


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_no_socket_is_not_removed(kind: str) -> None:
    path = socket_path("home")
    path.parent.mkdir(parents=True)
    if kind == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    with pytest.raises(DeviceError, match="in the way") as caught, server().claim():
        pass
    assert caught.value.remedy
    assert path.exists()


def test_a_directory_that_is_none_is_told(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("")
    with pytest.raises(DeviceError, match="can't be made"), server().claim():
        pass


def test_too_long_a_name_is_told(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("P2PTUN_RUNTIME_DIRECTORY", str(directory / ("x" * 120)))
    with pytest.raises(DeviceError, match="can't be made"), server().claim():
        pass


def test_a_directory_that_can_not_be_written_asks_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PrivilegeError, match="can't be written") as caught, server().claim():
        pass
    assert "sudo" in caught.value.remedy


# Talking


@pytest.mark.trio
async def test_a_verb_is_answered() -> None:
    async with running():
        assert json.loads(await ask("home", "status")) == {"value": 7}
        assert await exchange(b'{"verb":"status","later":[1]}\n') == b'{"ok":{"value":7}}\n'


@pytest.mark.trio
async def test_an_unknown_verb_is_an_error_with_a_remedy() -> None:
    async with running():
        with pytest.raises(P2ptunError, match="verb 'dance' is unknown") as caught:
            await ask("home", "dance")
        assert caught.value.remedy == "Known here: status"


DEEP = b'{"verb":"status","x":' + b"[" * 100_000


@pytest.mark.trio
@pytest.mark.parametrize(
    "line", [b"", b"hello", b"\xff\xfe", b"[]", b'{"verb":1}', b"{}", b'{"verb":"' + b"v" * 9999, DEEP]
)
async def test_garbage_is_answered_and_harms_nobody(line: bytes) -> None:
    async with running():
        problem = json.loads(await exchange(line + b"\n"))["error"]
        assert problem["message"].lower().startswith("that is no request")
        assert problem["remedy"]
        assert json.loads(await ask("home", "status")) == {"value": 7}


@pytest.mark.trio
async def test_several_requests_on_one_connection_in_any_pieces() -> None:
    async with running(), await trio.open_unix_socket(str(socket_path("home"))) as stream:
        for piece in (b'{"verb"', b':"status"}', b'\n{"verb":"status"}\n{"ve', b'rb":"status"}\n'):
            await stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked(0.01)
        answers = b""
        with trio.fail_after(5):
            while answers.count(b"\n") < 3:
                answers += await stream.receive_some()
        assert answers == b'{"ok":{"value":7}}\n' * 3


@pytest.mark.trio
async def test_a_line_without_end_ends_the_connection() -> None:
    async with running():
        async with await trio.open_unix_socket(str(socket_path("home"))) as stream:
            with trio.fail_after(5):
                try:
                    for _ in range(MAX_LINE // 65536 + 2):
                        await stream.send_all(b"x" * 65536)
                    assert await stream.receive_some() == b""
                except trio.BrokenResourceError:
                    pass
        assert json.loads(await ask("home", "status")) == {"value": 7}


@pytest.mark.trio
async def test_clients_that_hang_delay_nobody_and_are_let_go(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.02
    async with running():
        hanging = [await trio.open_unix_socket(str(socket_path("home"))) for _ in range(MAX_CLIENTS - 1)]
        assert json.loads(await ask("home", "status")) == {"value": 7}
        one_more = await trio.open_unix_socket(str(socket_path("home")))
        with pytest.raises(DeviceError, match="doesn't answer"):
            await ask("home", "status")
        await trio.sleep(control.CLIENT_TIMEOUT)
        assert json.loads(await ask("home", "status")) == {"value": 7}
        for client in (*hanging, one_more):
            await client.aclose()


@pytest.mark.trio
async def test_a_crowd_is_turned_away() -> None:
    """Whoever may ask can't use up the file descriptors that the tunnel needs."""
    async with running():
        crowd = []
        for _ in range(10 * MAX_CLIENTS):
            crowd.append(await trio.open_unix_socket(str(socket_path("home"))))
            await trio.testing.wait_all_tasks_blocked(0.001)
        for turned_away in crowd[2 * MAX_CLIENTS :]:
            with trio.fail_after(1):
                assert await turned_away.receive_some(1) == b""
        for client in crowd:
            await client.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert json.loads(await ask("home", "status")) == {"value": 7}


@pytest.mark.trio
async def test_a_client_that_leaves_in_the_middle_is_forgotten() -> None:
    async with running():
        for _ in range(3):
            stream = await trio.open_unix_socket(str(socket_path("home")))
            await stream.send_all(b'{"verb":"status"}\n' * 1000)
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert json.loads(await ask("home", "status")) == {"value": 7}


# Asking


@pytest.mark.trio
async def test_nobody_there() -> None:
    with pytest.raises(DeviceError, match="tunnel named home runs here") as caught:
        await ask("home", "status")
    assert "p2ptun status" in caught.value.remedy


@pytest.mark.trio
async def test_a_leftover_is_nobody() -> None:
    socket_path("home").parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(socket_path("home")))
    with pytest.raises(DeviceError, match="tunnel named home runs here"):
        await ask("home", "status")


@pytest.mark.trio
async def test_a_socket_that_may_not_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(path: str) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(trio, "open_unix_socket", refuse)
    with pytest.raises(PrivilegeError, match="may not be opened") as caught:
        await ask("home", "status")
    assert "sudo" in caught.value.remedy


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [b"", b"\n", b"hello\n", b"[]\n", b"{}\n", b'{"error":{}}\n', b'{"error":1}\n', b"\xff\n", b"[" * 99999 + b"\n"],
)
async def test_an_answer_that_makes_no_sense(answer: bytes) -> None:
    socket_path("home").parent.mkdir(parents=True)

    async def babble(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
        raw.bind(str(socket_path("home")))
        raw.listen()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(raw))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, babble, [listener])
            with pytest.raises(DeviceError, match="doesn't answer"):
                await ask("home", "status")
            nursery.cancel_scope.cancel()
