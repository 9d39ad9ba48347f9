"""The TUN device: whole IP packets from and to the kernel, in batches.

The device isn't persistent: it vanishes, with its addresses and routes, when the last file descriptor closes, even
after kill -9. Packets come without the four bytes of packet information (IFF_NO_PI).
"""

from __future__ import annotations

import errno
import os
from collections import Counter

import trio
from pytun import IFF_NO_PI, IFF_TUN, IFF_TUN_EXCL, TunTapDevice

from p2ptun.aead.buffer import Batch
from p2ptun.errors import DeviceError, PrivilegeError

DEFAULT_NAME = "p2ptun"  # a number follows: the first one free
MAX_NAME_SIZE = 15  # IFNAMSIZ - 1, linux/if.h
MAX_NAMES = 1000  # names tried before we say that something is wrong

PACKETS_PER_WAKE = 64
"""Packets taken before trio gets its turn: keeps ICE and control alive under load (one turn, about 0.2 ms)."""

_DEVICE_NODE = "/dev/net/tun"
_FLAGS = IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL  # EXCL: a name that exists is an error, never somebody else's device
_RESERVED_NAMES = frozenset({".", "..", "all", "default"})  # all and default are directories under /proc/sys/net
_NAME_REMEDY = "Choose 1 to 15 letters, digits, dots, dashes or underscores with --name."

_DEVICE_GONE = (errno.EBADFD, errno.ENODEV, errno.ENXIO)


class TunDevice:
    """An open TUN device. Reading and writing never block; `wait_readable` waits.

    `write_errors` counts the packets that the kernel refused, by the name of the error (`EINVAL`: no IP packet,
    `EIO`: the interface is down).
    """

    def __init__(self, device: TunTapDevice, mtu: int) -> None:
        self.mtu = mtu
        self.write_errors: Counter[str] = Counter()
        self._device = device
        self._descriptor: int = device.fileno()
        self._name: str = device.name
        self._is_closed = False
        os.set_inheritable(self._descriptor, False)  # a hook that outlives us would keep the interface alive
        os.set_blocking(self._descriptor, False)

    @classmethod
    def open(cls, name: str | None, mtu: int) -> TunDevice:
        """Create the interface `name`, or p2ptunN with the first number that is free when it is None.

        The interface starts down and without addresses: `netlink.configure` does the rest and sets `mtu`, which
        here says how much room a packet needs.

        Raises:
            DeviceError: If the name is invalid or taken or there is no /dev/net/tun, with the remedy.
            PrivilegeError: If we may not, with the remedy.
        """
        if name is None:
            return cls(_create_numbered(), mtu)
        check_name(name)
        device = _create(name)
        if device is None:
            raise DeviceError(
                f"The interface name {name} is already taken.",
                "See whether a tunnel of that name runs: p2ptun status. Otherwise choose another with --name, or "
                f"remove it if it is a leftover: ip link del {name}",
            )
        return cls(device, mtu)

    @property
    def name(self) -> str:
        """The interface's name."""
        return self._name

    async def wait_readable(self) -> None:
        """Wait until a packet is there.

        Raises:
            trio.ClosedResourceError: If the device is closed meanwhile.
        """
        if self._is_closed:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(self._descriptor)

    def read_batch(self, batch: Batch) -> int:
        """Read the packets that are waiting, straight into `batch` after what it holds; return how many.

        At most PACKETS_PER_WAKE, and only while a packet of `mtu` bytes fits: the kernel would cut it short.

        Raises:
            DeviceError: If somebody removed the interface.
        """
        view = batch.buffer.view
        spans = batch.spans
        end = batch.end
        last_start = len(view) - self.mtu
        before = len(spans)
        descriptor = self._descriptor
        for _ in range(PACKETS_PER_WAKE):
            if end > last_start:
                break
            try:
                size = os.readv(descriptor, (view[end:],))
            except BlockingIOError:
                break
            except OSError as error:
                self._check_alive(error)
                break
            spans.append((end, end + size))
            end += size
        return len(spans) - before

    def write_batch(self, batch: Batch) -> int:
        """Write every packet of `batch`; return how many the kernel took. A refused packet costs itself only.

        Raises:
            DeviceError: If somebody removed the interface.
        """
        written = 0
        write = os.write
        descriptor = self._descriptor
        for packet in batch:
            try:
                write(descriptor, packet)
                written += 1
            except OSError as error:
                self._check_alive(error)
                self.write_errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1
        return written

    def close(self) -> None:
        """Remove the interface, and with it its addresses and routes. Closing twice is harmless."""
        if not self._is_closed:
            self._is_closed = True
            if trio.lowlevel.in_trio_run():
                trio.lowlevel.notify_closing(self._descriptor)
            self._device.close()

    def __enter__(self) -> TunDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_alive(self, error: OSError) -> None:
        if error.errno in _DEVICE_GONE:
            raise DeviceError(
                f"The interface {self._name} was removed by somebody else.", "Start the tunnel again."
            ) from error


def check_name(name: str) -> None:
    """Check an interface name before the kernel does, to say what is wrong with it. Raises DeviceError."""
    if not name:
        raise DeviceError("The interface name is empty.", _NAME_REMEDY)
    if len(name.encode(errors="replace")) > MAX_NAME_SIZE:
        raise DeviceError(f"The interface name {name!r} is longer than {MAX_NAME_SIZE} bytes.", _NAME_REMEDY)
    # the kernel refuses slash, colon and white space, and takes % as a pattern; the rest would confuse people
    if name in _RESERVED_NAMES or not all(character.isalnum() or character in "._-" for character in name):
        raise DeviceError(f"{name!r} can't be the name of an interface.", _NAME_REMEDY)


def _create_numbered() -> TunTapDevice:
    """Create p2ptun0, or the next one free. Creating is also the test, so two of us at once get two names."""
    for number in range(MAX_NAMES):
        device = _create(f"{DEFAULT_NAME}{number}")
        if device is not None:
            return device
    last = f"{DEFAULT_NAME}{MAX_NAMES - 1}"
    raise DeviceError(f"{DEFAULT_NAME}0 to {last} are all taken.", "Choose another name with --name.")


def _create(name: str) -> TunTapDevice | None:
    """Create the interface; None when the name is taken."""
    try:
        return TunTapDevice(name=name, flags=_FLAGS)
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EEXIST):
            return None
        raise _translated(name, error) from error


def _translated(name: str, error: OSError) -> DeviceError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return PrivilegeError(
            f"Making the interface {name} needs root or CAP_NET_ADMIN.",
            "Run it with sudo, or give it CAP_NET_ADMIN.",
        )
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return DeviceError(
            f"This machine has no TUN device ({_DEVICE_NODE}).",
            "Load it with: sudo modprobe tun; start a container with: --device /dev/net/tun --cap-add NET_ADMIN",
        )
    return DeviceError(f"The kernel refused the interface {name}: {error}.", _NAME_REMEDY)
