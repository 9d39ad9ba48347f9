"""The machine that has ports mapped: protocols, times, leases, and gateways that are old, poor, mad or hostile."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptun.nat import natpmp
from p2ptun.nat.pcp import ResultCode
from p2ptun.nat.portmap import LONG_WAIT, MAX_PORTS, RENEWAL_INTERVAL, SHORT_WAIT
from p2ptun.nat.portmap_event import (
    DropReason,
    GatewayRestarted,
    LossReason,
    PortMapped,
    PortRefused,
    PortUnmapped,
    Problem,
    Protocol,
)
from p2ptun.nat.portmap_lease import LONGEST_LIFETIME, RECOVERY_PATIENCE, is_private
from p2ptun.nat.portmap_request import QUICK_REQUESTS, RELEASE_INTERVAL, interval
from p2ptun.types import Endpoint, SendError
from tests.nat.gateway import (
    ADDRESS_REQUEST,
    EPOCH,
    GATEWAY,
    GATEWAY_V6,
    LOCAL,
    LOCAL_V6,
    NO_PCP,
    OUTSIDE,
    PCP_REQUEST,
    PMP_REQUEST,
    PORT,
    START,
    Gateway,
    events,
    make_mapper,
    payloads,
    pcp_answer,
    pmp_address,
    pmp_answer,
    sent,
)

EXTERNAL = Endpoint(OUTSIDE, PORT)
MAPPED = PortMapped(PORT, EXTERNAL, 7200.0, Protocol.PCP)
SEED = 5351


def mapped(**about: object) -> Gateway:
    """Give a gateway that has mapped the port."""
    gateway = Gateway(make_mapper(), **about)  # type: ignore[arg-type]
    gateway.mapper.add_port(PORT, START)
    gateway.serve(START)
    gateway.seen.clear()
    return gateway


# PCP


def test_a_port_is_mapped() -> None:
    gateway = Gateway(make_mapper())
    assert gateway.mapper.add_port(PORT, START)
    before = gateway.mapper.is_settled
    assert gateway.serve(START) == [MAPPED]
    assert (before, gateway.mapper.is_settled) == (False, True)
    (request,) = gateway.seen
    version, opcode, _, lifetime, client, _, protocol, internal, suggested, address = PCP_REQUEST.unpack(request)
    assert (version, opcode, lifetime, protocol, internal) == (2, 1, 7200, 17, PORT)
    assert client == bytes.fromhex("00000000000000000000ffffc0a8010a")  # the address it is sent from, 8.1
    assert suggested == PORT  # never 0
    assert address == bytes.fromhex("00000000000000000000ffff00000000")
    assert gateway.mapper.ports == {PORT}
    assert gateway.mapper.gateway == GATEWAY


def test_it_is_renewed_at_half_of_its_time_for_what_it_has() -> None:
    gateway = mapped(lifetime=600)
    mapper = gateway.mapper
    assert mapper.next_timeout() == START + 300
    mapper.handle_timeout(START + 299)
    assert sent(mapper) == []
    mapper.handle_timeout(START + 300)
    gateway.lifetime = 400
    assert gateway.serve(START + 300) == []
    fields = PCP_REQUEST.unpack(gateway.seen[0])
    assert (fields[8], fields[9][12:]) == (PORT, OUTSIDE.packed)
    assert mapper.next_timeout() == START + 300 + 200


def test_the_nonce_stays() -> None:
    gateway = mapped(lifetime=600)
    gateway.mapper.handle_timeout(START + 300)
    first = make_mapper()
    first.add_port(PORT, START)
    (again,) = payloads(gateway.mapper)
    assert PCP_REQUEST.unpack(again)[5] == PCP_REQUEST.unpack(payloads(first)[0])[5]


def test_a_lease_is_believed_for_a_day_at_most() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.receive_datagram(pcp_answer(payloads(mapper)[0], EXTERNAL, 2**32 - 1), GATEWAY, LOCAL, START)
    assert events(mapper) == [PortMapped(PORT, EXTERNAL, LONGEST_LIFETIME, Protocol.PCP)]
    assert mapper.next_timeout() == START + LONGEST_LIFETIME / 2


def test_what_is_not_renewed_ends() -> None:
    mapper = mapped(lifetime=600).mapper
    mapper.handle_timeout(START + 600)
    assert events(mapper) == [PortUnmapped(PORT, EXTERNAL, LossReason.EXPIRED)]
    assert len(sent(mapper)) == 1  # and is asked for
    mapper.handle_timeout(START + 700)
    assert events(mapper) == []


def test_another_address_replaces_the_old_one() -> None:
    gateway = mapped()
    gateway.external = ip_address("198.51.100.9")
    gateway.mapper.handle_timeout(START + 3600)
    other = Endpoint.of("198.51.100.9", PORT)
    assert gateway.serve(START + 3600) == [
        PortUnmapped(PORT, EXTERNAL, LossReason.CHANGED),
        PortMapped(PORT, other, 7200.0, Protocol.PCP),
    ]


def test_ports_are_asked_for_one_after_the_other() -> None:
    gateway = Gateway(make_mapper())
    for port in (PORT, PORT + 1, PORT):
        assert gateway.mapper.add_port(port, START)
    (first,) = payloads(gateway.mapper)
    gateway.mapper.receive_datagram(gateway.answer(first, START) or b"", GATEWAY, LOCAL, START)
    assert [event.port for event in gateway.serve(START) if isinstance(event, PortMapped)] == [PORT, PORT + 1]
    assert gateway.mapper.is_settled


def test_there_are_so_many_ports_at_most() -> None:
    mapper = make_mapper()
    assert all(mapper.add_port(PORT + number, START) for number in range(MAX_PORTS))
    assert not mapper.add_port(PORT - 1, START)
    assert len(mapper.ports) == MAX_PORTS


# Errors


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (ResultCode.NOT_AUTHORIZED, Problem.NOT_AUTHORIZED),
        (ResultCode.MALFORMED_REQUEST, Problem.REFUSED),
        (ResultCode.NETWORK_FAILURE, Problem.NETWORK_FAILURE),
        (ResultCode.NO_RESOURCES, Problem.NO_RESOURCES),
        (ResultCode.USER_EX_QUOTA, Problem.QUOTA_EXCEEDED),
        (ResultCode.ADDRESS_MISMATCH, Problem.ADDRESS_MISMATCH),
        (255, Problem.REFUSED),
    ],
)
def test_a_refusal_is_told_once_and_believed_for_a_while(result: int, problem: Problem) -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    (request,) = payloads(mapper)
    now = START
    for _ in range(2):
        mapper.receive_datagram(pcp_answer(request, EXTERNAL, 100, result=result), GATEWAY, LOCAL, now)
        assert mapper.is_settled
        assert mapper.next_timeout() == now + 100
        now += 100
        mapper.handle_timeout(now)
        (request,) = payloads(mapper)
    assert events(mapper) == [PortRefused(PORT, problem), GatewayRestarted()]  # its clock stood still
    mapper.receive_datagram(pcp_answer(request, EXTERNAL), GATEWAY, LOCAL, now)
    assert MAPPED in events(mapper)


@pytest.mark.parametrize(("told", "waited"), [(0, SHORT_WAIT), (1000, 1000.0), (2**32 - 1, LONG_WAIT)])
def test_an_error_lasts_no_less_and_no_more(told: int, waited: float) -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    answer = pcp_answer(payloads(mapper)[0], EXTERNAL, told, result=ResultCode.NO_RESOURCES)
    mapper.receive_datagram(answer, GATEWAY, LOCAL, START)
    assert mapper.next_timeout() == START + waited


def test_a_refused_renewal_leaves_what_there_is() -> None:  # RFC 6887 11.5
    mapper = mapped(lifetime=600).mapper
    mapper.handle_timeout(START + 300)
    answer = pcp_answer(payloads(mapper)[0], EXTERNAL, 200, EPOCH + 300, ResultCode.NO_RESOURCES)
    mapper.receive_datagram(answer, GATEWAY, LOCAL, START + 300)
    assert events(mapper) == [PortRefused(PORT, Problem.NO_RESOURCES)]
    assert mapper.next_timeout() == START + 500
    mapper.handle_timeout(START + 600)
    assert events(mapper) == [PortUnmapped(PORT, EXTERNAL, LossReason.EXPIRED)]


def test_a_port_that_the_gateway_cant_give_is_not_insisted_on() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    refusal = ResultCode.CANNOT_PROVIDE_EXTERNAL
    mapper.receive_datagram(pcp_answer(payloads(mapper)[0], EXTERNAL, result=refusal), GATEWAY, LOCAL, START)
    (other,) = payloads(mapper)
    assert 49152 <= PCP_REQUEST.unpack(other)[8] <= 65535
    assert events(mapper) == []
    mapper.receive_datagram(pcp_answer(other, EXTERNAL, 60, result=refusal), GATEWAY, LOCAL, START)
    assert events(mapper) == [PortRefused(PORT, Problem.NO_EXTERNAL_PORT)]
    assert mapper.next_timeout() == START + 60


@pytest.mark.parametrize(
    ("external", "lifetime", "problem"),
    [
        (Endpoint.of("0.0.0.0", PORT), 7200, Problem.NO_EXTERNAL_ADDRESS),  # noqa: S104
        (Endpoint(OUTSIDE, 0), 7200, Problem.NO_EXTERNAL_ADDRESS),
        (Endpoint.of("224.0.0.1", PORT), 7200, Problem.NO_EXTERNAL_ADDRESS),
        (Endpoint.of("255.255.255.255", PORT), 7200, Problem.NO_EXTERNAL_ADDRESS),
        (Endpoint.of("2001:db8::1", PORT), 7200, Problem.NO_EXTERNAL_ADDRESS),
        (EXTERNAL, 9, Problem.SHORT_LEASE),
        (EXTERNAL, 0, Problem.SHORT_LEASE),
    ],
)
def test_what_is_no_use_is_no_mapping(external: Endpoint, lifetime: int, problem: Problem) -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.receive_datagram(pcp_answer(payloads(mapper)[0], external, lifetime), GATEWAY, LOCAL, START)
    assert events(mapper) == [PortRefused(PORT, problem)]


@pytest.mark.parametrize("speaks_pcp", [True, False])
@pytest.mark.parametrize("address", ["10.1.2.3", "100.64.0.9", "192.168.0.2", "192.0.0.2", "169.254.1.1"])
def test_behind_another_nat_the_mapping_is_kept_and_not_taken_for_a_public_one(address: str, speaks_pcp: bool) -> None:
    gateway = Gateway(make_mapper(), external=ip_address(address), speaks_pcp=speaks_pcp)
    mapper = gateway.mapper
    mapper.add_port(PORT, START)
    private = Endpoint.of(address, PORT)
    assert gateway.serve(START) == [PortRefused(PORT, Problem.BEHIND_ANOTHER_NAT, private)]
    assert mapper.is_settled
    assert gateway.mappings == {PORT: private}
    mapper.handle_timeout(START + 3600)
    assert gateway.serve(START + 3600) == []  # told once
    gateway.external = OUTSIDE
    mapper.handle_timeout(START + 7200)
    assert [type(event) for event in gateway.serve(START + 7200)] == [PortMapped]
    gateway.external = ip_address(address)
    mapper.handle_timeout(START + 10800)
    assert gateway.serve(START + 10800) == [
        PortUnmapped(PORT, EXTERNAL, LossReason.CHANGED),
        PortRefused(PORT, Problem.BEHIND_ANOTHER_NAT, private),
    ]


def test_private_is_what_nobody_outside_can_send_to() -> None:
    assert all(is_private(ip_address(text)) for text in ("172.16.0.1", "127.0.0.1", "fd00::1", "fe80::1", "::1"))
    assert not any(is_private(ip_address(text)) for text in ("203.0.113.7", "172.32.0.1", "2001:db8::1"))


# NAT-PMP


def test_an_old_gateway_says_so_and_is_asked_as_it_knows() -> None:
    gateway = Gateway(make_mapper(), speaks_pcp=False)
    gateway.mapper.add_port(PORT, START)
    assert gateway.serve(START) == [PortMapped(PORT, EXTERNAL, 7200.0, Protocol.NAT_PMP)]
    pcp, address, mapping = gateway.seen
    assert (pcp[0], address) == (2, ADDRESS_REQUEST)
    assert PMP_REQUEST.unpack(mapping) == (0, 1, 0, PORT, PORT, 7200)


def test_with_nat_pmp_the_address_is_asked_for_again_when_it_may_have_changed() -> None:
    gateway = mapped(speaks_pcp=False)
    mapper = gateway.mapper
    mapper.add_port(PORT + 1, START + 59)
    gateway.serve(START + 59)
    assert [len(payload) for payload in gateway.seen] == [12]
    gateway.seen.clear()
    gateway.external = ip_address("198.51.100.9")
    mapper.handle_timeout(START + 3600)
    assert gateway.serve(START + 3600)[0] == PortUnmapped(PORT, EXTERNAL, LossReason.CHANGED)
    assert [len(payload) for payload in gateway.seen] == [2, 12]


@pytest.mark.parametrize(
    ("result", "problem", "wait"),
    [
        (natpmp.ResultCode.NOT_AUTHORIZED, Problem.NOT_AUTHORIZED, LONG_WAIT),
        (natpmp.ResultCode.NETWORK_FAILURE, Problem.NETWORK_FAILURE, SHORT_WAIT),
        (natpmp.ResultCode.OUT_OF_RESOURCES, Problem.NO_RESOURCES, SHORT_WAIT),
        (natpmp.ResultCode.UNSUPPORTED_OPCODE, Problem.REFUSED, LONG_WAIT),
        (9999, Problem.REFUSED, LONG_WAIT),
    ],
)
def test_its_refusals(result: int, problem: Problem, wait: float) -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.receive_datagram(NO_PCP, GATEWAY, LOCAL, START)
    mapper.receive_datagram(pmp_address(), GATEWAY, LOCAL, START)
    mapper.receive_datagram(struct.pack(">BBHI", 0, 129, result, EPOCH), GATEWAY, LOCAL, START)
    assert events(mapper) == [PortRefused(PORT, problem)]
    assert mapper.next_timeout() == START + wait


def test_a_gateway_without_an_address() -> None:
    for answer in (pmp_address(ip_address("0.0.0.0")), pmp_address(result=3)[:8]):  # noqa: S104
        mapper = make_mapper()
        mapper.add_port(PORT, START)
        mapper.receive_datagram(NO_PCP, GATEWAY, LOCAL, START)
        mapper.receive_datagram(answer, GATEWAY, LOCAL, START)
        assert events(mapper) == [PortRefused(PORT, Problem.NETWORK_FAILURE)]
        assert mapper.next_timeout() == START + SHORT_WAIT


def test_an_old_gateway_that_knows_no_other_version_to_say_it_with_is_found_all_the_same() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    (first,) = payloads(mapper)
    mapper.handle_timeout(START + 0.25)
    assert payloads(mapper) == [first, ADDRESS_REQUEST]
    mapper.receive_datagram(pmp_address(), GATEWAY, LOCAL, START + 0.25)
    (request,) = payloads(mapper)
    mapper.receive_datagram(pmp_answer(request, PORT), GATEWAY, LOCAL, START + 0.25)
    assert events(mapper) == [PortMapped(PORT, EXTERNAL, 7200.0, Protocol.NAT_PMP)]


def test_a_gateway_that_knows_both_and_is_slow_maps_once() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.handle_timeout(START + 0.25)
    request, _, _ = payloads(mapper)
    for answer in (pcp_answer(request, EXTERNAL), pcp_answer(request, EXTERNAL), pmp_address()):
        mapper.receive_datagram(answer, GATEWAY, LOCAL, START + 0.3)
    assert events(mapper) == [MAPPED]
    assert mapper.drops == {DropReason.NOT_ASKED_FOR: 2}
    assert sent(mapper) == []


# Versions


def test_a_gateway_that_was_renewed_is_asked_by_pcp_again() -> None:
    gateway = mapped(speaks_pcp=False)
    gateway.speaks_pcp, gateway.speaks_pmp = True, False
    gateway.mapper.handle_timeout(START + 3600)
    assert gateway.serve(START + 3600) == []
    assert [payload[0] for payload in gateway.seen] == [0, 2]


def test_late_refusals_of_a_version_change_nothing() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.receive_datagram(NO_PCP, GATEWAY, LOCAL, START)
    mapper.receive_datagram(NO_PCP, GATEWAY, LOCAL, START)
    assert mapper.drops == {DropReason.NOT_ASKED_FOR: 1}
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    unsupported = pcp_answer(payloads(mapper)[0], EXTERNAL, result=1)[:24]  # of version 0, by one that knows ours
    mapper.receive_datagram(unsupported, GATEWAY, LOCAL, START)
    assert mapper.drops == {DropReason.NOT_ASKED_FOR: 1}
    assert mapper.next_timeout() == START + 0.25
    gateway = mapped()
    gateway.mapper.receive_datagram(NO_PCP, GATEWAY, LOCAL, START)
    assert gateway.mapper.drops == {DropReason.NOT_ASKED_FOR: 1}


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_nobody_here_speaks(version: int) -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    answer = pcp_answer(payloads(mapper)[0], EXTERNAL, result=1, version=version)
    mapper.receive_datagram(answer, GATEWAY, LOCAL, START)
    assert events(mapper) == [PortRefused(PORT, Problem.UNSUPPORTED)]
    assert mapper.next_timeout() == START + LONG_WAIT


def test_a_gateway_that_sends_us_round_in_circles_is_given_up() -> None:
    gateway = Gateway(make_mapper(), speaks_pcp=False, speaks_pmp=False)
    mapper = gateway.mapper
    mapper.add_port(PORT, START)
    pcp_only = struct.pack(">BBBBII12x", 2, 0x80, 0, 1, 0, EPOCH)
    for _ in range(2):
        mapper.receive_datagram(NO_PCP, GATEWAY, LOCAL, START)
        mapper.receive_datagram(pcp_only, GATEWAY, LOCAL, START)
    assert events(mapper) == [PortRefused(PORT, Problem.UNSUPPORTED)]
    assert len(sent(mapper)) == 4
    assert mapper.next_timeout() == START + LONG_WAIT


# Silence


def test_silence_is_told_and_waited_out() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    times, versions = [START], [[payload[0] for payload in payloads(mapper)]]
    for _ in range(14):
        now = mapper.next_timeout()
        assert now is not None
        mapper.handle_timeout(now)
        times.append(now)
        versions.append([payload[0] for payload in payloads(mapper)])
        assert mapper.is_settled is (now >= START + 1.75)
    waits = [round(later - sooner, 6) for sooner, later in pairwise(times)]
    assert waits[:9] == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64]  # RFC 6886 3.1
    for wait, nominal in zip(waits[9:], [128, 256, 512, 1024, 1024], strict=True):  # RFC 6887 8.1.1
        assert 0.9 * nominal <= wait <= 1.1 * nominal
    assert versions == [[2]] + [[2, 0]] * 8 + [[2]] * 6
    assert events(mapper) == [PortRefused(PORT, Problem.SILENT)]


def test_the_intervals_never_grow_beyond_all_bounds() -> None:
    assert interval(10_000, lambda count: b"\xff" * count) < 1024 * 1.1
    assert interval(10_000, bytes) == pytest.approx(1024 * 0.9)


def test_who_waits_behind_a_silent_one_is_settled_too() -> None:
    mapper = make_mapper()
    for port in (PORT, PORT + 1):
        mapper.add_port(port, START)
    states = []
    for now in (0.25, 0.75, 1.75):
        states.append(mapper.is_settled)
        mapper.handle_timeout(START + now)
    assert [*states, mapper.is_settled] == [False, False, False, True]


def test_a_nat_pmp_gateway_that_falls_silent_may_be_another_one_by_now() -> None:
    gateway = mapped(speaks_pcp=False)
    mapper, now = gateway.mapper, START + 3600
    for _ in range(QUICK_REQUESTS):
        mapper.handle_timeout(now)
        assert payloads(mapper) == [ADDRESS_REQUEST]
        now = mapper.next_timeout() or 0
    mapper.handle_timeout(now)
    assert [payload[0] for payload in payloads(mapper)] == [2]


def test_a_gateway_that_is_slow_to_map_is_asked_for_its_address_again() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.receive_datagram(NO_PCP, GATEWAY, LOCAL, START)
    mapper.receive_datagram(pmp_address(), GATEWAY, LOCAL, START)
    sent(mapper)
    for now in (0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 31.75):
        mapper.handle_timeout(START + now)
    (mapping, *_) = payloads(mapper)
    mapper.handle_timeout(START + 63.75)
    assert payloads(mapper) == [ADDRESS_REQUEST]
    mapper.receive_datagram(pmp_answer(mapping, PORT, epoch=EPOCH + 64), GATEWAY, LOCAL, START + 64)
    refused = [PortRefused(PORT, Problem.SILENT), PortRefused(PORT, Problem.NO_EXTERNAL_ADDRESS)]
    assert events(mapper) == refused  # where it maps to isn't known any more


def test_a_gateway_that_has_no_such_port_is_left_in_peace() -> None:
    mapper = make_mapper()
    mapper.record_send_error(SendError.REFUSED, START)
    mapper.add_port(PORT, START)
    sent(mapper)
    mapper.record_send_error(SendError.UNREACHABLE, START)
    before = mapper.is_settled
    mapper.record_send_error(SendError.REFUSED, START)
    assert (before, mapper.is_settled) == (False, True)
    assert events(mapper) == [PortRefused(PORT, Problem.NOT_OFFERED)]
    assert mapper.next_timeout() == START + 64
    mapper.handle_timeout(START + 64)
    assert [payload[0] for payload in payloads(mapper)] == [2]


# Restarts of the gateway


def test_a_gateway_that_restarted_is_asked_for_all_it_has_lost() -> None:
    gateway = mapped()
    gateway.mapper.add_port(PORT + 1, START + 100)
    gateway.serve(START + 100)
    gateway.seen.clear()
    gateway.mappings.clear()
    gateway.born_at = START + 3500
    gateway.mapper.handle_timeout(START + 3600)
    assert gateway.serve(START + 3600) == [GatewayRestarted()]
    assert set(gateway.mappings) == {PORT, PORT + 1}
    assert len(gateway.seen) == 2


def test_what_it_doesnt_give_back_soon_is_gone() -> None:
    gateway = mapped()
    mapper = gateway.mapper
    mapper.handle_timeout(START + 3600)
    answer = pcp_answer(payloads(mapper)[0], EXTERNAL, 600, 0, ResultCode.NO_RESOURCES)
    mapper.receive_datagram(answer, GATEWAY, LOCAL, START + 3600)
    assert events(mapper) == [GatewayRestarted(), PortRefused(PORT, Problem.NO_RESOURCES)]
    assert mapper.next_timeout() == START + 3600 + RECOVERY_PATIENCE
    mapper.handle_timeout(START + 3600 + RECOVERY_PATIENCE)
    assert events(mapper) == [PortUnmapped(PORT, EXTERNAL, LossReason.EXPIRED)]


def test_a_gateway_whose_time_jumps_with_every_answer_is_not_asked_as_fast_as_it_answers() -> None:
    gateway = mapped()
    mapper, now, told = gateway.mapper, START + 3600, 0
    mapper.handle_timeout(now)
    for number in range(1000):
        for request in payloads(mapper):
            mapper.receive_datagram(pcp_answer(request, EXTERNAL, epoch=9000 - number), GATEWAY, LOCAL, now)
        told += events(mapper).count(GatewayRestarted())
        now += 0.01
    assert 1 <= told <= 10.0 / RENEWAL_INTERVAL + 1


def test_a_nat_pmp_gateway_that_restarted() -> None:
    gateway = mapped(speaks_pcp=False)
    gateway.mapper.add_port(PORT + 1, START)
    gateway.serve(START)
    gateway.mappings.clear()
    gateway.born_at = START + 3500
    gateway.mapper.handle_timeout(START + 3600)
    assert gateway.serve(START + 3600) == [GatewayRestarted()]
    assert set(gateway.mappings) == {PORT, PORT + 1}


def test_on_suspicion_everything_is_asked_for_at_once() -> None:
    gateway = mapped()
    gateway.mappings.clear()
    gateway.mapper.renew(START + 10)
    assert gateway.serve(START + 10) == []
    assert set(gateway.mappings) == {PORT}
    gateway.seen.clear()
    gateway.mapper.renew(START + 13.9)
    assert gateway.serve(START + 13.9) == []
    assert gateway.seen == []
    gateway.mapper.renew(START + 14)
    gateway.serve(START + 14)
    assert len(gateway.seen) == 1


def test_on_suspicion_a_request_under_way_begins_from_the_start() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    for _ in range(8):
        mapper.handle_timeout(mapper.next_timeout() or 0)
    sent(mapper)
    mapper.renew(START + 100)
    assert [payload[0] for payload in payloads(mapper)] == [2]
    assert mapper.next_timeout() == START + 100.25


# Giving back


@pytest.mark.parametrize("speaks_pcp", [True, False])
def test_closed_it_gives_everything_back(speaks_pcp: bool) -> None:
    gateway = mapped(speaks_pcp=speaks_pcp)
    mapper = gateway.mapper
    mapper.add_port(PORT + 1, START)
    gateway.serve(START)
    gateway.seen.clear()
    mapper.close(START + 1)
    before = mapper.is_released
    assert gateway.serve(START + 1) == []
    assert gateway.mappings == {}
    assert (before, mapper.is_released) == (False, True)
    assert mapper.next_timeout() is None
    assert len(gateway.seen) == 2
    for payload in gateway.seen:  # for any port outside: RFC 6886 3.4, RFC 6887 15.1
        layout, lifetime, external = (PCP_REQUEST, 3, 8) if speaks_pcp else (PMP_REQUEST, 5, 4)
        fields = layout.unpack(payload)
        assert (fields[lifetime], fields[external]) == (0, 0)
    assert not mapper.add_port(PORT, START + 2)
    mapper.renew(START + 10)
    assert sent(mapper) == []


def test_a_release_is_repeated_and_given_up() -> None:
    mapper = mapped().mapper
    mapper.close(START)
    times = []
    while (now := mapper.next_timeout()) is not None:
        times.append(now)
        mapper.handle_timeout(now)
    assert len(sent(mapper)) == 3
    assert times == pytest.approx([START + number * RELEASE_INTERVAL for number in (1, 2, 3)])
    assert times[-1] < START + 0.2
    assert mapper.is_released


def test_nothing_is_given_back_to_who_never_answers() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.record_send_error(SendError.REFUSED, START)
    sent(mapper)
    mapper.close(START)
    assert mapper.is_released
    assert sent(mapper) == []
    assert mapper.next_timeout() is None


def test_what_was_asked_for_and_not_yet_answered_is_given_back_too() -> None:
    gateway = mapped()
    mapper = gateway.mapper
    mapper.add_port(PORT + 1, START)
    mapper.remove_port(PORT + 1, START)
    asked, released = payloads(mapper)
    assert (PCP_REQUEST.unpack(asked)[3], PCP_REQUEST.unpack(released)[3]) == (7200, 0)
    for payload in (asked, released):
        mapper.receive_datagram(gateway.answer(payload, START) or b"", GATEWAY, LOCAL, START)
    assert mapper.is_released
    assert gateway.mappings.keys() == {PORT}
    assert events(mapper) == []


def test_a_port_is_given_back_alone() -> None:
    gateway = mapped()
    mapper = gateway.mapper
    for port in (PORT + 1, PORT + 2):
        mapper.add_port(port, START)
    mapper.remove_port(PORT + 1, START)  # the other one's turn
    mapper.remove_port(PORT + 3, START)
    assert [event.port for event in gateway.serve(START) if isinstance(event, PortMapped)] == [PORT + 2]
    assert mapper.ports == gateway.mappings.keys() == {PORT, PORT + 2}


def test_a_port_that_was_never_asked_for_needs_no_giving_back() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.add_port(PORT + 1, START)
    mapper.remove_port(PORT + 1, START)
    assert mapper.is_released


def test_a_port_that_comes_back_while_it_is_given_back_has_its_nonce() -> None:
    mapper = mapped().mapper
    mapper.remove_port(PORT, START)
    mapper.add_port(PORT, START)
    released, asked = payloads(mapper)
    assert PCP_REQUEST.unpack(released)[5] == PCP_REQUEST.unpack(asked)[5]
    assert mapper.is_released
    assert mapper.ports == {PORT}


def test_who_ends_before_the_first_answer_leaves_nothing_behind() -> None:
    gateway = Gateway(make_mapper())
    gateway.mapper.add_port(PORT, START)
    gateway.mapper.close(START)
    assert gateway.serve(START) == []
    assert [PCP_REQUEST.unpack(payload)[3] for payload in gateway.seen] == [7200, 0]
    assert gateway.mappings == {}
    assert gateway.mapper.is_released


# Hostile bytes


@pytest.mark.parametrize("source", [Endpoint.of("192.168.1.2", 5351), Endpoint.of("192.168.1.1", 5350)])
def test_only_the_gateway_answers(source: Endpoint) -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    mapper.receive_datagram(pcp_answer(payloads(mapper)[0], EXTERNAL), source, LOCAL, START)
    assert events(mapper) == []
    assert mapper.drops == {DropReason.FOREIGN_SOURCE: 1}


def test_only_answers_to_what_was_asked_count() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    (request,) = payloads(mapper)
    good = pcp_answer(request, EXTERNAL)
    announce = bytes.fromhex("02800000 00000000 00001388") + bytes(12)
    nonce, protocol, port = bytearray(good), bytearray(good), bytearray(good)
    nonce[24] ^= 1
    protocol[36] = 6
    port[41] ^= 1
    map_request = natpmp.encode_map_request(PORT, PORT, 7200)
    pmp = [pmp_address(), pmp_answer(map_request, PORT), pmp_answer(map_request, PORT, 0), pmp_address(result=2)[:8]]
    wrong = [announce, bytes(nonce), bytes(protocol), bytes(port), *pmp]
    for data in wrong:
        mapper.receive_datagram(data, GATEWAY, LOCAL, START)
    assert events(mapper) == []
    assert mapper.drops == {DropReason.NOT_ASKED_FOR: len(wrong)}
    for data in (b"", good[:-1], b"\0"):
        mapper.receive_datagram(data, GATEWAY, LOCAL, START)
    assert mapper.drops[DropReason.MALFORMED] == 3
    mapper.receive_datagram(good, GATEWAY, LOCAL, START)
    assert events(mapper) == [MAPPED]


def test_with_nat_pmp_as_well() -> None:
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    (request,) = payloads(mapper)
    mapper.receive_datagram(NO_PCP, GATEWAY, LOCAL, START)
    mapping = natpmp.encode_map_request(PORT + 1, PORT, 7200)
    wrong = [pcp_answer(request, EXTERNAL), pmp_answer(mapping, PORT), struct.pack(">BBHI", 0, 129, 2, EPOCH)]
    for data in wrong:
        mapper.receive_datagram(data, GATEWAY, LOCAL, START)
    mapper.receive_datagram(pmp_address(), GATEWAY, LOCAL, START)
    mapper.receive_datagram(pmp_answer(mapping, PORT), GATEWAY, LOCAL, START)
    assert mapper.drops == {DropReason.NOT_ASKED_FOR: 4}
    assert events(mapper) == []


# IPv6


def test_in_ipv6_a_hole_in_the_firewall_is_asked_for() -> None:
    mapper = make_mapper(LOCAL_V6, GATEWAY_V6)
    mapper.add_port(PORT, START)
    (request,) = payloads(mapper)
    fields = PCP_REQUEST.unpack(request)
    assert (fields[4], fields[8], fields[9]) == (LOCAL_V6.address.packed, PORT, bytes(16))
    own = Endpoint(LOCAL_V6.address, PORT)
    mapper.receive_datagram(pcp_answer(request, own), GATEWAY_V6, LOCAL_V6, START)
    assert events(mapper) == [PortMapped(PORT, own, 7200.0, Protocol.PCP)]


def test_in_ipv6_nobody_is_asked_by_nat_pmp() -> None:
    mapper = make_mapper(LOCAL_V6, GATEWAY_V6)
    mapper.add_port(PORT, START)
    for _ in range(5):
        mapper.handle_timeout(mapper.next_timeout() or 0)
    assert {payload[0] for payload in payloads(mapper)} == {2}
    mapper.receive_datagram(NO_PCP, GATEWAY_V6, LOCAL_V6, START)
    assert events(mapper)[-1:] == [PortRefused(PORT, Problem.UNSUPPORTED)]


# Whatever happens


@given(st.integers(0, 2**32))
def test_after_a_timeout_the_next_one_is_later(seed: int) -> None:
    draw = Random(seed)
    gateway = Gateway(make_mapper(seed=seed))
    mapper, now = gateway.mapper, START
    for _ in range(60):
        now += draw.choice([0, 0, 0.1, 1, 60, 4000])
        port = PORT + draw.randrange(3)
        gateway.speaks_pcp, gateway.speaks_pmp = draw.random() < 0.5, draw.random() < 0.5
        gateway.lifetime = draw.choice([0, 5, 10, 11, 7200, 2**32 - 1])
        gateway.born_at = draw.choice([gateway.born_at, now])
        match draw.randrange(7):
            case 0:
                mapper.add_port(port, now)
            case 1:
                mapper.remove_port(port, now)
            case 2:
                mapper.renew(now)
            case 3:
                gateway.serve(now)
            case 4:
                mapper.receive_datagram(draw.randbytes(draw.choice([8, 12, 16, 24, 60])), GATEWAY, LOCAL, now)
            case 5:
                mapper.record_send_error(draw.choice(list(SendError)), now)
            case _:
                for payload in payloads(mapper):
                    mapper.receive_datagram(gateway.answer(payload, now) or NO_PCP, GATEWAY, LOCAL, now)
        mapper.handle_timeout(now)
        at = mapper.next_timeout()
        assert at is None or at > now
    mapper.close(now)
    while (at := mapper.next_timeout()) is not None:
        mapper.handle_timeout(at)
    assert mapper.is_released


def test_truncated_and_random_answers_change_nothing() -> None:
    draw = Random(SEED)
    mapper = make_mapper()
    mapper.add_port(PORT, START)
    good = pcp_answer(payloads(mapper)[0], EXTERNAL)
    for length in range(len(good)):
        mapper.receive_datagram(good[:length], GATEWAY, LOCAL, START)
    for _ in range(2000):
        data = bytearray(draw.randbytes(draw.choice([12, 16, 24, 60])))
        data[:4] = bytes([draw.choice([0, 1, 2, 3]), draw.choice([0x80, 0x81]), 0, draw.randrange(2, 14)])
        mapper.receive_datagram(bytes(data), GATEWAY, LOCAL, START)
    assert events(mapper) == []
    assert sent(mapper) == []
