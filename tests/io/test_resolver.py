"""Servers by name: addresses from the machine's own resolver, SRV records from a DNS server made here."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio

from p2ptun.io import resolver
from p2ptun.io.resolver import MAX_ENDPOINTS, MAX_TARGETS, ResolutionError, resolve
from p2ptun.io.udp import UdpSocket
from p2ptun.stun.uri import parse_uri
from p2ptun.types import Endpoint, Transport
from tests.io.test_udp import receive

pytestmark = pytest.mark.trio

Answers = dict[str, list[str] | socket.gaierror]


@dataclass
class Hosts(trio.abc.HostnameResolver):
    """Stands in for getaddrinfo where trio allows it; a name that isn't listed is looked up by nobody for ever."""

    answers: Answers
    asked: list[str] = field(default_factory=list)

    async def getaddrinfo(  # type: ignore[override]  # trio's own signature says more than is asked here
        self, host: bytes | str, port: int | None, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        name = host.decode() if isinstance(host, bytes) else host
        self.asked.append(name)
        answer = self.answers.get(name)
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, socket.gaierror):
            raise answer
        assert answer is not None
        return [
            (socket.AF_INET6, type, 17, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, type, 17, "", (each, port))
            for each in answer
        ]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


def use_hosts(**answers: list[str] | socket.gaierror) -> Hosts:
    hosts = Hosts({name.replace("_", "."): answer for name, answer in answers.items()})
    trio.socket.set_custom_hostname_resolver(hosts)
    return hosts


Records = list[str] | dict[str, list[str]]
"""SRV records that answer every question, or by the beginning of the question."""


async def serve_dns(sock: UdpSocket, records: Records, questions: list[str], rcode: dns.rcode.Rcode) -> NoReturn:
    while True:
        for data, source in zip(*await receive(sock, 1), strict=True):
            query = dns.message.from_wire(data)
            name = query.question[0].name
            questions.append(name.to_text())
            response = dns.message.make_response(query)
            response.set_rcode(rcode)
            answer = records if isinstance(records, list) else records.get(name.labels[1].decode(), [])
            if answer:
                response.answer.append(dns.rrset.from_text_list(name, 60, "IN", "SRV", answer))
            sock.send(response.to_wire(), source)


async def ask(uri: str, records: Records, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> tuple[list[str], list[str]]:
    """Resolve `uri` with such SRV records in the DNS; return the endpoints as text, and the questions."""
    found, questions = await look_up(uri, records, rcode)
    return [str(each) for each in found], questions


async def look_up(
    uri: str, records: Records, rcode: dns.rcode.Rcode = dns.rcode.NOERROR
) -> tuple[list[Endpoint], list[str]]:
    found: list[Endpoint] = []
    questions: list[str] = []
    problem: ResolutionError | None = None
    with await UdpSocket.bind(Endpoint.of("127.0.0.1", 0)) as sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_dns, sock, records, questions, rcode)
            try:
                found = await resolve(parse_uri(uri), [sock.local])
            except ResolutionError as error:  # raised again outside, where no nursery wraps it
                problem = error
            nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem
    return found, questions


@pytest.mark.parametrize(
    ("uri", "endpoint"),
    [
        ("stun:192.0.2.1", "192.0.2.1:3478"),
        ("stun:192.0.2.1:99", "192.0.2.1:99"),
        ("turns:192.0.2.1", "192.0.2.1:5349"),
        ("stun:[2001:db8::1]:99", "[2001:db8::1]:99"),
        ("stun:[::ffff:192.0.2.1]:99", "192.0.2.1:99"),
    ],
)
async def test_an_address_needs_no_resolver(uri: str, endpoint: str) -> None:
    hosts = use_hosts()
    assert [str(each) for each in await resolve(parse_uri(uri))] == [endpoint]
    assert hosts.asked == []


async def test_the_machines_own_resolver_knows_localhost() -> None:
    found = await resolve(parse_uri("stun:localhost:3478"))
    assert {each.port for each in found} == {3478}
    assert all(each.address.is_loopback for each in found)


async def test_a_name_with_both_families() -> None:
    use_hosts(stun_example=["2001:db8::1", "192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2"])
    found = await resolve(parse_uri("stun:stun.example:99"))
    assert [str(each) for each in found] == ["[2001:db8::1]:99", "192.0.2.1:99", "192.0.2.2:99"]


async def test_a_port_in_the_uri_asks_for_no_srv() -> None:
    use_hosts(stun_example=["192.0.2.1"])
    assert await ask("stun:stun.example:99", ["0 0 1 other.example."]) == (["192.0.2.1:99"], [])


