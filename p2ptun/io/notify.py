"""Tells the service manager how a service is (sd_notify(3)): lines `NAME=value` in a datagram to its socket."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify_ready(status: str) -> None:
    """Say that the service has begun to serve, and how it is in a few words."""
    _send("READY=1", _status(status))


def notify_status(status: str) -> None:
    """Say how it is."""
    _send(_status(status))


def notify_stopping() -> None:
    """Say that it ends by itself."""
    _send("STOPPING=1")


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"  # a new line would begin another field


def _send(*lines: str) -> None:
    """Send them where the manager asked for it; to nobody without one, and a manager that is gone is no problem."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    name = address.replace("@", "\0", 1) if address.startswith("@") else address  # unix(7): abstract names
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, name)
