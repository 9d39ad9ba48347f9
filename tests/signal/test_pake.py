from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2ptun.errors import AuthenticationFailed, LocalProtocolError, MalformedPacket, RemoteProtocolError
from p2ptun.signal.description import Kind
from p2ptun.signal.pake import ELEMENT_SIZE, Pake

PRIME = 2**255 - 19


def side(kind: Kind, password: bytes = b"password", binding: bytes = b"binding", seed: int = 0) -> Pake:
    return Pake(kind, password, binding, random.Random(f"{kind} {seed}").randbytes)


def element(coordinate: int, sign: int = 0) -> bytes:
    """Write a joiner's element by hand."""
    return b"B" + (coordinate | sign << 255).to_bytes(32, "little")


def test_equal_passwords_make_equal_keys() -> None:
    sharer, joiner = side(Kind.OFFER), side(Kind.ANSWER)
    assert (sharer.element[:1], joiner.element[:1]) == (b"A", b"B")
    assert len(sharer.element) == len(joiner.element) == ELEMENT_SIZE
    key = sharer.finish(joiner.element)
    assert key == joiner.finish(sharer.element)
    assert len(key) == 32


@pytest.mark.parametrize(("password", "binding"), [(b"Password", b"binding"), (b"password", b"Binding")])
def test_another_password_or_binding_makes_another_key(password: bytes, binding: bytes) -> None:
    sharer, joiner = side(Kind.OFFER), side(Kind.ANSWER, password, binding)
    assert sharer.finish(joiner.element) != joiner.finish(sharer.element)


def test_randomness_is_the_one_that_is_given() -> None:
    assert side(Kind.OFFER).element == side(Kind.OFFER).element
    assert side(Kind.OFFER).element != side(Kind.OFFER, seed=1).element


@pytest.mark.parametrize("kind", Kind)
def test_our_own_element_and_our_own_side_are_refused(kind: Kind) -> None:
    one = side(kind)
    with pytest.raises(AuthenticationFailed, match="own side"):
        one.finish(one.element)
    with pytest.raises(AuthenticationFailed, match="own side"):
        side(kind).finish(side(kind, seed=1).element)


def test_our_own_element_under_another_name_is_refused() -> None:
    one = side(Kind.OFFER)
    with pytest.raises(AuthenticationFailed, match="SPAKE2 refuses"):
        one.finish(b"B" + one.element[1:])


@pytest.mark.parametrize("name", [b"S", b"a", b"\0"])
def test_a_side_that_does_not_exist(name: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        side(Kind.OFFER).finish(name + side(Kind.ANSWER).element[1:])


def test_every_other_size_is_refused() -> None:
    good = side(Kind.ANSWER).element
    for size in [*range(ELEMENT_SIZE), ELEMENT_SIZE + 1, 1000]:
        with pytest.raises(MalformedPacket):
            side(Kind.OFFER).finish((good * 40)[:size])


@pytest.mark.parametrize(
    "coordinate",
    [
        0,  # order 4
        1,  # the neutral element
        PRIME - 1,  # order 2
        PRIME,  # 0 again
        PRIME + 1,  # the neutral element again, which the package doesn't see
        2**255 - 1,
    ],
)
@pytest.mark.parametrize("sign", [0, 1])
def test_points_of_low_order_and_second_spellings_are_refused(coordinate: int, sign: int) -> None:
    with pytest.raises(MalformedPacket, match="low order"):
        side(Kind.OFFER).finish(element(coordinate, sign))


def test_other_points_that_are_none_of_the_group_are_refused() -> None:
    outcomes = set()
    for coordinate in range(2, 12):
        with pytest.raises(RemoteProtocolError) as caught:
            side(Kind.OFFER).finish(element(coordinate))
        outcomes.add(type(caught.value))
    assert outcomes == {MalformedPacket, AuthenticationFailed}  # off the curve; on it, and outside of the group


def test_points_of_order_eight_are_refused() -> None:
    coordinates = order_eight()
    assert len(coordinates) == 1  # of both signs
    for coordinate in (coordinates[0], PRIME - coordinates[0]):
        with pytest.raises(AuthenticationFailed):
            side(Kind.OFFER).finish(element(coordinate))


def order_eight() -> list[int]:
    """Compute both coordinates of points of order 8: twice such a point has y = 0, so x^2 = -y^2 on the curve."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME  # RFC 8032 5.1
    # y^2 - x^2 = 1 + d x^2 y^2 with x^2 = -y^2 gives d y^4 + 2 y^2 - 1 = 0
    root = square_root(1 + d)
    squares = [(-1 + sign * root) * pow(d, -1, PRIME) % PRIME for sign in (1, -1)]
    return [square_root(square) for square in squares if is_square(square)]


def is_square(value: int) -> bool:
    return pow(value, (PRIME - 1) // 2, PRIME) == 1


def square_root(value: int) -> int:
    """RFC 8032 5.1.3."""
    root = pow(value, (PRIME + 3) // 8, PRIME)
    return root if root * root % PRIME == value % PRIME else root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME


def test_an_exchange_is_finished_once() -> None:
    for first in (side(Kind.ANSWER).element, b"nonsense"):
        sharer = side(Kind.OFFER)
        if first == b"nonsense":
            with pytest.raises(MalformedPacket):
                sharer.finish(first)
        else:
            sharer.finish(first)
        with pytest.raises(LocalProtocolError):
            sharer.finish(side(Kind.ANSWER).element)


@settings(max_examples=30)
@given(st.binary(min_size=32, max_size=32))
def test_any_bytes_are_taken_or_refused(point: bytes) -> None:
    with suppress(RemoteProtocolError):
        assert len(side(Kind.OFFER).finish(b"B" + point)) == 32
