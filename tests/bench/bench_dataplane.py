"""How fast the data plane seals and opens, as a ratio to libsodium alone on the same bytes.

    python -m tests.bench.bench_dataplane [SECONDS]

One process, one thread: each round seals a batch of 64 packets and opens what came of it, with replay and source check.
`bare` is the same number of libsodium calls (seal and open) on plaintexts of the same size, with no framing, no copying
and no checks. A ratio of 0.5 means that p2ptun's Python costs as much as the cryptography.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ipaddress import ip_network
from time import perf_counter

from p2ptun.aead.algorithm import Algorithm, available_algorithms
from p2ptun.aead.buffer import Batch, Buffer
from p2ptun.aead.key import Key
from p2ptun.aead.sodium import NULL
from p2ptun.dataplane.allowed import AllowedIPs
from p2ptun.dataplane.inbound import Inbound
from p2ptun.dataplane.outbound import Outbound, plaintext_limit
from p2ptun.tunnel.index import SessionIndex
from p2ptun.tunnel.keypair import Keypair

DATAGRAM = 1452  # of a path with MTU 1500 over IPv6
PACKETS = 64
SIZES = (84, 576, 1400)


def packet(size: int) -> bytes:
    """Build an IPv4 packet from 10.77.0.1."""
    header = bytes((0x45, 0)) + size.to_bytes(2, "big") + bytes(8) + bytes((10, 77, 0, 1)) + bytes((10, 77, 0, 2))
    return header.ljust(size, b"\xa5")


def keypair(algorithm: Algorithm) -> Keypair:
    """Build a keypair whose two directions share a key, so that it opens what it seals."""
    key = bytes(range(algorithm.key_size))
    return Keypair(
        send_key=Key(algorithm, key),
        receive_key=Key(algorithm, key),
        local_index=SessionIndex(1),
        remote_index=SessionIndex(1),
        binder=b"",
        is_initiator=True,
        is_bound=False,
        created_at=0.0,
        rekey_at=0.0,
    )


def per_second(work: Callable[[], int], seconds: float) -> float:
    """Return what `work` says that it did, per second."""
    done, began = 0, perf_counter()
    while (elapsed := perf_counter() - began) < seconds:
        done += work()
    return done / elapsed


def tunnel(algorithm: Algorithm, size: int) -> tuple[Callable[[], int], int]:
    """Return a round that seals and opens a batch, and how many datagrams it takes."""
    keys = keypair(algorithm)
    allowed: AllowedIPs[str] = AllowedIPs()
    allowed.insert(ip_network("10.77.0.0/24"), "peer")
    outbound, inbound = Outbound(plaintext_limit(DATAGRAM, algorithm)), Inbound(allowed, "peer")
    packets, datagrams, opened = Batch(1 << 17), Batch(1 << 17), Batch(1 << 17)
    controls: list[bytes] = []
    for _ in range(PACKETS):
        packets.append(packet(size))

    def work() -> int:
        datagrams.clear()
        opened.clear()
        outbound.seal(packets, keys, datagrams)
        for span in datagrams.spans:
            inbound.open(datagrams, span, keys, opened, controls)
        if len(opened) != PACKETS:
            raise AssertionError(f"{len(opened)} of {PACKETS} came through: {outbound.drops} {inbound.drops}")
        return PACKETS

    work()
    return work, len(datagrams)


def bare(algorithm: Algorithm, datagrams: int, size: int) -> Callable[[], int]:
    """Return a round that does as many libsodium calls on as many bytes."""
    primitive = algorithm.primitive
    nonce, raw_key = Buffer(primitive.nonce_size), Buffer(primitive.key_size)
    plain, sealed = Buffer(size), Buffer(size + primitive.tag_size)

    def work() -> int:
        for _ in range(datagrams):
            primitive.encrypt(sealed.pointer, NULL, plain.pointer, size, NULL, 0, NULL, nonce.pointer, raw_key.pointer)
            primitive.decrypt(
                plain.pointer, NULL, NULL, sealed.pointer, sealed.size, NULL, 0, nonce.pointer, raw_key.pointer
            )
        return PACKETS

    return work


def main(seconds: float) -> None:
    """Print a table."""
    print(f"{'algorithm':<20}{'packet':>8}{'datagrams':>11}{'packets/s':>12}{'Gb/s':>8}{'bare Gb/s':>11}{'ratio':>8}")
    for algorithm in available_algorithms():
        for size in SIZES:
            work, datagrams = tunnel(algorithm, size)
            rate = per_second(work, seconds)
            limit = per_second(bare(algorithm, datagrams, PACKETS * (size + 1) // datagrams + 1), seconds)
            gigabits = size * 8 / 1e9
            print(
                f"{algorithm.value:<20}{size:>8}{datagrams:>11}{rate:>12.0f}{rate * gigabits:>8.2f}"
                f"{limit * gigabits:>11.2f}{rate / limit:>8.2f}"
            )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
