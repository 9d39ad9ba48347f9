"""Many datagrams per system call, and no Python object per datagram: recvmmsg and sendmmsg through cffi.

Python's socket module takes one datagram per call. Here an `Inbox` is filled by one recvmmsg, and an `Outbox` sends
pieces of it: whoever relays copies nothing. What the kernel writes (lengths, names, control messages) lies in arrays
that Python reads in one operation for all datagrams.

Both are for one thread, and their contents are good until the next call.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from cffi import FFI

from p2ptun.io.offload import UDP_SEGMENT
from p2ptun.io.rawaddr import LONGEST_NAME

SLOTS: Final = 256
"""Datagrams of one recvmmsg: enough that neither the call nor what Python does with its result counts any longer."""

SLOT_SIZE: Final = (1 << 16) + 4096 + 64
"""Bytes between slots: the largest datagram fits, and neighbours don't begin at the same place of the caches."""

_CData: TypeAlias = Any

_ffi: Any = FFI()
_ffi.cdef("""
struct iovec { void *iov_base; size_t iov_len; };
struct msghdr { void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
                void *msg_control; size_t msg_controllen; int msg_flags; };
struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
struct cmsghdr { size_t cmsg_len; int cmsg_level; int cmsg_type; };
int recvmmsg(int, struct mmsghdr *, unsigned int, int, void *);
int sendmmsg(int, struct mmsghdr *, unsigned int, int);
ssize_t sendmsg(int, struct msghdr *, int);
""")
_libc = _ffi.dlopen(None)  # ABI mode: needs no compiler

_HEADER_SIZE = _ffi.sizeof("struct mmsghdr")
_LENGTH_AT = _ffi.offsetof("struct mmsghdr", "msg_len")
_NAME_AT = _ffi.offsetof("struct msghdr", "msg_name")
_NAME_SIZE_AT = _ffi.offsetof("struct msghdr", "msg_namelen")
_VECTOR_SIZE = _ffi.sizeof("struct iovec")
_WORD = _ffi.sizeof("size_t")
_CONTROL_HEADER = _ffi.sizeof("struct cmsghdr")
_CONTROL_SPACE = _CONTROL_HEADER + 8  # CMSG_SPACE of an int
_SOL_UDP = 17  # linux/udp.h
_MSG_DONTWAIT = 0x40  # linux/socket.h
_TRANSIENT = frozenset({errno.EAGAIN, errno.EINTR})

LARGEST_MESSAGE: Final = 1 << 16
NO_ERROR: Final = 0

Words: TypeAlias = "array[int]"
"""Addresses or sizes as C has them (`size_t`, on Linux the same as `unsigned long`)."""


def words(values: Iterable[int]) -> Words:
    """Write numbers as C has them."""
    return array("L", values)


class Name:
    """A destination, written once for all datagrams that go there."""

    __slots__ = ("address", "pointer", "size")

    def __init__(self, name: bytes) -> None:
        self.size = len(name)
        self.pointer: _CData = _ffi.new("unsigned char[]", name)
        self.address = _number(self.pointer)


