"""What Allocate answers say, hostile ones included."""

from __future__ import annotations

import pytest

from p2ptun.stun.attribute import (
    ADDRESS_ERROR_CODE,
    ALTERNATE_DOMAIN,
    ALTERNATE_SERVER,
    DONT_FRAGMENT,
    LIFETIME,
    XOR_MAPPED_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeValue,
)
from p2ptun.stun.codec import AddressError
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.message import Message, MessageClass, Method, TransactionId
from p2ptun.turn.allocation import WISHES, Failed, Grant, Redirected, read_grant, read_refusal
from p2ptun.turn.event import Problem
from p2ptun.types import Endpoint, Transport

from .world import NOWHERE

RELAYED, SIXTH = Endpoint.of("203.0.113.77", 50000), Endpoint.of("2001:db8::77", 50000)
MAPPED = Endpoint.of("198.51.100.9", 4321)
SERVER, ALTERNATE = Endpoint.of("203.0.113.1", 3478, Transport.TLS), Endpoint.of("203.0.113.2", 3479)
BOTH, FOURTH_ONLY, SIXTH_ONLY = WISHES


def success(*attributes: AttributeValue) -> Message:
    return Message(Method.ALLOCATE, MessageClass.SUCCESS, TransactionId(bytes(12)), attributes)


def test_no_wish_asks_for_what_the_tunnel_does_itself() -> None:
    for wish in WISHES:
        assert DONT_FRAGMENT not in [attribute for attribute, _ in wish.request]


def test_both_families() -> None:
    answer = success(
        (XOR_RELAYED_ADDRESS, RELAYED), (XOR_RELAYED_ADDRESS, SIXTH), (LIFETIME, 700), (XOR_MAPPED_ADDRESS, MAPPED)
    )
    grant = read_grant(answer, BOTH)
    assert grant == Grant((RELAYED, SIXTH), MAPPED, 700.0)
    assert grant.relayed_for(Endpoint.of("192.0.2.1", 9)) == RELAYED
    assert grant.relayed_for(Endpoint.of("2001:db8::1", 9)) == SIXTH


@pytest.mark.parametrize("relayed", [RELAYED, SIXTH])
def test_half_of_it_is_better_than_none(relayed: Endpoint) -> None:
    missing = (ADDRESS_ERROR_CODE, AddressError(2, 440, "Address Family not Supported"))
    grant = read_grant(success((XOR_RELAYED_ADDRESS, relayed), missing), BOTH)
    assert grant == Grant((relayed,), None, 600.0)
    other = SIXTH if relayed == RELAYED else RELAYED
    assert grant.relayed_for(other) is None


def test_an_address_that_nobody_has_is_left_out() -> None:
    nothing = Endpoint.of(NOWHERE, 0)
    assert read_grant(success((XOR_RELAYED_ADDRESS, nothing), (XOR_RELAYED_ADDRESS, SIXTH)), SIXTH_ONLY) == Grant(
        (SIXTH,), None, 600.0
    )


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        ((XOR_RELAYED_ADDRESS, Endpoint.of("203.0.113.77", 0)),),
        ((XOR_RELAYED_ADDRESS, Endpoint.of(NOWHERE, 7)),),
        ((XOR_RELAYED_ADDRESS, Endpoint.of("224.0.0.1", 7)),),
        ((XOR_RELAYED_ADDRESS, RELAYED), (XOR_RELAYED_ADDRESS, Endpoint.of("203.0.113.78", 7))),
        ((XOR_RELAYED_ADDRESS, RELAYED), (LIFETIME, 0)),
    ],
)
def test_a_success_that_gives_nothing_usable(attributes: tuple[AttributeValue, ...]) -> None:
    assert read_grant(success(*attributes), BOTH) is None


def test_a_family_that_was_not_asked_for() -> None:
    assert read_grant(success((XOR_RELAYED_ADDRESS, SIXTH)), FOURTH_ONLY) is None
    assert read_grant(success((XOR_RELAYED_ADDRESS, RELAYED)), SIXTH_ONLY) is None


def refusal(code: Code, *attributes: AttributeValue, is_proven: bool = True) -> Failed | Redirected:
    return read_refusal(error_response(success(), code, *attributes), int(code), SERVER, is_proven)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (Code.BAD_REQUEST, Problem.REFUSED),
        (Code.FORBIDDEN, Problem.FORBIDDEN),
        (Code.UNKNOWN_ATTRIBUTE, Problem.REFUSED),
        (Code.ALLOCATION_MISMATCH, Problem.REFUSED),
        (Code.ADDRESS_FAMILY_NOT_SUPPORTED, Problem.NO_FAMILY),
        (Code.WRONG_CREDENTIALS, Problem.WRONG_CREDENTIALS),
        (Code.UNSUPPORTED_TRANSPORT_PROTOCOL, Problem.NO_UDP),
        (Code.ALLOCATION_QUOTA_REACHED, Problem.QUOTA_REACHED),
        (Code.SERVER_ERROR, Problem.SERVER_ERROR),
        (Code.INSUFFICIENT_CAPACITY, Problem.NO_CAPACITY),
    ],
)
def test_each_code_has_its_problem(code: Code, problem: Problem) -> None:
    assert refusal(code) == Failed(problem, int(code))


def test_an_error_that_can_not_be_understood_has_no_code() -> None:
    assert read_refusal(success(), 0, SERVER, is_proven=True) == Failed(Problem.UNUSABLE, None)


def test_a_proven_redirection_keeps_the_transport() -> None:
    there = Endpoint(ALTERNATE.address, ALTERNATE.port, Transport.TLS)
    assert refusal(Code.TRY_ALTERNATE, (ALTERNATE_SERVER, ALTERNATE)) == Redirected(there, None)
    domain = (ALTERNATE_DOMAIN, "other.example")
    assert refusal(Code.TRY_ALTERNATE, (ALTERNATE_SERVER, ALTERNATE), domain) == Redirected(there, "other.example")


def test_a_redirection_without_proof_is_not_followed() -> None:
    assert refusal(Code.TRY_ALTERNATE, (ALTERNATE_SERVER, ALTERNATE), is_proven=False) == Failed(
        Problem.UNPROVEN_REDIRECT, 300
    )


@pytest.mark.parametrize("alternate", [None, SIXTH, Endpoint.of("203.0.113.2", 0), Endpoint.of(NOWHERE, 3478)])
def test_a_redirection_to_nowhere(alternate: Endpoint | None) -> None:
    attributes = () if alternate is None else ((ALTERNATE_SERVER, alternate),)
    assert refusal(Code.TRY_ALTERNATE, *attributes) == Failed(Problem.UNUSABLE, 300)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "255.255.255.255"])
def test_a_redirection_into_our_own_network(address: str) -> None:
    """Whoever is out there shall not choose which service in here gets a connection of ours."""
    alternate = (ALTERNATE_SERVER, Endpoint.of(address, 22))
    assert refusal(Code.TRY_ALTERNATE, alternate) == Failed(Problem.UNUSABLE, 300)
