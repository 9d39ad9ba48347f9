"""Port mapping: both decoders, and what a mapper makes of a gateway that answers anything."""

from __future__ import annotations

from p2ptun.errors import MalformedPacket
from p2ptun.nat import natpmp, pcp
from p2ptun.nat.portmap import PortMapper
from p2ptun.types import Endpoint

LOCAL, GATEWAY = Endpoint.of("192.168.1.10", 40000), Endpoint.of("192.168.1.1", 5351)
SENT_AT_MOST = 32


def test_one_input(data: bytes) -> None:
    """Decode the bytes, then take them for one answer, then cut them into answers."""
    for decode_response in (pcp.decode_response, natpmp.decode_response):
        try:
            decode_response(data)
        except MalformedPacket:
            continue
    _receive([data])
    size = data[0] % 64 + 4 if data else 4
    answers = [data[at : at + size] for at in range(1, len(data), size)][:64]
    _receive(answers)
    _receive([bytes([2 * (number % 2), 0x80 | number % 3]) + answer for number, answer in enumerate(answers)])


def _receive(answers: list[bytes]) -> None:
    mapper = PortMapper(LOCAL, GATEWAY.address, bytes)  # nonces of zeros can be guessed
    for port in (0x2020, 0x4141):
        mapper.add_port(port, 1000.0)
    for number, answer in enumerate(answers):
        now = 1000.0 + number * 0.3
        mapper.receive_datagram(answer, GATEWAY, LOCAL, now)
        mapper.handle_timeout(now)
        at = mapper.next_timeout()
        assert at is None or at > now
        assert len(list(iter(mapper.next_transmit, None))) < SENT_AT_MOST
        list(iter(mapper.next_event, None))
    mapper.close(2000.0)
    mapper.handle_timeout(2001.0)