class _Memory:
    """Memory of C, seen from Python as bytes, and as words that lie at regular distances."""

    __slots__ = ("_fresh", "pointer", "view")

    def __init__(self, kind: str, count: int) -> None:
        self.pointer: _CData = _ffi.new(kind, count)
        self.view = memoryview(_ffi.buffer(self.pointer)).cast("B")
        self._fresh = memoryview(b"")

    @property
    def address(self) -> int:
        return _number(self.pointer)

    def words(self, kind: str, offset: int, stride: int) -> memoryview:
        """See one word in every `stride` bytes, the first at `offset`."""
        words = self.view.cast(kind)  # type: ignore[call-overload]
        found: memoryview = words[offset // words.itemsize :: stride // words.itemsize]
        return found

    def remember(self) -> None:
        """Take what is there now for what `restore` brings back."""
        self._fresh = memoryview(bytes(self.view))

    def restore(self, slots: int) -> None:
        """Bring back what was there in the first of SLOTS slots."""
        end = len(self._fresh) // SLOTS * slots
        self.view[:end] = self._fresh[:end]


class Inbox:
    """What one recvmmsg took.

    Slot i starts at `i * SLOT_SIZE` of `raw`. It holds one datagram, or several of one size that the kernel joined
    (UDP_GRO; the last may be shorter).

    Attributes:
        address: Where `raw` lies, for an `Outbox` to send parts of it.
        lengths: Bytes in each slot.
        segments: The size of the datagrams in each slot that the kernel joined; 0 where there is one.
        heads: The first four bytes of each slot, one after the other; older bytes where there are fewer.
    """

    def __init__(self) -> None:
        self.raw = bytearray(SLOTS * SLOT_SIZE)
        self.address = address_of(self.raw)
        self.lengths = array("I")
        self.segments = array("i")
        self.heads = b""
        self._headers, self._vectors = _Memory("struct mmsghdr[]", SLOTS), _Memory("struct iovec[]", SLOTS)
        self._names = _Memory("unsigned char[]", SLOTS * LONGEST_NAME)
        self._control = _Memory("unsigned char[]", SLOTS * _CONTROL_SPACE)
        for slot in range(SLOTS):
            self._describe(slot)
        for memory in (self._headers, self._names, self._control):
            memory.remember()
        self._length_words = self._headers.words("I", _LENGTH_AT, _HEADER_SIZE)
        self._segment_words = self._control.words("i", _CONTROL_HEADER, _CONTROL_SPACE)
        self._head_words = memoryview(self.raw).cast("I")[:: SLOT_SIZE // 4]

    def receive(self, descriptor: int, limit: int = SLOTS) -> int:
        """Take what waits on a UDP socket, `limit` messages at most; return how many slots are filled.

        Raises:
            OSError: What the kernel says but that nothing waits, which is 0.
        """
        for memory in (self._headers, self._names, self._control):
            memory.restore(len(self.lengths))  # the kernel writes lengths where it has read how much room there is
        count: int = _libc.recvmmsg(descriptor, self._headers.pointer, limit, _MSG_DONTWAIT, _ffi.NULL)
        if count <= 0:
            self.lengths = array("I")
            if count == 0 or _ffi.errno in _TRANSIENT:
                return 0
            raise OSError(_ffi.errno, os.strerror(_ffi.errno))
        self.lengths = array("I", self._length_words[:count].tobytes())
        self.segments = array("i", self._segment_words[:count].tobytes())
        self.heads = self._head_words[:count].tobytes()
        return count

    def name(self, slot: int, size: int) -> bytes:
        """Give the source of a slot, as `rawaddr` reads it; `size` is that of its IP version."""
        return bytes(self._names.view[slot * LONGEST_NAME : slot * LONGEST_NAME + size])

    @property
    def has_joined(self) -> bool:
        """Tell whether the kernel joined datagrams in any slot."""
        return any(self.segments)

    def are_alike(self, count: int) -> bool:
        """Tell whether `count` slots, none of them joined, are of one source and one size."""
        names = self._names.view
        return (
            self.lengths == self.lengths[:1] * count
            and bytes(names[: LONGEST_NAME * count]) == bytes(names[:LONGEST_NAME]) * count
        )

    def _describe(self, slot: int) -> None:
        """Tell the kernel where the parts of a message go."""
        vector, header = self._vectors.pointer[slot], self._headers.pointer[slot].msg_hdr
        vector.iov_base = _pointer(self.address + slot * SLOT_SIZE)
        vector.iov_len = LARGEST_MESSAGE
        header.msg_name, header.msg_namelen = self._names.pointer + slot * LONGEST_NAME, LONGEST_NAME
        header.msg_iov, header.msg_iovlen = self._vectors.pointer + slot, 1
        header.msg_control, header.msg_controllen = self._control.pointer + slot * _CONTROL_SPACE, _CONTROL_SPACE


class Outbox:
    """Datagrams to be sent, each made of one piece of memory or of two.

    They go as one message that the kernel splits (UDP_SEGMENT), or as many messages of one call.
    """

    def __init__(self) -> None:
        self._vectors = _Memory("struct iovec[]", 2 * SLOTS)
        self._bases = self._vectors.words("L", 0, _VECTOR_SIZE)
        self._lengths = self._vectors.words("L", _WORD, _VECTOR_SIZE)
        self._headers = {pieces: self._describe(pieces) for pieces in (1, 2)}
        self._control = _Memory("unsigned char[]", _CONTROL_SPACE)
        self._whole = _ffi.new("struct msghdr *")
        self._whole.msg_iov = self._vectors.pointer
        self._whole.msg_control, self._whole.msg_controllen = self._control.pointer, _CONTROL_SPACE
        header = _ffi.cast("struct cmsghdr *", self._control.pointer)
        header.cmsg_len, header.cmsg_level, header.cmsg_type = _CONTROL_HEADER + 2, _SOL_UDP, UDP_SEGMENT
        self._segment = self._control.words("H", _CONTROL_HEADER, _CONTROL_SPACE)

    def fill(self, bases: Words, lengths: Words) -> None:
        """Set the datagrams: addresses of memory, and how many bytes there. One entry for each."""
        count = len(bases)
        self._bases[:count] = bases
        self._lengths[:count] = lengths

    def fill_prefixed(self, prefixes: Words, prefix_length: int, bases: Words, lengths: Words) -> None:
        """Set datagrams of two pieces: each begins with `prefix_length` bytes from its own of `prefixes`."""
        end = 2 * len(bases)
        self._bases[:end:2] = prefixes
        self._bases[1:end:2] = bases
        self._lengths[:end:2] = words([prefix_length]) * len(bases)
        self._lengths[1:end:2] = lengths

    def send_segmented(self, descriptor: int, name: Name, count: int, pieces: int, size: int) -> int:
        """Send `count` datagrams of `size` bytes, the last may be shorter, by one message; return an errno or 0."""
        whole = self._whole
        whole.msg_name, whole.msg_namelen, whole.msg_iovlen = name.pointer, name.size, count * pieces
        self._segment[0] = size
        if _libc.sendmsg(descriptor, whole, _MSG_DONTWAIT) >= 0:
            return NO_ERROR
        number: int = _ffi.errno
        return number

    def send_each(self, descriptor: int, name: Name, count: int, pieces: int) -> Counter[int]:
        """Send `count` datagrams as messages of their own; return how many were lost, by errno."""
        headers = self._headers[pieces]
        headers.words("L", _NAME_AT, _HEADER_SIZE)[:count] = words([name.address]) * count
        headers.words("I", _NAME_SIZE_AT, _HEADER_SIZE)[:count] = array("I", [name.size]) * count
        lost: Counter[int] = Counter()
        done = 0
        while done < count:
            sent = _libc.sendmmsg(descriptor, headers.pointer + done, count - done, _MSG_DONTWAIT)
            if sent > 0:
                done += sent
                continue
            number = _ffi.errno
            if number in _TRANSIENT:
                lost[number] += count - done
                break
            lost[number] += 1
            done += 1
        return lost

    def _describe(self, pieces: int) -> _Memory:
        headers = _Memory("struct mmsghdr[]", SLOTS)
        for index in range(SLOTS):
            header = headers.pointer[index].msg_hdr
            header.msg_iov, header.msg_iovlen = self._vectors.pointer + index * pieces, pieces
        return headers


def address_of(memory: bytearray) -> int:
    """Tell where the bytes lie; good for as long as `memory` lives and isn't resized."""
    return _number(_ffi.from_buffer("unsigned char[]", memory))


def _number(pointer: _CData) -> int:
    return int(_ffi.cast("size_t", pointer))


def _pointer(address: int) -> _CData:
    return _ffi.cast("void *", address)
