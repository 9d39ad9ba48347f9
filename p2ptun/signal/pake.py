"""SPAKE2 over the group of Ed25519, by the package `spake2`: a strong key out of a weak password.

The sharer is side A, the joiner side B. An element is one byte that names the side, `A` or `B`, and a point in 32.
Whoever doesn't know the password can try one per exchange, and nothing of what he sees lets him try others at home
(the protocol is that of RFC 9382; the package was there first, and its bytes are its own).
"""

from __future__ import annotations

from typing import Any, Final

from p2ptun.errors import AuthenticationFailed, LocalProtocolError, MalformedPacket
from p2ptun.signal.description import Kind
from p2ptun.types import RandomBytes

ELEMENT_SIZE: Final = 33

_SIDES: Final = {Kind.OFFER: b"A", Kind.ANSWER: b"B"}
_PRIME: Final = 2**255 - 19  # RFC 8032 5.1: coordinates are numbers modulo this
_SIGN: Final = 1 << 255


class Pake:
    """One side of one exchange: send `element`, and `finish` with the other side's."""

    def __init__(self, kind: Kind, password: bytes, binding: bytes, random_bytes: RandomBytes) -> None:
        """Start. Both sides must have the same `binding`, which says what the exchange is for."""
        from spake2 import SPAKE2_A, SPAKE2_B

        side = SPAKE2_A if kind is Kind.OFFER else SPAKE2_B
        names = (binding + b" " + each.value.encode() for each in (Kind.OFFER, Kind.ANSWER))
        self._theirs = _SIDES[Kind.ANSWER if kind is Kind.OFFER else Kind.OFFER]
        self._spake: Any = side(password, *names, entropy_f=random_bytes)
        self.element: bytes = self._spake.start()

    def finish(self, element: bytes) -> bytes:
        """Return 32 bytes that whoever has the same password and binding shares. `element` is untrusted.

        It can be called once, also when it raises: what was drawn for one exchange is never used in another.

        Raises:
            MalformedPacket: If `element` has the wrong size, or is no point written as points are.
            AuthenticationFailed: If it is of our own side, or a point outside of the group.
            LocalProtocolError: The second time.
        """
        from spake2 import SPAKEError
        from spake2.ed25519_basic import NotOnCurve

        spake, self._spake = self._spake, None
        if spake is None:
            raise LocalProtocolError("an exchange is finished once")
        _check(element)
        if element[:1] != self._theirs:
            raise AuthenticationFailed("an element of our own side")
        try:
            shared: bytes = spake.finish(element)
        except NotOnCurve:
            raise MalformedPacket("an element off the curve") from None
        except (SPAKEError, ValueError) as error:
            raise AuthenticationFailed(f"an element that SPAKE2 refuses: {error}") from None
        return shared


def _check(element: bytes) -> None:
    """Refuse what the package would let pass: other sizes, and second ways to write a point.

    A coordinate not below the prime, or zero with a sign, would bring in the neutral element unseen.
    """
    if len(element) != ELEMENT_SIZE:
        raise MalformedPacket(f"an element of {len(element)} bytes")
    if not 1 < int.from_bytes(element[1:], "little") & (_SIGN - 1) < _PRIME - 1:
        raise MalformedPacket("an element that is no point, or one of low order")
