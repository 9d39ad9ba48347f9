"""A TURN client of one screen over a blocking socket: UDP, TCP or TLS. For tests and benchmarks."""

from __future__ import annotations

import os
import socket
import time
from collections import deque

from p2ptun.stun.attribute import (
    CHANNEL_NUMBER,
    DATA,
    ERROR_CODE,
    LIFETIME,
    REQUESTED_TRANSPORT,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.credential import LongTermClient, LongTermCredential, SignedRequest, Verdict
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    decode_message,
    encode_message,
    is_stun,
    new_transaction_id,
)
from p2ptun.stun.stream import StreamSplitter
from p2ptun.stun.turn import encode_channel_data, is_channel_data, measure_turn
from p2ptun.types import Endpoint

TIMEOUT = 5.0
UDP_NUMBER = 17
USERS = {"alice": "secret1", "bob": "secret2"}
ALICE = LongTermCredential("alice", USERS["alice"])


class Refusal(Exception):
    """The server answered with an error."""

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


class TurnClient:
    """One connected socket to a server. `frames` are those that came while an answer was awaited."""

    def __init__(self, sock: socket.socket, credential: LongTermCredential = ALICE) -> None:
        self.socket = sock
        self.frames: deque[bytes] = deque()
        self.is_stream = sock.type == socket.SOCK_STREAM
        self._credential = LongTermClient(credential)
        self._splitter = StreamSplitter(measure_turn)
        sock.settimeout(TIMEOUT)

    @property
    def local(self) -> Endpoint:
        """This side's address."""
        return Endpoint.of(*self.socket.getsockname()[:2])

    def allocate(self, *attributes: AttributeValue) -> Endpoint:
        """Make an allocation; return the relayed address. Raises Refusal."""
        answer = self.request(Method.ALLOCATE, (REQUESTED_TRANSPORT, UDP_NUMBER), *attributes)
        relayed = answer.get(XOR_RELAYED_ADDRESS)
        assert relayed is not None
        return relayed

    def permit(self, *peers: Endpoint) -> None:
        """Let peers send. Raises Refusal."""
        self.request(Method.CREATE_PERMISSION, *((XOR_PEER_ADDRESS, peer) for peer in peers))

    def bind(self, number: int, peer: Endpoint) -> None:
        """Bind a channel. Raises Refusal."""
        self.request(Method.CHANNEL_BIND, (CHANNEL_NUMBER, number), (XOR_PEER_ADDRESS, peer))

    def release(self) -> None:
        """End the allocation. Raises Refusal."""
        self.request(Method.REFRESH, (LIFETIME, 0))

    def request(self, method: Method, *attributes: AttributeValue) -> Message:
        """Ask, authenticated once the server has challenged; return the success. Raises Refusal."""
        while True:
            asked = Message(method, MessageClass.REQUEST, new_transaction_id(os.urandom), attributes)
            signed = self._credential.sign(asked)
            self.socket.sendall(signed.encode())
            answer = self._answer_to(signed)
            verdict = self._credential.judge(signed, answer)
            if verdict is Verdict.RETRY:
                continue
            error = answer.get(ERROR_CODE)
            if error is not None:
                raise Refusal(error.code)
            assert verdict is Verdict.ACCEPTED
            return answer

    def send(self, number: int, data: bytes) -> None:
        """Send over a channel."""
        self.socket.sendall(encode_channel_data(number, data, self.is_stream))

    def indicate(self, peer: Endpoint, data: bytes) -> None:
        """Send to a peer without a channel."""
        attributes = (XOR_PEER_ADDRESS, peer), (DATA, data)
        message = Message(Method.SEND, MessageClass.INDICATION, new_transaction_id(os.urandom), attributes)
        self.socket.sendall(encode_message(message))

    def receive(self) -> bytes:
        """Return the next frame. Raises TimeoutError, or ConnectionError when the stream has ended."""
        return self.frames.popleft() if self.frames else self._read()

    def _answer_to(self, signed: SignedRequest) -> Message:
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            frame = self._read()
            if not is_channel_data(frame) and is_stun(frame):
                message = decode_message(frame)
                if message.transaction_id == signed.message.transaction_id:
                    return message
            self.frames.append(frame)
        raise TimeoutError

    def _read(self) -> bytes:
        if not self.is_stream:
            return self.socket.recv(65536)
        while (frame := self._splitter.next_frame()) is None:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the stream has ended")
            self._splitter.receive(data)
        return frame


def connect_udp(server: Endpoint, address: str = "127.0.0.1") -> socket.socket:
    """Open a UDP socket that talks to a server only."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.connect((str(server.address), server.port))
    return sock


def peer_socket(address: str = "127.0.0.1") -> socket.socket:
    """Open a peer's UDP socket."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.settimeout(TIMEOUT)
    return sock


def endpoint(sock: socket.socket) -> Endpoint:
    """Name the address that a socket is bound to."""
    return Endpoint.of(*sock.getsockname()[:2])
