"""Keypairs that face each other, and IP packets to send through them."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from hypothesis import strategies as st

from p2ptun.aead.algorithm import Algorithm
from p2ptun.aead.buffer import Batch
from p2ptun.aead.key import Key
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.keypair import Keypair

CHACHA = Algorithm.CHACHA20_POLY1305


def keypairs(algorithm: Algorithm = CHACHA) -> tuple[Keypair, Keypair]:
    """Return the two sides of one handshake."""
    there, back = bytes([1]) * algorithm.key_size, bytes([2]) * algorithm.key_size
    return _keypair(algorithm, there, back, 0xA), _keypair(algorithm, back, there, 0xB)


def _keypair(algorithm: Algorithm, send: bytes, receive: bytes, index: int) -> Keypair:
    return Keypair(
        send_key=Key(algorithm, send),
        receive_key=Key(algorithm, receive),
        local_index=SessionIndex(index),
        remote_index=SessionIndex(0xA + 0xB - index),
        binder=b"",
        is_initiator=index == 0xA,
        is_bound=False,
        created_at=1000.0,
        rekey_at=1120.0,
    )


def packet(source: str, payload: bytes = b"", destination: str | None = None) -> bytes:
    """Build an IP packet of the source's family."""
    address = ip_address(source)
    if isinstance(address, IPv6Address):
        target = ip_address(destination or "2001:db8::ff")
        return b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + b"\x3b\x40" + address.packed + target.packed + payload
    target = ip_address(destination or "192.0.2.255")
    length = (20 + len(payload)).to_bytes(2, "big")
    return b"\x45\0" + length + bytes(4) + b"\x40\xfd\0\0" + address.packed + target.packed + payload


def batch_of(*parts: bytes, size: int = 1 << 17) -> Batch:
    batch = Batch(size)
    for part in parts:
        assert batch.append(part)
    return batch


OURS = ("10.77.0.1", "10.77.1.9", "fd00::1")
FOREIGN = ("10.78.0.1", "fd01::1", "127.0.0.1", "::", "ff02::1", "::ffff:10.77.0.1", "2002:0a4e:1::1")

packets = st.builds(packet, st.sampled_from(OURS), st.binary(max_size=1500))
mixed_packets = st.builds(packet, st.sampled_from(OURS + FOREIGN), st.binary(max_size=600))
