"""What the findings of a network check mean for the person, and what helps. Sentences only."""

from __future__ import annotations

from collections.abc import Iterator

from p2ptun.daemon.netcheck import Findings, ServerFindings
from p2ptun.daemon.relay_problem import explain
from p2ptun.daemon.status import Health
from p2ptun.nat.behavior import Filtering, NatBehavior, can_meet
from p2ptun.turn.event import Problem
from p2ptun.types import SendError, Transport


def meaning(behavior: NatBehavior) -> list[str]:
    """Say to whom direct paths work."""
    if not behavior.public:
        return []
    if behavior.is_open:
        return ["Everybody reaches this machine directly."]
    if behavior.local.version == 6 and not behavior.has_nat:
        return ["Direct paths work with every other machine that has IPv6."]
    if behavior.mapping is None:
        return ["Whether direct paths work can't be told."]
    return _meaning_of_dependent(behavior) if behavior.is_hard else _meaning_of_independent(behavior)


def _meaning_of_independent(behavior: NatBehavior) -> list[str]:
    if behavior.filtering is Filtering.ADDRESS_DEPENDENT:
        return ["Direct paths work with every other network."]
    return [
        "Direct paths work with most networks.",
        "Where the other side's NAT has another port for every destination, a search of seconds finds one; "
        "a relay carries the traffic meanwhile.",
    ]


def _meaning_of_dependent(behavior: NatBehavior) -> list[str]:
    said = [
        "Direct paths work where the other side has no NAT, or one with one port for all destinations; "
        "where that one is strict, after a search of seconds.",
        "Two such NATs need a relay." if can_meet(behavior, behavior) is False else "Two such NATs may need a relay.",
    ]
    if behavior.is_predictable:
        said.append(f"The next port can be guessed here (steps of {behavior.port_delta}).")
    return said


def warnings(findings: Findings) -> list[Health]:
    """List what deserves attention, each with a remedy."""
    return list(dict.fromkeys(_all_warnings(findings)))


def _all_warnings(findings: Findings) -> Iterator[Health]:
    if not findings.addresses and not any(server.is_reached for server in findings.servers):
        yield Health("no-network", "This machine has no network address.", "Connect it to a network: ip -br address")
        return
    for problem in findings.problems:
        yield Health("no-socket", str(problem), problem.remedy)
    for server in findings.servers:
        yield from _server_warnings(server)
    yield from _udp_warnings(findings)
    yield from _behavior_warnings(findings)


def _server_warnings(server: ServerFindings) -> Iterator[Health]:
    if server.problem is not None:
        yield Health("server-unknown", str(server.problem), server.problem.remedy)
        return
    for way in server.ways:
        if way.problem is SendError.UNTRUSTED and server.uri.is_secure:
            yield Health(
                "certificate-refused",
                way.detail or f"The certificate of {server.uri.host} was refused.",
                "Write the name that stands in it and name who signed it with --ca-file; or does a captive portal "
                "answer in its place? Then log in with a browser.",
            )
    is_told = server.relay is None or server.relay.problem in ("", Problem.UNTRUSTED.value)
    if server.relay is not None and not is_told and server.is_reached:
        sentence, remedy = explain(server.relay.server, server.relay.problem, server.relay.code, server.issued)
        yield Health("relay-refused", sentence, remedy)


def _udp_warnings(findings: Findings) -> Iterator[Health]:
    over_udp = {server.reached_over(Transport.UDP) for server in findings.servers}
    if not any(server.is_reached for server in findings.servers):
        if any(not _is_untrusted(server) for server in findings.servers if server.ways):
            remedy = "Check this machine's network, and the servers' addresses and ports."
            yield Health("no-answer", "No server answered.", remedy)
    elif False in over_udp and True not in over_udp:
        remedy = "Use a relay over TCP or TLS: --turn turns:HOST:443 passes most firewalls."
        yield Health("udp-blocked", "UDP seems to be blocked: servers answered over TCP or TLS only.", remedy)
    else:
        for server in findings.servers:
            if server.ways and not server.is_reached and not _is_untrusted(server):
                message = f"{server.uri} didn't answer."
                yield Health("server-silent", message, "Check its address and port, and that it runs.")


def _is_untrusted(server: ServerFindings) -> bool:
    return any(way.problem is SendError.UNTRUSTED for way in server.ways)


def _behavior_warnings(findings: Findings) -> Iterator[Health]:
    has_second = any(server.has_second_address for server in findings.servers)
    known = [behavior for _, behavior in findings.behaviors if behavior.public]
    if any(behavior.filtering is None for behavior in known):
        if has_second:
            remedy = "Run it again; on a network that loses much, silence tells nothing."
            yield Health("filtering-unknown", "What the NAT or firewall lets in can't be told for sure.", remedy)
        else:
            remedy = "Name a server with two: p2ptun serve with --stun-listen on two addresses is one."
            message = "Filtering can't be tested: that takes a STUN server with two addresses."
            yield Health("filtering-unknown", message, remedy)
    if any(behavior.mapping is None for behavior in known):
        remedy = "Name a second STUN server, or one with two addresses."
        yield Health("mapping-unknown", "The NAT's mapping can't be told from what the servers say.", remedy)
    has_relay = any(server.uri.scheme.is_turn and server.is_reached for server in findings.servers)
    if any(behavior.is_hard for behavior in known) and not has_relay:
        remedy = "Name one with --turn; p2ptun serve --relay is one."
        yield Health("no-relay", "Behind this NAT many tunnels need a relay, and there is none.", remedy)
