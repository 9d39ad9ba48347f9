"""What it means that the kernel refuses: a `SendError` for machines, a sentence with a remedy for people."""

from __future__ import annotations

import errno
import os

from p2ptun.errors import DeviceError, PrivilegeError
from p2ptun.types import Endpoint, SendError

_SEND_ERRORS = {
    errno.EAGAIN: SendError.WOULD_BLOCK,
    errno.ENETUNREACH: SendError.UNREACHABLE,
    errno.EHOSTUNREACH: SendError.UNREACHABLE,
    errno.ENETDOWN: SendError.UNREACHABLE,
    errno.EHOSTDOWN: SendError.UNREACHABLE,
    errno.ETIMEDOUT: SendError.TIMED_OUT,
    errno.EPERM: SendError.REFUSED_BY_FIREWALL,
    errno.EACCES: SendError.REFUSED_BY_FIREWALL,  # also a broadcast address, which is refused just as finally
    errno.ECONNREFUSED: SendError.REFUSED,
    errno.ECONNRESET: SendError.REFUSED,
    errno.EPIPE: SendError.REFUSED,
    errno.EMSGSIZE: SendError.TOO_LARGE,
    errno.ENOBUFS: SendError.NO_BUFFERS,
    errno.ENOMEM: SendError.NO_BUFFERS,
    errno.EMFILE: SendError.NO_BUFFERS,
    errno.ENFILE: SendError.NO_BUFFERS,
    errno.EADDRNOTAVAIL: SendError.SOURCE_GONE,
    errno.ENODEV: SendError.SOURCE_GONE,
    errno.EBADF: SendError.SOURCE_GONE,  # closed, and another one takes over: `Underlay.follow`
}


def send_error(number: int | None) -> SendError:
    """Tell what an errno means for what was to be sent, or for the connection that was to carry it."""
    return _SEND_ERRORS.get(number or 0, SendError.OTHER)


def bind_error(local: Endpoint, error: OSError) -> DeviceError:
    """Explain why there is no socket on `local`."""
    kind = local.transport.value.upper()
    if error.errno == errno.EADDRINUSE:
        sentence = f"{kind} port {local.port} is already in use on {local.address}."
        return DeviceError(sentence, "Choose another port, or stop what uses this one: ss -lntup names it, as root.")
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV, None):  # None: no interface has the zone's name
        return DeviceError(f"{local.address} is no address of this machine.", "List those there are: ip -br address")
    if error.errno == errno.EACCES:
        remedy = "Choose a port above 1023, or run it as root or with CAP_NET_BIND_SERVICE."
        return PrivilegeError(f"{kind} port {local.port} is reserved for root.", remedy)
    return DeviceError(f"No {kind} socket on {local}: {os.strerror(error.errno)}.")
