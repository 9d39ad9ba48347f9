"""ML-KEM-768 (FIPS 203), by the package `cryptography`: a secret that a quantum computer doesn't find out later.

Not every build of that package can do it. Where it can't, there is no key, and one does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2ptun.errors import MalformedPacket
from p2ptun.types import RandomBytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

PUBLIC_KEY_SIZE: Final = 1184  # FIPS 203 table 3, as are the other two
CIPHERTEXT_SIZE: Final = 1088
SECRET_SIZE: Final = 32

_SEED_SIZE: Final = 64  # d and z of FIPS 203 algorithm 16


class KemKey:
    """A decapsulation key and its encapsulation key, which is public."""

    __slots__ = ("_private", "public")

    def __init__(self, private: MLKEM768PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the secret inside; another one, which nobody knows, if it is for another key or was changed.

        Raises:
            MalformedPacket: If the ciphertext has the wrong size.
        """
        if len(ciphertext) != CIPHERTEXT_SIZE:
            raise MalformedPacket(f"a ciphertext of {len(ciphertext)} bytes for ML-KEM-768")
        return self._private.decapsulate(ciphertext)


def draw_kem_key(random_bytes: RandomBytes) -> KemKey | None:
    """Draw a key; None where ML-KEM isn't to be had."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    except ImportError:
        return None
    try:
        return KemKey(MLKEM768PrivateKey.from_seed_bytes(random_bytes(_SEED_SIZE)))
    except UnsupportedAlgorithm:
        return None


def encapsulate(public: bytes) -> tuple[bytes, bytes] | None:
    """Make a secret for whoever has the key to `public`: return it and its ciphertext; None without ML-KEM.

    The randomness is that of the package, which takes none from elsewhere.

    Raises:
        MalformedPacket: If `public` is no encapsulation key (FIPS 203 7.2).
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    except ImportError:
        return None
    try:
        return MLKEM768PublicKey.from_public_bytes(public).encapsulate()
    except UnsupportedAlgorithm:
        return None
    except ValueError:
        raise MalformedPacket("no encapsulation key of ML-KEM-768") from None
