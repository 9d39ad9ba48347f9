"""libsodium's AEADs as C functions over cffi pointers: the only module that touches PyNaCl's inner `lib` and `ffi`.

`nacl.bindings` is the supported way in, but each call copies its input and allocates its output: some 3 us for a
datagram where the C function itself takes 0.3 us. So the C functions are called directly. They belong to PyNaCl's
inside, therefore each is compared with its `nacl.bindings` twin before its first use (`_agree`); where they differ, or
the inside moved, the twin is used behind the same signature: slower, otherwise the same.

The signatures are libsodium's own::

    int encrypt(c, clen_p, m, mlen, ad, adlen, nsec, npub, k)        c has room for mlen + tag bytes
    int decrypt(m, mlen_p, nsec, c, clen, ad, adlen, npub, k)        0: authentic; m has room for clen - tag bytes
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

from nacl import bindings
from nacl.exceptions import CryptoError

Pointer: TypeAlias = Any
"""A cffi `unsigned char *`. It doesn't keep the memory alive that it points into: the `Buffer` does."""

CFunction: TypeAlias = Callable[..., int]

logger = logging.getLogger(__name__)


def _load() -> tuple[Any, Any]:
    """Return PyNaCl's cffi `ffi` and `lib`; without its inside any `ffi` will do, and there is no `lib`."""
    try:
        inside = import_module("nacl._sodium")
        return inside.ffi, inside.lib
    except (ImportError, AttributeError):
        return import_module("_cffi_backend").FFI(), None


ffi, lib = _load()
NULL: Pointer = ffi.NULL


@dataclass(frozen=True, slots=True)
class Primitive:
    """One AEAD: its C functions, and its sizes in bytes."""

    name: str
    encrypt: CFunction
    decrypt: CFunction
    key_size: int
    nonce_size: int
    tag_size: int


def pointer_into(raw: bytearray) -> Pointer:
    """Return a pointer to the first byte of `raw`, which can't be resized while the pointer lives."""
    return ffi.from_buffer("unsigned char[]", raw)


def wipe(raw: bytearray) -> None:
    """Overwrite `raw` with zeros in a way that no optimiser removes (`sodium_memzero`)."""
    if lib is None:
        raw[:] = bytes(len(raw))
    else:
        lib.sodium_memzero(ffi.from_buffer(raw), len(raw))


def has_aes() -> bool:
    """Tell whether this machine has the AES instructions that AES-256-GCM needs and that make AEGIS fast."""
    return lib is not None and bool(lib.crypto_aead_aes256gcm_is_available())


@cache
def primitive(name: str) -> Primitive:
    """Return the AEAD that libsodium calls `crypto_aead_<name>`: the C functions if they pass the self-test."""
    slow = safe_primitive(name)
    if lib is None:
        logger.warning("PyNaCl's inner library isn't where it was: %s goes the slow way", name)
        return slow
    fast = Primitive(
        name,
        getattr(lib, f"crypto_aead_{name}_encrypt"),
        getattr(lib, f"crypto_aead_{name}_decrypt"),
        slow.key_size,
        slow.nonce_size,
        slow.tag_size,
    )
    if _agree(fast, slow):
        return fast
    logger.warning("libsodium's %s failed its self-test: it goes the slow way", name)
    return slow


def safe_primitive(name: str) -> Primitive:
    """Return the same AEAD through `nacl.bindings`, behind the C signature."""
    seal = getattr(bindings, f"crypto_aead_{name}_encrypt")
    unseal = getattr(bindings, f"crypto_aead_{name}_decrypt")
    key_size: int = getattr(bindings, f"crypto_aead_{name}_KEYBYTES")
    nonce_size: int = getattr(bindings, f"crypto_aead_{name}_NPUBBYTES")
    tag_size: int = getattr(bindings, f"crypto_aead_{name}_ABYTES")

    def encrypt(*arguments: Pointer) -> int:
        c, _, m, mlen, ad, adlen, _, npub, k = arguments
        sealed = seal(_read(m, mlen), _read(ad, adlen), _read(npub, nonce_size), _read(k, key_size))
        ffi.memmove(c, sealed, len(sealed))
        return 0

    def decrypt(*arguments: Pointer) -> int:
        m, _, _, c, clen, ad, adlen, npub, k = arguments
        try:
            plain = unseal(_read(c, clen), _read(ad, adlen), _read(npub, nonce_size), _read(k, key_size))
        except CryptoError:
            return -1
        ffi.memmove(m, plain, len(plain))
        return 0

    return Primitive(name, encrypt, decrypt, key_size, nonce_size, tag_size)


def _read(pointer: Pointer, size: int) -> bytes:
    return bytes(ffi.buffer(pointer, size)) if size else b""


def _agree(fast: Primitive, slow: Primitive) -> bool:
    """Seal a message both ways, open it with `fast`, and let `fast` refuse it with each end tampered with.

    The AES of a machine without the instructions isn't tried: neither way has it.
    """
    if fast.name == "aes256gcm" and not has_aes():
        return True
    message = bytearray(range(199))
    plain, key, nonce = (pointer_into(raw) for raw in (message, bytearray(fast.key_size), bytearray(fast.nonce_size)))
    ciphertexts = []
    for one in (fast, slow):
        sealed = bytearray(len(message) + one.tag_size)
        one.encrypt(pointer_into(sealed), NULL, plain, len(message), NULL, 0, NULL, nonce, key)
        ciphertexts.append(sealed)
    sealed, opened = ciphertexts[0], bytearray(len(message))

    def is_authentic() -> bool:
        out, source = pointer_into(opened), pointer_into(sealed)
        return fast.decrypt(out, NULL, NULL, source, len(sealed), NULL, 0, nonce, key) == 0

    if sealed != ciphertexts[1] or not is_authentic() or opened != message:
        return False
    for index in (0, -1):
        sealed[index] ^= 1
        if is_authentic():
            return False
        sealed[index] ^= 1
    return True