@pytest.mark.parametrize(
    ("uri", "question"),
    [
        ("stun:a.example", "_stun._udp.a.example."),
        ("stun:a.example.", "_stun._udp.a.example."),
        ("stuns:a.example", "_stuns._tcp.a.example."),
        ("turn:a.example?transport=udp", "_turn._udp.a.example."),
        ("turn:a.example?transport=tcp", "_turn._tcp.a.example."),
        ("turns:a.example?transport=tcp", "_turns._tcp.a.example."),
    ],
)
async def test_without_a_port_the_service_is_looked_up(uri: str, question: str) -> None:
    use_hosts(b_example=["192.0.2.2"])
    assert await ask(uri, ["0 0 41 b.example."]) == (["192.0.2.2:41"], [question])


async def test_priorities_order_the_targets_and_a_dead_one_costs_itself_only() -> None:
    use_hosts(
        first_example=["192.0.2.1"], second_example=["192.0.2.2"], dead_example=socket.gaierror(socket.EAI_NONAME, "")
    )
    records = ["20 0 2 second.example.", "10 0 1 first.example.", "5 0 3 dead.example."]
    assert (await ask("stun:a.example", records))[0] == ["192.0.2.1:1", "192.0.2.2:2"]


async def test_when_every_target_is_dead() -> None:
    use_hosts(dead_example=socket.gaierror(socket.EAI_NONAME, ""))
    with pytest.raises(ResolutionError, match=r"There is no host named dead.example"):
        await ask("stun:a.example", ["0 0 3 dead.example."])


async def test_a_service_that_is_not_offered() -> None:
    use_hosts(a_example=["192.0.2.1"])
    with pytest.raises(ResolutionError, match=r"a.example says that it offers no stun service") as caught:
        await ask("stun:a.example", ["0 0 0 ."])
    assert caught.value.remedy


@pytest.mark.parametrize("rcode", [dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_without_srv_the_name_itself_is_the_server(rcode: dns.rcode.Rcode) -> None:
    use_hosts(a_example=["192.0.2.1"])
    assert (await ask("stun:a.example", [], rcode))[0] == ["192.0.2.1:3478"]
    assert (await ask("turns:a.example", [], rcode))[0] == ["192.0.2.1:5349"]


async def test_a_name_server_that_is_silent_costs_little(autojump_clock: trio.testing.MockClock) -> None:
    use_hosts(a_example=["192.0.2.1"])
    silent = await UdpSocket.bind(Endpoint.of("127.0.0.1", 0))
    began = trio.current_time()
    found = await resolve(parse_uri("stun:a.example"), [silent.local])
    assert [str(each) for each in found] == ["192.0.2.1:3478"]
    assert trio.current_time() - began <= resolver.SERVICE_TIMEOUT + 0.5
    silent.close()


async def test_the_whole_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    use_hosts()
    began = trio.current_time()
    with pytest.raises(ResolutionError, match=r"No name server answered for a.example within 8 s") as caught:
        await resolve(parse_uri("stun:a.example:1"))
    assert caught.value.remedy
    assert trio.current_time() - began == pytest.approx(resolver.RESOLVE_TIMEOUT)


async def test_numbers_are_bounded() -> None:
    hosts = use_hosts(
        **{f"t{number}": [f"192.0.2.{number * 20 + each}" for each in range(1, 20)] for number in range(10)}
    )
    found, _ = await ask("stun:a.example", [f"{number} 0 {number + 1} t{number}." for number in range(10)])
    assert len(found) == MAX_ENDPOINTS
    assert len(hosts.asked) == MAX_TARGETS


# Relays


def told(endpoints: list[Endpoint]) -> list[str]:
    return [f"{each.transport.value} {each}" for each in endpoints]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("turn:192.0.2.1", ["udp 192.0.2.1:3478", "tcp 192.0.2.1:3478"]),
        ("turn:192.0.2.1:99", ["udp 192.0.2.1:99", "tcp 192.0.2.1:99"]),
        ("turn:192.0.2.1?transport=udp", ["udp 192.0.2.1:3478"]),
        ("turn:192.0.2.1?transport=tcp", ["tcp 192.0.2.1:3478"]),
        ("turns:192.0.2.1", ["tls 192.0.2.1:5349"]),
        ("turns:[2001:db8::1]:443?transport=tcp", ["tls [2001:db8::1]:443"]),
        ("stun:192.0.2.1", ["udp 192.0.2.1:3478"]),
    ],
)
async def test_a_relay_by_address(uri: str, expected: list[str]) -> None:
    assert told(await resolve(parse_uri(uri))) == expected


