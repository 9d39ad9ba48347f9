"""The whole server as a process: what it opens, tells, reads again and cleans up."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.ephemeral import ephemeral_credential
from tests.free_port import free_port
from tests.server.serving import ADDRESS, P2PTUN, HttpServing, Serving, make_certificate, private_file
from tests.server.turn_client import ALICE, TIMEOUT, Refusal, TurnClient, connect_udp, endpoint, peer_socket

CHANNEL = 0x4001
LOOPBACK = ("--allow-peer", "127.0.0.0/8")


def test_it_tells_where_it_listens_and_what_it_offers(tmp_path: Path) -> None:
    with Serving(tmp_path, has_tls=True) as server:
        listening = [event for event in server.events if event["event"] == "listening"]
        places = [(each["transport"], each["port"]) for each in listening]
        assert places == [("udp", server.port), ("tcp", server.port), ("tls", server.tls_port)]
        ready = server.expect("ready")
        assert ready["relay_addresses"] == [ADDRESS]
        assert not ready["has_behaviour"]
        assert server.stop()["event"] == "closed"


def test_every_transport_relays(tmp_path: Path) -> None:
    with Serving(tmp_path, *LOOPBACK, has_tls=True) as server, peer_socket() as peer:
        for client in (server.udp(), server.tcp(), server.tls()):
            client.allocate()
            client.bind(CHANNEL, endpoint(peer))
            client.send(CHANNEL, b"hello")
            assert peer.recv(100) == b"hello"
            client.release()
            client.socket.close()
        for transport in ("udp", "tcp", "tls"):
            ended = server.expect("allocation", state="ended", transport=transport)
            assert (ended["user"], ended["packets"], ended["bytes"]) == ("alice", 1, 5)
        closed = server.stop(signal.SIGTERM)
        assert (closed["packets"], closed["bytes"]) == (3, 15)


def test_time_limited_credentials_work_until_their_end(tmp_path: Path) -> None:
    secret = private_file(tmp_path / "secret", "shared\n")
    with Serving(tmp_path, "--secret-file", str(secret)) as server:
        for credential in (ephemeral_credential("shared", "carol", 1 << 32), ALICE):
            with connect_udp(server.endpoint) as sock:
                client = TurnClient(sock, credential)
                client.allocate()
                client.release()
        assert server.expect("allocation", user=f"{1 << 32}:carol")
        for credential in (ephemeral_credential("shared", "carol", 1000), ephemeral_credential("other", "", 1 << 32)):
            with connect_udp(server.endpoint) as sock, pytest.raises(Refusal, match="401"):
                TurnClient(sock, credential).allocate()


def test_quotas_hold(tmp_path: Path) -> None:
    with Serving(tmp_path, "--user-quota", "2") as server:
        clients = [server.udp() for _ in range(3)]
        for client in clients[:2]:
            client.allocate()
        with pytest.raises(Refusal, match="486"):
            clients[2].allocate()
        assert server.expect("refused", code=486, user="alice")
        for client in clients:
            client.socket.close()


def test_a_new_certificate_is_taken_up(tmp_path: Path) -> None:
    with Serving(tmp_path, has_tls=True) as server:
        assert server.certificate
        (tmp_path / "new").mkdir()
        for new, old in zip(make_certificate(tmp_path / "new"), server.certificate, strict=True):
            shutil.copy(new, old)
        server.process.send_signal(signal.SIGHUP)
        server.expect("reloaded")
        server.tls().socket.close()  # checks against the new file
        server.certificate[0].write_text("spoilt")
        server.process.send_signal(signal.SIGHUP)
        assert "stays in use" in server.expect("error")["remedy"]
        shutil.copy(tmp_path / "new" / "localhost.crt", server.certificate[0])
        server.tls().socket.close()


def test_the_server_tells_no_more_than_is_read(tmp_path: Path) -> None:
    with Serving(tmp_path) as server:
        client = server.tcp()
        for _ in range(60):
            client.allocate()
            client.release()
        client.socket.close()
        server.stop()
        told = [event for event in server.events if event["event"] == "allocation"]
        skipped = [event["count"] for event in server.events if event["event"] == "skipped"]
        assert len(told) == 50
        assert sum(skipped) == 70


def test_its_sockets_are_gone_afterwards(tmp_path: Path) -> None:
    with Serving(tmp_path) as server:
        client = server.udp()
        relayed = client.allocate()
        server.stop()
        for port in (server.port, relayed.port):
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.bind((ADDRESS, port))
        client.socket.close()


def start(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [P2PTUN, "serve", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env={"NO_COLOR": "1"})


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_in_use_is_explained(tmp_path: Path, kind: socket.SocketKind) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((ADDRESS, port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        finished = start(tmp_path, "--stun-listen", f"{ADDRESS}:{port}")
    assert finished.returncode == 1
    name = "TCP" if kind == socket.SOCK_STREAM else "UDP"
    assert f"{name} port {port} is already in use on {ADDRESS}." in finished.stderr
    assert "Choose another port" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_address_of_another_machine_is_explained(tmp_path: Path) -> None:
    finished = start(tmp_path, "--stun-listen", "192.0.2.77")
    assert finished.returncode == 1
    assert "192.0.2.77 is no address of this machine." in finished.stderr
    options = ("--stun-listen", f"{ADDRESS}:{free_port()}", "--relay", "--relay-address", "192.0.2.77")
    users = private_file(tmp_path / "users", 'a = "b"\n')
    finished = start(tmp_path, *options, "--users", str(users))
    assert finished.returncode == 1
    assert "192.0.2.77 is no address of this machine." in finished.stderr


def test_a_certificate_for_nobody_is_explained(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    key.unlink()
    files = ("--tls-cert", str(certificate), "--tls-key", str(key))
    finished = start(tmp_path, "--tls-listen", f"{ADDRESS}:{free_port()}", *files)
    assert finished.returncode == 2
    assert "can't be read (No such file or directory)" in finished.stderr
    assert "Name the file where it is" in finished.stderr


def test_clients_see_only_modern_tls(tmp_path: Path) -> None:
    with Serving(tmp_path, has_tls=True) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection((ADDRESS, server.tls_port), 5) as plain, context.wrap_socket(plain) as sock:
            assert sock.version() == "TLSv1.3"


def test_rooms_are_served_without_anything_else() -> None:
    with HttpServing() as server:
        assert server.expect("ready")["store"] == "memory"
        assert not server.expect("ready")["has_stun"]
        assert server.expect("listening")["transport"] == "http"
        assert httpx.post(f"{server.url}/v1/rooms", trust_env=False).status_code == 201
        began_at = time.monotonic()
        with socket.create_connection((ADDRESS, server.port)) as silent, poll(server) as waiting:
            assert server.stop()["event"] == "closed"
            assert time.monotonic() - began_at < TIMEOUT
            answer = waiting.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 200") or not answer  # it had half a second
            assert silent.recv(1) == b""


def poll(server: HttpServing) -> socket.socket:
    """Begin to wait for a message."""
    room = httpx.post(f"{server.url}/v1/rooms", trust_env=False).json()
    sock = socket.create_connection((ADDRESS, server.port), TIMEOUT)
    head = f"GET /v1/rooms/{room['room']}/messages?wait=25 HTTP/1.1\r\nHost: x\r\n"
    sock.sendall(f"{head}Authorization: Bearer {room['side_token']}\r\n\r\n".encode())
    end = time.monotonic() + TIMEOUT
    while "p2ptun_polls_waiting 1.0" not in httpx.get(f"{server.url}/metrics", trust_env=False).text:
        assert time.monotonic() < end
    return sock


def test_clients_of_rooms_are_told_of_the_relay(tmp_path: Path) -> None:
    secret = private_file(tmp_path / "secret", "shared\n")
    port = free_port()
    listen, address = ("--listen", f"{ADDRESS}:{port}"), f"{ADDRESS}:{port}"
    with Serving(tmp_path, *listen, "--secret-file", str(secret), has_tls=True) as server:
        ice = httpx.post(f"http://{address}/v1/rooms", trust_env=False).json()["ice"]
        stun, turn = ice["servers"]
        assert stun == {"urls": [f"stun:{ADDRESS}:{server.port}"]}
        assert turn["urls"][-1] == f"turns:{ADDRESS}:{server.tls_port}?transport=tcp"
        client = TurnClient(connect_udp(server.endpoint), LongTermCredential(turn["username"], turn["credential"]))
        client.allocate()
        assert "p2ptun_relay_allocations 1.0" in httpx.get(f"http://{address}/metrics", trust_env=False).text
        client.release()
        client.socket.close()


def test_https_takes_up_a_new_certificate_too(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    (tmp_path / "new").mkdir()
    with HttpServing(certificate=files) as server:
        for new, old in zip(make_certificate(tmp_path / "new"), files, strict=True):
            shutil.copy(new, old)
        server.process.send_signal(signal.SIGHUP)
        server.expect("reloaded")
        context = ssl.create_default_context(cafile=str(files[0]))  # trusts the new one only
        assert httpx.get(f"{server.secure_url}/healthz", verify=context, trust_env=False).json() == {"status": "ok"}


def test_a_store_that_cannot_be_had_is_explained() -> None:
    finished = start(Path(), "--listen", f"{ADDRESS}:{free_port()}", "--store", "nonsense")
    assert finished.returncode == 2
    assert "--store" in finished.stderr
    assert "memory" in finished.stderr
    assert "Traceback" not in finished.stderr
