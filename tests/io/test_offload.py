"""What the kernel says of joining and splitting."""

from __future__ import annotations

import socket

from p2ptun.io.offload import enable_coalescing, has_segmentation


def test_udp_sockets_join_and_split() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        assert has_segmentation(sock)
        assert enable_coalescing(sock)


def test_others_do_neither() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        assert not has_segmentation(sock)
        assert not enable_coalescing(sock)
