from __future__ import annotations

import pytest

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.key import Key
from p2ptun.errors import LocalProtocolError
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.keypair import Keypair
from p2ptun.tunnel.timing import REJECT_AFTER_MESSAGES
from p2ptun.tunnel.wire import FrameKind

CHACHA = Algorithm.CHACHA20_POLY1305


def make_keypair(index: int = 1, created_at: float = 1000.0, is_bound: bool = True) -> Keypair:
    return Keypair(
        send_key=Key(CHACHA, bytes(32)),
        receive_key=Key(CHACHA, bytes(32)),
        local_index=SessionIndex(index),
        remote_index=SessionIndex(0x0A0B0C),
        binder=index.to_bytes(16, "big"),
        is_initiator=True,
        is_bound=is_bound,
        created_at=created_at,
        rekey_at=created_at + 120,
    )


def test_sealing_lays_a_datagram_out() -> None:
    keypair = make_keypair()
    first, second = keypair.seal(b"hi", FrameKind.CONTROL), keypair.seal(b"", FrameKind.BUNDLE)
    assert first[:12].hex() == "d40a0b0c" + "00" * 8
    assert second[:12].hex() == "d40a0b0c" + "00" * 7 + "01"
    assert keypair.receive_key.open(first[12:], 0) == b"hi\x03"
    assert keypair.receive_key.open(second[12:], 1) == b"\x01"
    assert keypair.tag_size == 16


def test_counters_stop_before_they_run_out() -> None:
    keypair = make_keypair()
    keypair.next_counter = REJECT_AFTER_MESSAGES - 1
    assert keypair.take_counter() == 2**64 - 2**13 - 1
    assert not keypair.may_seal
    with pytest.raises(LocalProtocolError, match="seals no more"):
        keypair.take_counter()


def test_wiped_keys_do_nothing() -> None:
    keypair = make_keypair()
    datagram = keypair.seal(b"x", FrameKind.CONTROL)
    keypair.wipe()
    keypair.wipe()
    assert keypair.is_wiped
    assert not keypair.may_seal
    with pytest.raises(LocalProtocolError):
        keypair.seal(b"x", FrameKind.CONTROL)
    with pytest.raises(LocalProtocolError):
        keypair.receive_key.open(datagram[12:], 0)


def test_it_shows_no_secrets() -> None:
    assert repr(make_keypair(0xABC)) == "Keypair(chacha20-poly1305, initiator, index 0x000abc)"
    responder = make_keypair()
    responder.is_initiator = False
    assert "responder" in repr(responder)
