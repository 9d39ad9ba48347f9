"""What findings mean, and what helps: every warning has its cause, and its remedy."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import product

import pytest

from p2ptun.daemon.exploration import Vantage
from p2ptun.daemon.netcheck import Findings, ServerFindings
from p2ptun.daemon.netcheck_advice import meaning, warnings
from p2ptun.daemon.reachability import Way
from p2ptun.daemon.relay_trial import RelayResult
from p2ptun.errors import DeviceError
from p2ptun.io.address import LocalAddress
from p2ptun.io.resolver import ResolutionError
from p2ptun.nat.behavior import Allocation, Filtering, Mapping, NatBehavior, PortAllocation, can_meet
from p2ptun.stun.uri import parse_uri
from p2ptun.turn.event import Problem
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport

LOCAL, PUBLIC = ip_address("192.168.1.10"), ip_address("198.51.100.1")
ADDRESSES = (LocalAddress(LOCAL, 24, "eth0", 2, "ether", is_running=True),)
EIM, APDM = Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT
EIF, ADF, APDF = Filtering
HOST = "203.0.113.2"


def behavior(mapping: Mapping | None = EIM, filtering: Filtering | None = APDF) -> NatBehavior:
    return NatBehavior(LOCAL, (PUBLIC,), has_nat=True, mapping=mapping, filtering=filtering)


def way(transport: Transport, time: float | None = 0.01, problem: SendError | None = None, detail: str = "") -> Way:
    return Way(Server(Endpoint.of(HOST, 3478, transport), HOST), time, None, problem, detail)


def seen(address: str) -> Way:
    return Way(Server(Endpoint.of(address, 3478), address), 0.01, Endpoint(PUBLIC, 40000))


def server(uri: str, *ways: Way, **fields: object) -> ServerFindings:
    findings = ServerFindings(parse_uri(uri), ways=list(ways))
    for name, value in fields.items():
        setattr(findings, name, value)
    return findings


def findings(*servers: ServerFindings, known: NatBehavior | None = None) -> Findings:
    known = known or behavior()
    return Findings(ADDRESSES, [(Vantage(LOCAL, "eth0"), known)], list(servers))


def ids(found: Findings) -> list[str]:
    listed = warnings(found)
    assert all(each.message.endswith(".") and each.remedy for each in listed)
    return [each.id for each in listed]


GOOD = server(f"stun:{HOST}", way(Transport.UDP), has_second_address=True)
RELAY = server(f"turn:{HOST}", way(Transport.UDP), has_second_address=True)


@pytest.mark.parametrize(("mapping", "filtering"), list(product(Mapping, Filtering)))
def test_what_is_promised_of_direct_paths_is_true(mapping: Mapping, filtering: Filtering) -> None:
    """Against every other network."""
    here = behavior(mapping, filtering)
    said = " ".join(meaning(here))
    others = [behavior(*each) for each in product(Mapping, Filtering)]
    always = all(can_meet(here, other) for other in others)
    assert always == ("every other network" in said or "Everybody" in said)
    assert ("Two such NATs need a relay." in said) == (can_meet(here, here) is False)


def test_what_is_said_besides() -> None:
    assert meaning(NatBehavior(LOCAL)) == []
    assert meaning(behavior(None)) == ["Whether direct paths work can't be told."]
    assert "guessed" not in " ".join(meaning(behavior(APDM)))
    guessable = NatBehavior(LOCAL, (PUBLIC,), True, APDM, APDF, PortAllocation(Allocation.SEQUENTIAL, 2))
    assert "The next port can be guessed here (steps of 2)." in meaning(guessable)
    six = ip_network("2001:db8::/64")[1]
    ipv6 = NatBehavior(six, (six,), has_nat=False, mapping=EIM, filtering=APDF)
    assert meaning(ipv6) == ["Direct paths work with every other machine that has IPv6."]


def test_all_is_well() -> None:
    assert ids(findings(GOOD, RELAY)) == []


def test_no_network() -> None:
    unreachable = server(f"stun:{HOST}")
    unreachable.problem = ResolutionError("No name server answered for x.", "Check the network and DNS.")
    assert ids(Findings(servers=[unreachable])) == ["no-network"]


def test_a_name_that_nobody_knows() -> None:
    unknown = server("stun:nowhere.example", problem=ResolutionError("There is no host named x.", "Check."))
    assert ids(findings(GOOD, unknown)) == ["server-unknown"]
    assert ids(findings(unknown, known=NatBehavior(LOCAL))) == ["server-unknown"]


def test_nobody_answers() -> None:
    silent = server(f"stun:{HOST}", way(Transport.UDP, None), way(Transport.TCP, None, SendError.TIMED_OUT))
    assert ids(findings(silent, known=NatBehavior(LOCAL))) == ["no-answer"]


def test_one_doesnt_answer() -> None:
    silent = server(f"stun:{HOST}", way(Transport.UDP, None))
    assert ids(findings(GOOD, silent)) == ["server-silent"]


def test_udp_is_blocked() -> None:
    reached = server(f"stun:{HOST}", way(Transport.UDP, None), way(Transport.TCP))
    assert ids(findings(reached, known=NatBehavior(LOCAL))) == ["udp-blocked"]
    only_tcp = server(f"turn:{HOST}?transport=tcp", way(Transport.TCP))
    assert ids(findings(only_tcp, known=NatBehavior(LOCAL))) == []  # UDP wasn't tried


def test_a_certificate_is_refused() -> None:
    """Said once, whatever else that entails."""
    detail = "The certificate of x was refused: self-signed certificate."
    refused = server(f"turns:{HOST}", way(Transport.TLS, None, SendError.UNTRUSTED, detail))
    refused.relay = RelayResult(refused.ways[0].server, problem=Problem.UNTRUSTED.value)
    assert ids(findings(GOOD, refused)) == ["certificate-refused"]
    assert warnings(findings(GOOD, refused))[0].message == detail
    assert ids(findings(refused, known=NatBehavior(LOCAL))) == ["certificate-refused"]


def test_a_certificate_that_nobody_asked_for_may_be_any() -> None:
    """TLS on the usual port is tried for `stun:HOST` as well."""
    curious = server(f"stun:{HOST}", way(Transport.UDP), way(Transport.TLS, None, SendError.UNTRUSTED))
    curious.has_second_address = True
    assert ids(findings(curious)) == []


def test_a_relay_refuses() -> None:
    refusing = server(f"turn:{HOST}", way(Transport.UDP))
    refusing.relay = RelayResult(refusing.ways[0].server, problem=Problem.QUOTA_REACHED.value, code=486)
    assert ids(findings(GOOD, refusing)) == ["relay-refused"]
    refusing.ways = [way(Transport.UDP, None)]
    assert ids(findings(GOOD, refusing)) == ["server-silent"]


def test_an_address_that_went_meanwhile() -> None:
    found = findings(GOOD)
    found.problems.append(DeviceError("192.168.1.10 is no address of this machine.", "Look: ip -br address"))
    assert ids(found) == ["no-socket"]


def test_who_measures_lifetimes() -> None:
    """Who answered over UDP; one with two addresses first."""
    vantage = Vantage(LOCAL, "eth0")
    plain = server(f"stun:{HOST}", seen("203.0.113.3"), has_second_address=False)
    double = server(f"stun:{HOST}", seen("203.0.113.4"), has_second_address=True)
    silent = server(f"stun:{HOST}", way(Transport.UDP, None))
    over_tcp = server(f"stun:{HOST}", way(Transport.TCP))
    for servers, best in (((silent, plain, double), double), ((silent, plain), plain), ((silent, over_tcp), None)):
        found = findings(*servers)
        found.vantages = {each.server.endpoint: vantage for one in servers for each in one.ways}
        assert found.best_server == (None if best is None else (vantage, best.ways[0].server.endpoint))


def test_what_cant_be_told() -> None:
    plain = server(f"stun:{HOST}", way(Transport.UDP), has_second_address=False)
    assert ids(findings(plain, known=behavior(filtering=None))) == ["filtering-unknown"]
    assert ids(findings(plain, known=behavior(None, None))) == ["filtering-unknown", "mapping-unknown"]
    remedies = {warnings(findings(each, known=behavior(filtering=None)))[0].remedy for each in (plain, GOOD)}
    assert len(remedies) == 2  # another server, or another try


def test_a_hard_nat_wants_a_relay() -> None:
    assert ids(findings(GOOD, known=behavior(APDM))) == ["no-relay"]
    assert ids(findings(GOOD, RELAY, known=behavior(APDM))) == []
