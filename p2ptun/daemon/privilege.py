"""Rights that a tunnel doesn't need are given up before it meets the network."""

from __future__ import annotations

import ctypes

CAP_DAC_READ_SEARCH = 2  # linux/capability.h; our modules may lie where only their owner looks, and are loaded late
CAP_NET_ADMIN = 12
KEPT = 1 << CAP_NET_ADMIN | 1 << CAP_DAC_READ_SEARCH

_LAST_CAPABILITY = 63
_VERSION_3 = 0x20080522  # linux/capability.h: two words of 32 bits for each set
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38  # linux/prctl.h


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop_privileges() -> bool:
    """Give up every capability but those in `KEPT`, for good and for whatever is started from here (capabilities(7)).

    Threads that come later inherit it, those that run already don't: call it before there are any. Returns whether the
    kernel agreed; where it doesn't, all goes on as it would without.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_LAST_CAPABILITY + 1):
        if not KEPT >> capability & 1:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets) != 0:
        return False
    for word in (0, 1):
        kept = KEPT >> 32 * word & 0xFFFFFFFF & sets[word].permitted
        sets[word] = _Sets(kept, kept, 0)
    return bool(libc.capset(ctypes.byref(header), sets) == 0)
