"""Refusals of the kernel in our words."""

from __future__ import annotations

import errno

import pytest

from p2ptun.errors import DeviceError, PrivilegeError
from p2ptun.io.refusal import bind_error, send_error
from p2ptun.types import Endpoint, SendError, Transport

UDP, TCP = Endpoint.of("192.0.2.1", 53), Endpoint.of("192.0.2.1", 53, Transport.TCP)


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (errno.EAGAIN, SendError.WOULD_BLOCK),
        (errno.EHOSTUNREACH, SendError.UNREACHABLE),
        (errno.ETIMEDOUT, SendError.TIMED_OUT),
        (errno.EPERM, SendError.REFUSED_BY_FIREWALL),
        (errno.ECONNRESET, SendError.REFUSED),
        (errno.EMSGSIZE, SendError.TOO_LARGE),
        (errno.ENFILE, SendError.NO_BUFFERS),
        (errno.EBADF, SendError.SOURCE_GONE),
        (errno.EDOM, SendError.OTHER),
        (None, SendError.OTHER),
    ],
)
def test_what_an_errno_means(number: int | None, meaning: SendError) -> None:
    assert send_error(number) is meaning


@pytest.mark.parametrize(
    ("local", "number", "sentence"),
    [
        (UDP, errno.EADDRINUSE, "UDP port 53 is already in use on 192.0.2.1."),
        (TCP, errno.EADDRINUSE, "TCP port 53 is already in use on 192.0.2.1."),
        (TCP, errno.EADDRNOTAVAIL, "192.0.2.1 is no address of this machine."),
        (UDP, errno.ENOMEM, "No UDP socket on 192.0.2.1:53: Cannot allocate memory."),
    ],
)
def test_why_there_is_no_socket(local: Endpoint, number: int, sentence: str) -> None:
    error = bind_error(local, OSError(number, "refused"))
    assert type(error) is DeviceError
    assert str(error) == sentence


def test_a_zone_that_no_interface_has_is_no_errno() -> None:
    assert "no address of this machine" in str(bind_error(UDP, OSError("no interface with this name")))


def test_low_ports_want_privileges() -> None:
    error = bind_error(TCP, PermissionError(errno.EACCES, "refused"))
    assert isinstance(error, PrivilegeError)
    assert str(error) == "TCP port 53 is reserved for root."
    assert "CAP_NET_BIND_SERVICE" in error.remedy