async def test_a_relay_by_name_is_tried_over_udp_first() -> None:
    use_hosts(a_example=["2001:db8::1", "192.0.2.1"])
    places = ["[2001:db8::1]:99", "192.0.2.1:99"]
    found, questions = await look_up("turn:a.example:99", ["0 0 1 other.example."])
    assert told(found) == [f"{transport} {place}" for transport in ("udp", "tcp") for place in places]
    assert questions == []
    found, questions = await look_up("turn:a.example", [])
    assert [each.port for each in found] == [3478] * 4
    assert sorted(questions) == ["_turn._tcp.a.example.", "_turn._udp.a.example."]
    assert told(await resolve(parse_uri("turns:a.example:443"))) == [f"tls {place[:-2]}443" for place in places]


async def test_each_transport_has_the_hosts_that_dns_names_for_it() -> None:
    use_hosts(one_example=["192.0.2.1"], two_example=["192.0.2.2"])
    records = {"_tcp": ["0 0 443 one.example."], "_udp": ["20 0 2 two.example.", "10 0 1 one.example."]}
    found, _ = await look_up("turn:a.example", records)
    assert told(found) == ["udp 192.0.2.1:1", "udp 192.0.2.2:2", "tcp 192.0.2.1:443"]
    found, questions = await look_up("turns:a.example", records)
    assert told(found) == ["tls 192.0.2.1:443"]
    assert questions == ["_turns._tcp.a.example."]


async def test_a_transport_that_dns_does_not_name_is_not_offered() -> None:
    use_hosts(a_example=["192.0.2.9"], one_example=["192.0.2.1"])
    assert told((await look_up("turn:a.example", {"_tcp": ["0 0 7 one.example."]}))[0]) == ["tcp 192.0.2.1:7"]
    records = {"_tcp": ["0 0 7 one.example."], "_udp": ["0 0 0 ."]}
    assert told((await look_up("turn:a.example", records))[0]) == ["tcp 192.0.2.1:7"]
    with pytest.raises(ResolutionError, match=r"a.example says that it offers no turn service"):
        await look_up("turn:a.example", {"_udp": ["0 0 0 ."], "_tcp": ["0 0 0 ."]})


async def test_numbers_are_bounded_for_each_transport() -> None:
    use_hosts(a_example=[f"192.0.2.{number}" for number in range(1, 20)])
    found, _ = await look_up("turn:a.example", [])
    transports = [each.transport for each in found]
    assert transports == [Transport.UDP] * MAX_ENDPOINTS + [Transport.TCP] * MAX_ENDPOINTS


def unanswerable(number: int) -> Callable[[], Hosts]:
    return lambda: use_hosts(a_example=socket.gaierror(number, "whatever"))


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (unanswerable(socket.EAI_NONAME), "There is no host named a.example"),
        (unanswerable(socket.EAI_FAIL), "There is no host named a.example"),
        (unanswerable(socket.EAI_AGAIN), "No name server answered for a.example"),
        (lambda: use_hosts(a_example=[]), "a.example has no address that a server can have"),
        (lambda: use_hosts(a_example=["0.0.0.0", "224.0.0.1", "::"]), "has no address that a server"),  # noqa: S104
    ],
)
async def test_failures_are_one_sentence_with_a_remedy(prepare: Callable[[], Hosts], problem: str) -> None:
    prepare()
    with pytest.raises(ResolutionError, match=problem) as caught:
        await resolve(parse_uri("stun:a.example:1"))
    assert str(caught.value).endswith(".")
    assert caught.value.remedy


async def test_a_name_that_the_resolver_chokes_on() -> None:
    # 254 characters pass as a DNS name; the codec of Python's getaddrinfo still refuses labels that are too long
    too_long = ".".join(["x" * 63] * 3 + ["y" * 62])
    with pytest.raises(ResolutionError):
        await resolve(parse_uri(f"stun:{too_long}:1"))


async def test_without_any_name_server_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.asyncresolver
    from dns.resolver import NoResolverConfiguration

    def unconfigured(configure: bool) -> None:
        raise NoResolverConfiguration

    monkeypatch.setattr(dns.asyncresolver, "Resolver", unconfigured)
    use_hosts(a_example=["192.0.2.1"])
    assert [str(each) for each in await resolve(parse_uri("stun:a.example"))] == ["192.0.2.1:3478"]
