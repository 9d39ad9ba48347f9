"""The machine that has a gateway map ports: PCP first, NAT-PMP where the gateway knows no better.

One request is under way at a time, for NAT-PMP's errors don't say what they are about (RFC 6886 3.5).

Which protocol. The first request is PCP's. A NAT-PMP gateway answers that it knows version 0 only (RFC 6886 3.5, RFC
6887 9). Some that should don't answer at all, so while nothing comes, each repetition takes along NAT-PMP's question
for the address, which changes nothing at the gateway; the first answer decides.

When. RFC 6887 8.1.1 begins with 3 s between repetitions, RFC 6886 3.1 with 250 ms, doubling, 9 times. We take the
second for both, since a person waits and the gateway is one hop away; after the ninth only PCP's request goes on, with
intervals up to the 1024 s of RFC 6887 and a tenth of jitter as it has it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from p2ptun.deadlines import earliest
from p2ptun.errors import MalformedPacket
from p2ptun.nat import natpmp, pcp
from p2ptun.nat.portmap_event import DropReason, GatewayRestarted, PortMapEvent, Problem, Protocol
from p2ptun.nat.portmap_lease import SHORTEST_LIFETIME, Lease, is_possible, nowhere
from p2ptun.nat.portmap_request import QUICK_REQUESTS, SILENT_AFTER, Gateway, Question, Release, Request, interval
from p2ptun.types import Endpoint, IPAddress, RandomBytes, SendError, Transmit

RENEWAL_INTERVAL: Final = 4.0  # seconds between renewals at the least, RFC 6887 11.2.1
SHORT_WAIT, LONG_WAIT = 30.0, 1800.0  # seconds, RFC 6887 7.4: how long short and long errors are expected to last
MAX_PORTS: Final = 64  # our choice
FIRST_DYNAMIC_PORT: Final = 49152  # RFC 6335 6

_PCP_PROBLEMS: dict[int, Problem] = {
    pcp.ResultCode.NOT_AUTHORIZED: Problem.NOT_AUTHORIZED,
    pcp.ResultCode.NETWORK_FAILURE: Problem.NETWORK_FAILURE,
    pcp.ResultCode.NO_RESOURCES: Problem.NO_RESOURCES,
    pcp.ResultCode.USER_EX_QUOTA: Problem.QUOTA_EXCEEDED,
    pcp.ResultCode.CANNOT_PROVIDE_EXTERNAL: Problem.NO_EXTERNAL_PORT,
    pcp.ResultCode.ADDRESS_MISMATCH: Problem.ADDRESS_MISMATCH,
}
_NAT_PMP_PROBLEMS: dict[int, tuple[Problem, float]] = {
    natpmp.ResultCode.NOT_AUTHORIZED: (Problem.NOT_AUTHORIZED, LONG_WAIT),
    natpmp.ResultCode.NETWORK_FAILURE: (Problem.NETWORK_FAILURE, SHORT_WAIT),
    natpmp.ResultCode.OUT_OF_RESOURCES: (Problem.NO_RESOURCES, SHORT_WAIT),
}
_NOBODY_THERE = (Problem.SILENT, Problem.NOT_OFFERED)


@dataclass(slots=True)
class _Output:
    transmits: deque[Transmit] = field(default_factory=deque)
    events: deque[PortMapEvent] = field(default_factory=deque)


class PortMapper:
    """Has one gateway map UDP ports of one address of ours.

    Nothing that a gateway says is authenticated: whoever sits in this network and forges its address can let us tell
    the other side a useless candidate, and no more. Answers count from the gateway alone, to what is being asked.
    """

    def __init__(self, local: Endpoint, gateway: IPAddress, random_bytes: RandomBytes) -> None:
        """Ask from the socket bound to `local`, whose address is that of the ports."""
        self.drops: Counter[DropReason] = Counter()
        self._local = local
        self._gateway = Gateway(Endpoint(gateway, pcp.PORT))
        self._random_bytes = random_bytes
        self._leases: dict[int, Lease] = {}
        self._request: Request | None = None
        self._releases: dict[int, Release] = {}
        self._renewed_at = float("-inf")
        self._restarted_at = float("-inf")
        self._is_closed = False
        self._output = _Output()

    # Getters

    @property
    def gateway(self) -> Endpoint:
        """Who is asked."""
        return self._gateway.endpoint

    @property
    def ports(self) -> frozenset[int]:
        """The ports that are to be mapped."""
        return frozenset(self._leases)

    @property
    def is_settled(self) -> bool:
        """Whether each port is mapped or refused, or nobody answers."""
        if self._request is not None and self._request.lease.problem in _NOBODY_THERE:
            return True
        return all(lease.is_settled for lease in self._leases.values())

    @property
    def is_released(self) -> bool:
        """Whether nothing is being given back any more."""
        return not self._releases

    # Commands

    def add_port(self, port: int, now: float) -> bool:
        """Have a port mapped from now on; False when there are too many, or all is closed."""
        if port in self._leases:
            return True
        if self._is_closed or len(self._leases) + len(self._releases) >= MAX_PORTS:
            return False
        release = self._releases.pop(port, None)
        # a mapping that isn't quite given back can be had with its old nonce only (RFC 6887 11.3)
        nonce = self._random_bytes(pcp.NONCE_SIZE) if release is None else release.lease.nonce
        self._leases[port] = Lease(port, nonce, Endpoint(nowhere(self._version), port), now)
        self._proceed(now)
        return True

    def remove_port(self, port: int, now: float) -> None:
        """Give the mapping of a port back; harmless when there is none."""
        lease = self._leases.pop(port, None)
        if lease is None:
            return
        if self._request is not None and self._request.lease is lease:
            self._request = None
        self._give_back(lease, now)
        self._proceed(now)

    def renew(self, now: float) -> None:
        """Ask for everything again, for the network may be another one or the gateway may have restarted.

        Not more often than every 4 s. What is being asked begins from the start.
        """
        if now < self._renewed_at + RENEWAL_INTERVAL:
            return
        self._renewed_at = now
        for lease in self._leases.values():
            lease.due_at = min(lease.due_at, now)
        if self._request is not None:
            self._request.sent = 0
            self._ask(self._request, now)
        self._proceed(now)

    def close(self, now: float) -> None:
        """Give all mappings back, and ask for nothing more."""
        self._is_closed = True
        self._request = None
        leases, self._leases = self._leases, {}
        for lease in leases.values():
            self._give_back(lease, now)

    # Inputs

    def receive_datagram(self, data: bytes, source: Endpoint, local: Endpoint, now: float) -> None:
        """Take what came to our socket. Untrusted."""
        reason = self._receive(data, source, now)
        if reason is not None:
            self.drops[reason] += 1

    def record_send_error(self, error: SendError, now: float) -> None:
        """Take note that the gateway has no such port; whatever else the kernel says, repetition is the remedy.

        Anybody can forge that: it is not the end of asking, only that of the quick repetitions.
        """
        request = self._request
        if request is not None and error is SendError.REFUSED:
            request.sent = max(request.sent, QUICK_REQUESTS)
            request.repeat_at = now + interval(request.sent, self._random_bytes)
            self._tell(request.lease.report(Problem.NOT_OFFERED))

    def handle_timeout(self, now: float) -> None:
        """Do what is due at `now`."""
        for lease in self._leases.values():
            self._tell(lease.expire(now))
        if self._request is not None and self._request.repeat_at <= now:
            self._ask(self._request, now)
        for port in [port for port, release in self._releases.items() if release.repeat_at <= now]:
            self._release(port, now)
        self._proceed(now)

    # Outputs

    def next_transmit(self) -> Transmit | None:
        """Give a request to send."""
        return self._output.transmits.popleft() if self._output.transmits else None

    def next_event(self) -> PortMapEvent | None:
        """Give what became of a port."""
        return self._output.events.popleft() if self._output.events else None

    def next_timeout(self) -> float | None:
        """Tell when `handle_timeout` has something to do."""
        times = [release.repeat_at for release in self._releases.values()]
        times += [lease.expires_at for lease in self._leases.values() if lease.expires_at is not None]
        times += [lease.due_at for lease in self._leases.values()] if self._request is None else []
        times += [] if self._request is None else [self._request.repeat_at]
        return earliest(times)

    # Asking

    @property
    def _version(self) -> int:
        return self._local.address.version

    def _proceed(self, now: float) -> None:
        """Begin with what is due first, unless something is under way."""
        due = [lease for lease in self._leases.values() if lease.due_at <= now]
        if self._request is None and due:
            self._request = Request(min(due, key=lambda lease: lease.due_at))
            self._ask(self._request, now)

    def _ask(self, request: Request, now: float) -> None:
        for payload in request.ask(self._gateway, self._local, self._random_bytes, now):
            self._send(payload)
        if request.sent > SILENT_AFTER:
            self._tell(request.lease.report(Problem.SILENT))

    def _turn(self, request: Request, now: float) -> None:
        """Ask for the same in another way; a gateway that lets us turn round and round is given up."""
        if request.turn():
            self._ask(request, now)
        else:
            self._refuse(request, Problem.UNSUPPORTED, LONG_WAIT, now)

    def _give_back(self, lease: Lease, now: float) -> None:
        """Begin to release a mapping that may be there, also when the answer is still on its way."""
        if lease.is_asked and lease.problem not in _NOBODY_THERE:
            self._releases[lease.port] = Release(lease)
            self._release(lease.port, now)

    def _release(self, port: int, now: float) -> None:
        release = self._releases[port]
        if release.is_over:
            del self._releases[port]
        else:
            self._send(release.ask(self._gateway.protocol or Protocol.PCP, self._local, now))

    def _send(self, payload: bytes) -> None:
        self._output.transmits.append(Transmit(payload, self._local, self._gateway.endpoint))

    # Answers

    def _receive(self, data: bytes, source: Endpoint, now: float) -> DropReason | None:
        if source != self._gateway.endpoint:
            return DropReason.FOREIGN_SOURCE
        try:
            if data[:1] == bytes([natpmp.VERSION]):
                is_expected = self._receive_natpmp(natpmp.decode_response(data), now)
            else:
                is_expected = self._receive_pcp(pcp.decode_response(data), now)
        except MalformedPacket:
            return DropReason.MALFORMED
        return None if is_expected else DropReason.NOT_ASKED_FOR

    def _receive_pcp(self, response: pcp.Response, now: float) -> bool:
        """Take an answer; False when nobody asked."""
        if response.result == pcp.ResultCode.UNSUPP_VERSION:
            return self._receive_version(response.version, now)
        mapping = response.mapping
        if mapping is None or mapping.protocol != pcp.UDP:
            return False
        release = self._releases.get(mapping.internal_port)
        if release is not None and release.lease.nonce == mapping.nonce:
            del self._releases[mapping.internal_port]
            return True
        request = self._request
        if request is None or Question.PCP not in request.open:
            return False
        if (request.lease.port, request.lease.nonce) != (mapping.internal_port, mapping.nonce):
            return False
        self._gateway.protocol = Protocol.PCP
        self._hear(response.epoch, now)
        self._judge(request, response, mapping.external, now)
        return True

    def _judge(self, request: Request, response: pcp.Response, external: Endpoint, now: float) -> None:
        """Act on PCP's answer to what is under way."""
        if response.result == pcp.ResultCode.SUCCESS:
            self._grant(request, external, response.lifetime, now)
        elif response.result == pcp.ResultCode.CANNOT_PROVIDE_EXTERNAL and request.turns == 0:
            drawn = int.from_bytes(self._random_bytes(2), "big") % (65536 - FIRST_DYNAMIC_PORT)
            request.lease.suggested = Endpoint(nowhere(self._version), FIRST_DYNAMIC_PORT + drawn)
            self._turn(request, now)
        else:
            problem = _PCP_PROBLEMS.get(response.result, Problem.REFUSED)
            self._refuse(request, problem, min(max(response.lifetime, SHORT_WAIT), LONG_WAIT), now)

    def _receive_version(self, version: int, now: float) -> bool:
        """Hear that the gateway doesn't speak what it was asked in, but `version` (RFC 6887 9)."""
        request, protocol = self._request, self._gateway.protocol
        if request is None:
            return False
        if version == pcp.VERSION and protocol is Protocol.NAT_PMP:
            self._gateway.protocol = Protocol.PCP
            self._turn(request, now)
        elif version == natpmp.VERSION and protocol is not Protocol.NAT_PMP and self._version == 4:
            self._gateway.protocol = Protocol.NAT_PMP
            self._turn(request, now)
        elif version in (pcp.VERSION, natpmp.VERSION) and self._version == 4:
            return False  # the answer to an earlier request
        else:
            self._refuse(request, Problem.UNSUPPORTED, LONG_WAIT, now)
        return True

    def _receive_natpmp(self, response: natpmp.Response, now: float) -> bool:
        """Take an answer; False when nobody asked."""
        if isinstance(response, natpmp.ErrorResponse) and response.result == natpmp.ResultCode.UNSUPPORTED_VERSION:
            return self._receive_version(natpmp.VERSION, now)
        if isinstance(response, natpmp.MapResponse) and response.lifetime == 0:
            return self._releases.pop(response.internal_port, None) is not None
        request = self._request
        if request is None or not _is_answer(request, response):
            return False
        self._gateway.protocol = Protocol.NAT_PMP
        self._hear(response.epoch, now)
        match response:
            case natpmp.AddressResponse(address=address) if address.is_unspecified:
                self._refuse(request, Problem.NETWORK_FAILURE, SHORT_WAIT, now)
            case natpmp.AddressResponse(address=address):
                self._gateway.external = address, now
                request.sent, request.open = 0, Question.NOTHING
                self._ask(request, now)
            case natpmp.MapResponse(external_port=port, lifetime=lifetime):
                external = Endpoint(self._gateway.external_at(now) or nowhere(4), port)
                self._grant(request, external, lifetime, now)
            case _:
                problem, wait = _NAT_PMP_PROBLEMS.get(response.result, (Problem.REFUSED, LONG_WAIT))
                self._refuse(request, problem, wait, now)
        return True

    # What follows

    def _hear(self, epoch: int, now: float) -> None:
        """Take the gateway's time; when it has restarted, ask for all mappings anew.

        One whose time jumps with every answer would be asked again after each, as fast as it answers.
        """
        if self._gateway.has_restarted(epoch, now) and now >= self._restarted_at + RENEWAL_INTERVAL:
            self._restarted_at = now
            self._gateway.external = None
            for lease in self._leases.values():
                lease.doubt(now)
            self._output.events.append(GatewayRestarted())

    def _grant(self, request: Request, external: Endpoint, lifetime: int, now: float) -> None:
        if not is_possible(external, self._version):
            self._refuse(request, Problem.NO_EXTERNAL_ADDRESS, SHORT_WAIT, now)
        elif lifetime < SHORTEST_LIFETIME:
            self._refuse(request, Problem.SHORT_LEASE, LONG_WAIT, now)
        else:
            protocol = self._gateway.protocol or Protocol.PCP
            self._tell(request.lease.grant(external, lifetime, protocol, now))
            self._request = None
            self._proceed(now)

    def _refuse(self, request: Request, problem: Problem, wait: float, now: float) -> None:
        self._tell(request.lease.refuse(problem, wait, now))
        self._request = None
        self._proceed(now)

    def _tell(self, events: Iterable[PortMapEvent]) -> None:
        self._output.events.extend(events)


def _is_answer(request: Request, response: natpmp.Response) -> bool:
    """Tell whether NAT-PMP was asked what it answers."""
    match response:
        case natpmp.AddressResponse():
            return Question.ADDRESS in request.open
        case natpmp.MapResponse(internal_port=port):
            return Question.MAPPING in request.open and port == request.lease.port
        case _:
            return (Question.MAPPING if response.is_about_mapping else Question.ADDRESS) in request.open
