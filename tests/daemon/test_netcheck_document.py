"""What was found becomes a document in which nothing is lost and nothing unknown is claimed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from p2ptun.daemon.exploration import Vantage
from p2ptun.daemon.netcheck import Findings, ServerFindings
from p2ptun.daemon.netcheck_document import describe, describe_lifetime
from p2ptun.daemon.reachability import Way
from p2ptun.daemon.relay_trial import RelayResult
from p2ptun.io.address import LocalAddress
from p2ptun.io.resolver import ResolutionError
from p2ptun.nat.behavior import Allocation, Filtering, Lifetime, Mapping, NatBehavior, PortAllocation
from p2ptun.stun.uri import parse_uri
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, SendError, Transport

LOCAL, PUBLIC = ip_address("192.168.1.10"), ip_address("198.51.100.1")
SERVER = Server(Endpoint.of("203.0.113.2", 3478), "stun.example")
MAPPED = Endpoint(PUBLIC, 40000)


def findings(*servers: ServerFindings, behavior: NatBehavior | None = None) -> Findings:
    addresses = (LocalAddress(LOCAL, 24, "eth0", 2, "ether", is_running=True),)
    behaviors = [] if behavior is None else [(Vantage(LOCAL, "eth0"), behavior)]
    return Findings(addresses, behaviors, list(servers), took=1.25)


def test_a_behaviour_is_told_in_the_words_of_the_rfc() -> None:
    known = NatBehavior(
        LOCAL,
        (PUBLIC,),
        has_nat=True,
        mapping=Mapping.ADDRESS_DEPENDENT,
        filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
        allocation=PortAllocation(Allocation.SEQUENTIAL, 2, is_consistent=False),
        lifetime=Lifetime(25.0, 40.0),
    )
    document = describe(findings(behavior=known))
    (nat,) = document.nat
    assert (nat.family, nat.local, nat.interface, nat.public) == ("ipv4", str(LOCAL), "eth0", [str(PUBLIC)])
    assert (nat.mapping, nat.filtering) == ("address-dependent", "address-and-port-dependent")
    assert nat.ports is not None
    assert (nat.ports.allocation, nat.ports.delta, nat.ports.is_consistent) == ("sequential", 2, False)
    assert nat.lifetime == describe_lifetime(Lifetime(25.0, 40.0))
    assert (document.took_ms, [each.address for each in document.addresses]) == (1250.0, [str(LOCAL)])


def test_what_is_unknown_stays_so() -> None:
    (nat,) = describe(findings(behavior=NatBehavior(LOCAL))).nat
    assert (nat.public, nat.has_nat, nat.mapping, nat.filtering, nat.ports, nat.lifetime) == ([], *[None] * 5)
    assert describe_lifetime(None) is None


def test_every_way_to_a_server_has_a_time_or_a_problem() -> None:
    silent = Way(replace(SERVER, endpoint=replace(SERVER.endpoint, transport=Transport.TCP)))
    refused = Way(replace(SERVER, endpoint=replace(SERVER.endpoint, transport=Transport.TLS)), None, None)
    ways = [
        Way(SERVER, 0.02, MAPPED),
        silent,
        replace(refused, problem=SendError.REFUSED),
        replace(refused, problem=SendError.UNTRUSTED, detail="The certificate was refused."),
    ]
    (server,) = describe(findings(ServerFindings(parse_uri("stun:stun.example"), ways=ways))).servers
    told = [(way.transport, way.time_ms, way.mapped, way.problem) for way in server.ways]
    assert told == [
        ("udp", 20.0, str(MAPPED), None),
        ("tcp", None, None, "no answer"),
        ("tls", None, None, SendError.REFUSED.value),
        ("tls", None, None, "The certificate was refused."),
    ]


def test_a_relay_works_when_it_gave_an_address() -> None:
    works = RelayResult(SERVER, (Endpoint.of("203.0.113.2", 50000),), 0.1)
    fails = RelayResult(SERVER, problem="has no capacity left", code=508)
    uri = parse_uri("turn:stun.example")
    servers = describe(findings(*(ServerFindings(uri, relay=each) for each in (works, fails, None)))).servers
    told = [each.relay and (each.relay.works, each.relay.relayed, each.relay.problem) for each in servers]
    assert told == [(True, ["203.0.113.2:50000"], None), (False, [], "has no capacity left"), None]


def test_a_name_without_an_address_is_told() -> None:
    unknown = ServerFindings(parse_uri("stun:nowhere.example"), ResolutionError("There is no such host.", "Look."))
    document = describe(findings(unknown))
    assert document.servers[0].problem == "There is no such host."
    assert "server-unknown" in {each.id for each in document.warnings}
