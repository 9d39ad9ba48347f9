"""`p2ptun status`: nothing runs, one runs, several run; for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest
import trio
from click.testing import CliRunner, Result

from p2ptun.cli import status as status_module
from p2ptun.cli.main import cli
from p2ptun.cli.status import render, status
from p2ptun.daemon.control import ControlServer
from p2ptun.daemon.event import PathEnd
from p2ptun.daemon.report import report
from p2ptun.daemon.status import Health, InterfaceStatus, PathStatus, Status
from p2ptun.errors import DeviceError, PrivilegeError
from tests.node.world import World

from .material import p2ptun


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("P2PTUN_RUNTIME_DIRECTORY", str(tmp_path))
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["status", *arguments], standalone_mode=False)


def document(name: str = "home", world: World | None = None) -> Status:
    world = world or World().connect()
    interface = InterfaceStatus(name, ["10.77.0.1/31", "fd77::1/127"], 1400, "abcd" * 10 + "efg=", 11525.0)
    health = [Health("x", "No [server] answered\x1b[0m.", "Wait.")]
    return report(world.alice.node, interface, health, {}, world.network.now)


@contextmanager
def running(*documents: Status) -> Iterator[None]:
    """Serve tunnels from another thread, as other processes would."""
    ready, done, stack = Event(), Event(), ExitStack()

    async def serve_all() -> None:
        async with trio.open_nursery() as nursery:
            for each in documents:
                server = ControlServer(each.interface.name, {"status": lambda each=each: each})  # type: ignore[misc]
                listener = stack.enter_context(server.claim())
                nursery.start_soon(server.serve, listener)
            ready.set()
            await trio.to_thread.run_sync(done.wait)
            nursery.cancel_scope.cancel()

    with stack:
        thread = Thread(target=trio.run, args=(serve_all,))
        thread.start()
        assert ready.wait(10)
        try:
            yield
        finally:
            done.set()
            thread.join(10)


def test_nothing_runs() -> None:
    for arguments in ([], ["--json"]):
        done = p2ptun("status", *arguments)
        assert done.returncode == 1
        assert done.stdout == b""
    assert b"p2ptun share" in p2ptun("status").stderr


def test_an_unknown_name_is_an_error() -> None:
    done = p2ptun("status", "nobody")
    assert done.returncode == 1
    assert b"o tunnel named nobody runs here" in done.stderr


def test_one_tunnel_is_a_line_for_us_and_one_for_each_peer() -> None:
    with running(document()):
        done = invoke()
    assert done.return_value == 0
    here, peer, health = done.stdout.splitlines()
    assert here == "10.77.0.1  home (this machine)  up 3h12m  key abcd...=  mtu 1400  fd77::1"
    assert peer.startswith("10.77.0.2  bob  active; direct 192.0.2.2:5002 (host/host)  40 ms  handshake 0 s ago")
    assert health == "No [server] answered[0m.  Wait."


def test_what_stands_by_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status = document()
    [peer] = status.peers
    render(msgspec.structs.replace(status, peers=[msgspec.structs.replace(peer, standby_path=peer.path)]))
    assert "  40 ms  standby direct 192.0.2.2:5002 (host/host)  handshake" in capsys.readouterr().out


def test_a_path_over_a_relay_of_ours_shows_the_relay(capsys: pytest.CaptureFixture[str]) -> None:
    status = document()
    [peer] = status.peers
    assert peer.path is not None
    path = msgspec.structs.replace(peer.path, kind="relay", server="turn.example.net:443", server_transport="tls")
    render(msgspec.structs.replace(status, peers=[msgspec.structs.replace(peer, path=path)]))
    assert "bob  active; relay turn.example.net:443 (tls)  40 ms  handshake" in capsys.readouterr().out


def test_json_of_one_is_a_document_and_of_several_a_line_each() -> None:
    with running(document()):
        one = invoke("--json", "home")
    assert json.loads(one.stdout)["interface"]["name"] == "home"
    assert one.stdout.startswith("{\n")
    with running(document("home"), document("work")):
        both = invoke("--json")
        text = invoke()
    assert [json.loads(line)["interface"]["name"] for line in both.stdout.splitlines()] == ["home", "work"]
    assert text.stdout.count("(this machine)") == 2


def test_a_leftover_is_passed_over(directory: Path) -> None:
    (directory / "gone.sock").write_text("")
    with running(document()):
        done = invoke()
    assert done.return_value == 0
    assert "gone" not in done.stderr
    assert "(this machine)" in done.stdout
    assert invoke().return_value == 1


def test_without_privilege_it_does_not_say_that_nothing_runs(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "home.sock").write_text("")

    async def refuse(name: str, verb: str) -> bytes:
        await trio.lowlevel.checkpoint()
        raise PrivilegeError("not you", "sudo")

    monkeypatch.setattr(status_module, "ask", refuse)
    assert isinstance(invoke().exception, PrivilegeError)

    async def mixed(name: str, verb: str) -> bytes:
        await trio.lowlevel.checkpoint()
        if name == "home":
            raise PrivilegeError("not you", "sudo")
        if name == "gone":
            raise DeviceError("nobody", "try again")
        return msgspec.json.encode(document(name))

    for name in ("gone", "mine"):
        (directory / f"{name}.sock").write_text("")
    monkeypatch.setattr(status_module, "ask", mixed)
    done = invoke()
    assert done.return_value == 0
    assert done.stderr.strip() == "nobody try again"
    assert done.stdout.count("(this machine)") == 1


def test_one_that_does_not_answer_runs_all_the_same(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "home.sock").write_text("")

    async def stopped(name: str, verb: str) -> bytes:
        await trio.lowlevel.checkpoint()
        raise DeviceError("It is silent.", "Wake it.")

    monkeypatch.setattr(status_module, "ask", stopped)
    done = invoke()
    assert str(done.exception) == "It is silent."
    assert "Start one" not in done.stderr


def test_a_peer_without_anything_and_one_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    empty = document(world=World())
    status_module.render(
        msgspec.structs.replace(empty, interface=msgspec.structs.replace(empty.interface, addresses=[]))
    )
    shown = capsys.readouterr().out
    assert "no address yet  home (this machine)" in shown
    assert "no address yet  bob  connecting  tx 0 B rx 0 B" in shown
    end = PathEnd("relay", "udp", "2001:db8::1", 443)
    peer = msgspec.structs.replace(
        empty.peers[0], state="failed", reason="it\x1b is [dead]", path=PathStatus("relay", end, end, None, 1400)
    )
    status_module.render(msgspec.structs.replace(empty, peers=[peer]))
    assert "failed; it is [dead]; relay [2001:db8::1]:443 (relay/relay)  ? ms" in capsys.readouterr().out


def test_the_verb_is_the_commands() -> None:
    assert status.name == "status"
