"""coturn (Debian package `coturn`) as the server of our pool, over real sockets on loopback: UDP, TCP, TLS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import selectors
import shutil
import socket
import ssl
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

import pytest

from p2ptun.stun.credential import LongTermCredential
from p2ptun.stun.stream import StreamSplitter
from p2ptun.stun.turn import encode_channel_data, is_channel_data, measure_turn
from p2ptun.turn.event import (
    CredentialWanted,
    DataReceived,
    Event,
    LossReason,
    PeerRefused,
    Problem,
    RelayGained,
    RelayLost,
    ServerFailed,
)
from p2ptun.turn.order import CloseSocket, OpenSocket
from p2ptun.turn.pool import Pool
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport
from tests.free_port import free_port

HERE = "127.0.0.1"
NAME = "localhost"
REALM = "example.org"
SECRET = "north"  # noqa: S105 - coturn's, for a minute
ALICE = LongTermCredential("alice", "secret")
PATIENCE = 10.0

coturn = shutil.which("turnserver")
pytestmark = pytest.mark.skipif(coturn is None, reason="needs turnserver of the Debian package coturn")

EventT = TypeVar("EventT")
MakeSide: TypeAlias = "Callable[[Coturn], Side]"


def make_certificate(directory: Path) -> tuple[Path, Path]:
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={NAME}"),
            *("-addext", f"subjectAltName=DNS:{NAME},IP:{HERE}"),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


class Coturn:
    """One turnserver of our own, with a port for plain UDP and TCP and one for TLS."""

    def __init__(self, directory: Path, *options: str, relay_ip: str = HERE) -> None:
        self.port, self.tls_port = free_port(), free_port()
        key, self.certificate = make_certificate(directory)
        self._log = directory / "turn.log"
        self._command = [str(coturn), "-n", f"--listening-ip={HERE}", f"--relay-ip={relay_ip}", f"--realm={REALM}"]
        self._command += [f"--listening-port={self.port}", f"--tls-listening-port={self.tls_port}"]
        self._command += [f"--cert={self.certificate}", f"--pkey={key}", "--no-dtls", "--no-cli"]
        self._command += ["--allow-loopback-peers", "--lt-cred-mech", "--no-multicast-peers", "--fingerprint"]
        self._command += [f"--userdb={directory}/turndb", f"--pidfile={directory}/pid", "--log-file=stdout"]
        self._command += ["--relay-threads=1", *options]
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < deadline, self._log.read_text(errors="replace")
            select_for(0.02)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        """Ask over TCP, and see whether UDP is bound: both take a moment."""
        for port in (self.port, self.tls_port):
            with socket.socket() as sock:
                if sock.connect_ex((HERE, port)):
                    return False
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((HERE, self.port))
            except OSError:
                return True
        return False

    def server(self, transport: Transport) -> Server:
        port = self.tls_port if transport is Transport.TLS else self.port
        return Server(Endpoint.of(HERE, port, transport), NAME)


def select_for(seconds: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.select(seconds)


class Line:
    """One socket of the pool: frames in, frames out. Blocking connects are fine on loopback."""

    def __init__(self, order: OpenSocket, context: ssl.SSLContext) -> None:
        self.token, self.server = order.token, order.server.endpoint
        there = (str(self.server.address), self.server.port)
        if self.server.transport is Transport.UDP:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.connect(there)
        else:
            self.sock = socket.create_connection(there, timeout=PATIENCE)
            if self.server.transport is Transport.TLS:
                plain = self.sock
                try:
                    self.sock = context.wrap_socket(plain, server_hostname=order.server.name)
                except OSError:
                    plain.close()
                    raise
        self.sock.settimeout(PATIENCE)
        self._splitter = StreamSplitter(measure_turn)

    def send(self, payload: bytes) -> None:
        self.sock.sendall(payload)

    def receive(self) -> list[bytes] | None:
        """Give what has come; None when the other side has hung up."""
        data = self.sock.recv(65536)
        if self.server.transport is Transport.UDP:
            return [data]
        while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            data += self.sock.recv(65536)
        self._splitter.receive(data)
        return list(iter(self._splitter.next_frame, None)) if data else None


class Side:
    """A pool with real sockets."""

    def __init__(self, coturn: Coturn) -> None:
        self.pool = Pool(os.urandom)
        self.events: deque[Event] = deque()
        self._context = ssl.create_default_context(cafile=str(coturn.certificate))
        self._lines: dict[Endpoint, Line] = {}
        self._selector = selectors.DefaultSelector()

    def add(self, *servers: Server, credential: LongTermCredential = ALICE, expires_in: float | None = None) -> None:
        now = time.monotonic()
        for server in servers:
            self.pool.add_server(server, credential, None if expires_in is None else now + expires_in, now)
        self.pool.end_of_servers(now)
        self.flush()

    def close(self) -> None:
        """Give everything back, and see that no socket is left."""
        self.pool.close(time.monotonic())
        self.flush()
        assert not self._lines

    def abandon(self) -> None:
        """Close what a test that failed left open."""
        for line in self._lines.values():
            line.sock.close()
        self._selector.close()

    def flush(self) -> None:
        """Do what the pool wants, until it wants no more: what fails makes it want other things."""
        while self._take_orders() + self._send():
            pass
        while (event := self.pool.next_event()) is not None:
            self.events.append(event)

    def _send(self) -> int:
        count = 0
        while (transmit := self.pool.next_transmit()) is not None:
            count += 1
            line = self._lines.get(transmit.source)
            if line is None:
                continue  # it could not be opened
            try:
                line.send(transmit.payload)
            except OSError as error:
                self._fail(line, error)
        return count

    def _take_orders(self) -> int:
        count = 0
        while (order := self.pool.next_order()) is not None:
            count += 1
            if isinstance(order, OpenSocket):
                self._open(order)
            else:
                self._close(order)
        return count

    def _open(self, order: OpenSocket) -> None:
        error = SendError.REFUSED
        try:
            line = self._lines[order.token] = Line(order, self._context)
        except OSError as refused:
            if isinstance(refused, ssl.SSLCertVerificationError):
                error = SendError.UNTRUSTED
            self.pool.record_send_error(order.token, order.server.endpoint, error, time.monotonic())
        else:
            self._selector.register(line.sock, selectors.EVENT_READ, line)

    def _close(self, order: CloseSocket) -> None:
        line = self._lines.pop(order.token, None)
        if line is not None:
            self._selector.unregister(line.sock)
            line.sock.close()

    def _fail(self, line: Line, error: OSError) -> None:
        reason = SendError.REFUSED if isinstance(error, ConnectionRefusedError) else SendError.OTHER
        self.pool.record_send_error(line.token, line.server, reason, time.monotonic())

    def turn(self, seconds: float = 0.05) -> None:
        """Wait for one thing to happen, and do it."""
        timeout = self.pool.next_timeout()
        if timeout is not None:
            seconds = min(seconds, max(0.0, timeout - time.monotonic()))
        for key, _ in self._selector.select(seconds):
            self._read(key.data)
        self.pool.handle_timeout(time.monotonic())
        self.flush()

    def _read(self, line: Line) -> None:
        try:
            frames = line.receive()
        except OSError as error:
            self._fail(line, error)
            return
        if frames is None:
            self.pool.record_send_error(line.token, line.server, SendError.OTHER, time.monotonic())
            return
        for frame in frames:
            self.pool.receive_datagram(frame, line.server, line.token, time.monotonic())

    def take(self, kind: type[EventT]) -> EventT | None:
        for event in self.events:
            if isinstance(event, kind):
                self.events.remove(event)
                return event
        return None

    def wait(self, kind: type[EventT], *others: Side, patience: float = PATIENCE) -> EventT:
        found: list[EventT] = []

        def is_there() -> bool:
            event = self.take(kind)
            found.extend([event] if event is not None else [])
            return bool(found)

        run_until(is_there, self, *others, patience=patience)
        return found[0]


def run_until(is_done: Callable[[], bool], *sides: Side, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not is_done():
        assert time.monotonic() < deadline, [(list(side.events), side.pool.allocations) for side in sides]
        for side in sides:
            side.turn(0.02)


@contextmanager
def running(directory: Path, *options: str, relay_ip: str = HERE) -> Iterator[Coturn]:
    server = Coturn(directory, *options, relay_ip=relay_ip)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Coturn]:
    with running(tmp_path, f"--user={ALICE.username}:{ALICE.password}") as server:
        yield server


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HERE, 0))
        sock.settimeout(0.05)
        yield sock


@pytest.fixture
def make_side() -> Iterator[MakeSide]:
    sides: list[Side] = []

    def make(server: Coturn) -> Side:
        sides.append(Side(server))
        return sides[-1]

    yield make
    for side in sides:
        side.abandon()


def endpoint_of(sock: socket.socket) -> Endpoint:
    return Endpoint.of(*sock.getsockname())


@pytest.mark.parametrize("transport", Transport)
def test_data_goes_both_ways(relay: Coturn, peer: socket.socket, transport: Transport, make_side: MakeSide) -> None:
    side, there = make_side(relay), endpoint_of(peer)
    side.add(relay.server(transport))
    gained = side.wait(RelayGained)
    assert gained.server == relay.server(transport)
    assert gained.mapped is not None
    assert side.pool.is_settled
    for payload in (b"early", b"", b"odd"):  # before a channel can be bound: an indication
        side.pool.send(payload, gained.relayed, there, time.monotonic())
    side.flush()
    run_until(lambda: side.pool.channel(gained.relayed, there) is not None, side)
    payloads = [b"x" * size for size in (0, 1, 2, 3, 4, 1200)]
    for payload in payloads:
        side.pool.send(payload, gained.relayed, there, time.monotonic())
    side.flush()
    got: list[bytes] = []
    run_until(lambda: has_all(peer, gained.relayed, {b"early", *payloads}, got), side)
    for payload in payloads:
        peer.sendto(payload, (HERE, gained.relayed.port))
        assert side.wait(DataReceived) == DataReceived(payload, there, gained.relayed)
    assert not side.pool.drops
    assert side.pool.allocations[0].rtt is not None
    side.close()


def has_all(peer: socket.socket, relayed: Endpoint, wanted: set[bytes], got: list[bytes]) -> bool:
    try:
        data, source = peer.recvfrom(65536)
    except TimeoutError:
        return False
    assert source == (HERE, relayed.port)
    got.append(data)
    return wanted <= set(got)


@pytest.mark.parametrize("transport", Transport)
def test_hot_path_frames_are_coturns(
    relay: Coturn, peer: socket.socket, transport: Transport, make_side: MakeSide
) -> None:
    side, there = make_side(relay), endpoint_of(peer)
    side.add(relay.server(transport))
    relayed = side.wait(RelayGained).relayed
    side.pool.permit(there, time.monotonic())
    side.flush()
    run_until(lambda: side.pool.channel(relayed, there) is not None, side)
    channel = side.pool.channel(relayed, there)
    assert channel is not None
    line = side._lines[channel.token]
    line.send(encode_channel_data(channel.number, b"from us", channel.is_padded))
    run_until(lambda: has_all(peer, relayed, {b"from us"}, []), side)
    peer.sendto(b"from the peer", (HERE, relayed.port))
    frame = next(frame for frame in line.receive() or [] if is_channel_data(frame))
    parcel = side.pool.locate(frame, 0, len(frame), channel.token)
    assert parcel is not None
    assert (frame[parcel.start : parcel.end], parcel.peer, parcel.relayed) == (b"from the peer", there, relayed)
    side.close()


def test_two_pools_relay_to_each_other(relay: Coturn, make_side: MakeSide) -> None:
    left, right = make_side(relay), make_side(relay)
    left.add(relay.server(Transport.UDP))
    right.add(relay.server(Transport.TCP))
    here, there = left.wait(RelayGained).relayed, right.wait(RelayGained).relayed
    left.pool.permit(there, time.monotonic())
    right.pool.permit(here, time.monotonic())
    left.flush()
    right.flush()
    run_until(lambda: bool(left.pool.channel(here, there) and right.pool.channel(there, here)), left, right)
    left.pool.send(b"ping", here, there, time.monotonic())
    left.flush()
    assert right.wait(DataReceived, left) == DataReceived(b"ping", here, there)
    right.pool.send(b"pong", there, here, time.monotonic())
    right.flush()
    assert left.wait(DataReceived, right) == DataReceived(b"pong", there, here)
    left.close()
    right.close()


def test_a_wrong_password_is_told_once(relay: Coturn, make_side: MakeSide) -> None:
    side = make_side(relay)
    side.add(*(relay.server(transport) for transport in Transport), credential=LongTermCredential("alice", "wrong"))
    failed = side.wait(ServerFailed)
    assert (failed.problem, failed.code) == (Problem.WRONG_CREDENTIALS, 401)
    assert side.pool.is_settled
    assert not side._lines
    assert side.take(CredentialWanted) is None
    side.pool.set_credential(NAME, ALICE, None, time.monotonic())
    side.flush()
    side.wait(RelayGained)
    side.close()


def test_expired_credentials_are_asked_for_anew(tmp_path: Path, make_side: MakeSide) -> None:
    def minted(seconds: int) -> LongTermCredential:
        name = f"{int(time.time()) + seconds}:alice"
        digest = hmac.digest(SECRET.encode(), name.encode(), hashlib.sha1)
        return LongTermCredential(name, base64.b64encode(digest).decode())

    with running(tmp_path, "--use-auth-secret", f"--static-auth-secret={SECRET}") as server:
        side = make_side(server)
        side.add(server.server(Transport.UDP), credential=minted(-60), expires_in=-60.0)
        assert side.wait(CredentialWanted).name == NAME
        assert side.wait(ServerFailed).problem is Problem.WRONG_CREDENTIALS
        side.pool.set_credential(NAME, minted(600), time.monotonic() + 600, time.monotonic())
        side.flush()
        first = side.wait(RelayGained).relayed
        side.pool.set_credential(NAME, minted(1200), time.monotonic() + 1200, time.monotonic())
        side.flush()
        second = side.wait(RelayGained).relayed
        assert side.pool.owns(first)
        assert side.pool.owns(second)
        side.close()


@pytest.mark.parametrize("transport", Transport)
def test_a_restarted_server_serves_again_in_five_seconds(
    relay: Coturn, transport: Transport, make_side: MakeSide
) -> None:
    side = make_side(relay)
    side.add(relay.server(transport))
    first = side.wait(RelayGained).relayed
    relay.stop()
    relay.start()
    side.pool.probe(first, time.monotonic())
    side.flush()
    lost = side.wait(RelayLost, patience=5.0)
    assert lost.relayed == first
    assert lost.reason in (LossReason.FORGOTTEN, LossReason.CONNECTION_LOST)
    side.wait(RelayGained, patience=5.0)
    side.close()


def test_a_dead_server_is_noticed(relay: Coturn, make_side: MakeSide) -> None:
    side = make_side(relay)
    side.add(relay.server(Transport.UDP))
    first = side.wait(RelayGained).relayed
    relay.stop()
    side.pool.probe(first, time.monotonic())
    side.flush()
    assert side.wait(RelayLost, patience=5.0) == RelayLost(first, LossReason.SILENT)
    assert side.wait(ServerFailed, patience=5.0).problem is Problem.CONNECTION_REFUSED
    side.close()


def test_a_certificate_for_another_name_is_refused(relay: Coturn, make_side: MakeSide) -> None:
    side = make_side(relay)
    side.add(Server(relay.server(Transport.TLS).endpoint, "example.net"))
    assert side.wait(ServerFailed).problem is Problem.UNTRUSTED
    side.close()


def test_one_refused_peer_costs_no_other_its_way(tmp_path: Path, peer: socket.socket, make_side: MakeSide) -> None:
    denied = Endpoint.of("192.0.2.1", 7)
    options = (f"--user={ALICE.username}:{ALICE.password}", f"--denied-peer-ip={denied.address}")
    with running(tmp_path, *options) as server:
        side, there = make_side(server), endpoint_of(peer)
        side.pool.permit(denied, time.monotonic())
        side.pool.permit(there, time.monotonic())
        side.add(server.server(Transport.UDP))
        relayed = side.wait(RelayGained).relayed
        assert side.wait(PeerRefused) == PeerRefused(relayed, denied, 403, "Forbidden")
        run_until(lambda: side.pool.channel(relayed, there) is not None, side)
        peer.sendto(b"through", (HERE, relayed.port))
        assert side.wait(DataReceived).payload == b"through"
        side.close()


def test_a_quota_sends_us_away(tmp_path: Path, make_side: MakeSide) -> None:
    options = (f"--user={ALICE.username}:{ALICE.password}", "--user-quota=1")
    with running(tmp_path, *options) as server:
        first, second = make_side(server), make_side(server)
        first.add(server.server(Transport.UDP))
        first.wait(RelayGained)
        second.add(server.server(Transport.UDP))
        assert second.wait(ServerFailed).problem is Problem.QUOTA_REACHED
        first.close()
        second.close()


def test_a_relay_of_ipv6_alone_is_found(tmp_path: Path, make_side: MakeSide) -> None:
    """coturn 4.6 knows the second family by a draft's number only: it refuses IPv4 with 440, and we ask for IPv6."""
    options = (f"--user={ALICE.username}:{ALICE.password}",)
    with (
        running(tmp_path, *options, relay_ip="::1") as server,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock,
    ):
        sock.bind(("::1", 0))
        side, there = make_side(server), Endpoint.of("::1", sock.getsockname()[1])
        side.add(server.server(Transport.UDP))
        relayed = side.wait(RelayGained).relayed
        assert relayed.address.version == 6
        side.pool.permit(there, time.monotonic())
        side.flush()
        run_until(lambda: side.pool.channel(relayed, there) is not None, side)
        sock.sendto(b"six", ("::1", relayed.port))
        assert side.wait(DataReceived) == DataReceived(b"six", there, relayed)
        side.close()
