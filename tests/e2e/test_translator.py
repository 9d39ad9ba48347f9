"""The exact NAT's translation, packet by packet: what it changes, what it drops, and that the checksums stay right."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import pytest

from tests.e2e.translator import DECISION_TIME, Drop, Translator, checksum
from tests.sim.nat import FIRST_PORT, Behaviour, Habit, Nat

START = 1000.0
LIFETIME = 30.0
INSIDE, NEIGHBOUR, PUBLIC = "192.168.1.10", "192.168.1.11", "198.51.100.2"
SERVER, OTHER = "203.0.113.2", "203.0.113.3"
MORE = 0x2000  # RFC 791: more fragments


def translator(
    mapping: Behaviour = Behaviour.ENDPOINT_INDEPENDENT,
    filtering: Behaviour = Behaviour.ADDRESS_AND_PORT_DEPENDENT,
    has_hairpin: bool = False,
) -> Translator:
    habit = Habit(lifetime=LIFETIME, has_hairpin=has_hairpin)
    return Translator(Nat(PUBLIC, "192.168.1.0/24", mapping, filtering, habit=habit), LIFETIME)


def header(source: str, destination: str, size: int, protocol: int = 17, part: int = 0) -> bytearray:
    made = bytearray(20)
    made[0], made[8], made[9] = 0x45, 64, protocol
    made[2:4], made[4:6], made[6:8] = (20 + size).to_bytes(2, "big"), b"\x12\x34", part.to_bytes(2, "big")
    made[12:16], made[16:20] = IPv4Address(source).packed, IPv4Address(destination).packed
    made[10:12] = checksum(made[:10] + made[12:]).to_bytes(2, "big")
    return made


def udp(source: tuple[str, int], destination: tuple[str, int], data: bytes = b"data", part: int = 0) -> bytearray:
    body = bytearray(source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big"))
    body += (8 + len(data)).to_bytes(2, "big") + b"\0\0" + data
    made = header(source[0], destination[0], len(body), part=part) + body
    made[26:28] = udp_checksum(made).to_bytes(2, "big")
    return made


def udp_checksum(packet: bytearray) -> int:
    """Compute what the checksum of a datagram has to be (RFC 768)."""
    pseudo = packet[12:20] + b"\0\x11" + packet[24:26]
    return checksum(pseudo + packet[20:26] + packet[28:]) or 0xFFFF


def ends(packet: bytearray) -> tuple[tuple[str, int], tuple[str, int]]:
    source, destination = str(IPv4Address(bytes(packet[12:16]))), str(IPv4Address(bytes(packet[16:20])))
    return (source, int.from_bytes(packet[20:22], "big")), (destination, int.from_bytes(packet[22:24], "big"))


def is_right(packet: bytearray) -> bool:
    """Tell whether both checksums of a datagram are right."""
    ip = int.from_bytes(packet[10:12], "big") == checksum(packet[:10] + packet[12:20])
    return ip and int.from_bytes(packet[26:28], "big") == udp_checksum(packet)


def passed(box: Translator, packet: bytearray, now: float = START) -> bool:
    return box.translate(packet, len(packet), now)


def test_there_and_back() -> None:
    box = translator()
    there = udp((INSIDE, 5000), (SERVER, 3478))
    assert passed(box, there)
    assert ends(there) == ((PUBLIC, FIRST_PORT), (SERVER, 3478))
    back = udp((SERVER, 3478), (PUBLIC, FIRST_PORT))
    assert passed(box, back)
    assert ends(back) == ((SERVER, 3478), (INSIDE, 5000))
    assert is_right(there)
    assert is_right(back)
    assert not box.drops


@pytest.mark.parametrize("seed", range(3))
def test_checksums_stay_right_whatever_is_inside(seed: int) -> None:
    print(f"seed {seed}")
    chance, box = random.Random(seed), translator(Behaviour.ADDRESS_AND_PORT_DEPENDENT)
    for _ in range(500):
        remote = (str(IPv4Address(chance.randrange(1 << 24, 1 << 25))), chance.randrange(1, 65536))
        packet = udp((INSIDE, chance.randrange(1, 65536)), remote, chance.randbytes(chance.randrange(40)))
        assert passed(box, packet)
        assert is_right(packet), packet.hex()


def test_a_datagram_without_a_checksum_gets_none() -> None:
    packet = udp((INSIDE, 5000), (SERVER, 3478))
    packet[26:28] = b"\0\0"
    assert passed(translator(), packet)
    assert packet[26:28] == b"\0\0"


def test_a_decision_holds_for_a_moment_and_no_longer_than_the_filter() -> None:
    box = translator()
    assert passed(box, udp((INSIDE, 5000), (SERVER, 3478)))
    assert passed(box, udp((INSIDE, 5000), (SERVER, 3478)), START + DECISION_TIME / 2)
    assert passed(box, udp((SERVER, 3478), (PUBLIC, FIRST_PORT)), START + LIFETIME)
    assert not passed(box, udp((SERVER, 3478), (PUBLIC, FIRST_PORT)), START + LIFETIME + DECISION_TIME)
    assert box.drops == {Drop.NO_WAY_IN: 1}


def test_what_is_filtered_now_passes_once_it_was_asked_for() -> None:
    box = translator()
    assert passed(box, udp((INSIDE, 5000), (SERVER, 3478)))
    assert not passed(box, udp((OTHER, 3478), (PUBLIC, FIRST_PORT)))
    assert passed(box, udp((INSIDE, 5000), (OTHER, 3478)))
    assert passed(box, udp((OTHER, 3478), (PUBLIC, FIRST_PORT)))


def test_a_reboot_is_noticed_at_once() -> None:
    box = translator()
    assert passed(box, udp((INSIDE, 5000), (SERVER, 3478)))
    box.nat.reboot()
    box.forget()
    assert not passed(box, udp((SERVER, 3478), (PUBLIC, FIRST_PORT)))
    again = udp((INSIDE, 5000), (SERVER, 3478))
    assert passed(box, again)
    assert ends(again)[0] == (PUBLIC, FIRST_PORT + 1)


def test_hairpin_shows_public_addresses_where_there_is_one() -> None:
    box = translator(filtering=Behaviour.ENDPOINT_INDEPENDENT, has_hairpin=True)
    for host in (INSIDE, NEIGHBOUR):
        assert passed(box, udp((host, 5000), (SERVER, 3478)))
    packet = udp((INSIDE, 5000), (PUBLIC, FIRST_PORT + 1))
    assert passed(box, packet)
    assert ends(packet) == ((PUBLIC, FIRST_PORT), (NEIGHBOUR, 5000))
    assert is_right(packet)
    without = translator()
    assert not passed(without, udp((INSIDE, 5000), (PUBLIC, FIRST_PORT)))
    assert without.drops == {Drop.NO_HAIRPIN: 1}


def test_fragments_follow_their_first() -> None:
    box = translator()
    first = udp((INSIDE, 5000), (SERVER, 3478), bytes(32), part=MORE)
    rest = header(INSIDE, SERVER, 16, part=5) + bytes(16)
    stray = bytearray(rest)
    assert not passed(box, stray)
    assert passed(box, first)
    assert passed(box, rest)
    assert ends(first)[0] == (PUBLIC, FIRST_PORT)
    assert bytes(rest[12:20]) == IPv4Address(PUBLIC).packed + IPv4Address(SERVER).packed
    assert rest[20:] == bytes(16)
    assert int.from_bytes(rest[10:12], "big") == checksum(rest[:10] + rest[12:20])
    assert box.drops == {Drop.LATE_FRAGMENT: 1}


def test_icmp_errors_from_outside_reach_the_host_that_they_are_about() -> None:
    box = translator()
    sent = udp((INSIDE, 5000), (SERVER, 3478))
    assert passed(box, sent)
    body = bytearray(b"\x03\x04\0\0\0\0\x05\0") + sent[:28]
    body[2:4] = checksum(body[:2] + body[4:]).to_bytes(2, "big")
    error = header("203.0.113.1", PUBLIC, len(body), protocol=1) + body
    assert passed(box, error)
    assert str(IPv4Address(bytes(error[16:20]))) == INSIDE
    assert ends(error[28:]) == ((INSIDE, 5000), (SERVER, 3478))
    assert int.from_bytes(error[22:24], "big") == checksum(error[20:22] + error[24:])
    assert int.from_bytes(error[10:12], "big") == checksum(error[:10] + error[12:20])
    assert int.from_bytes(error[38:40], "big") == checksum(error[28:38] + error[40:48])


def test_what_is_no_datagram_from_inside_or_for_the_public_address_is_dropped_and_counted() -> None:
    box = translator()
    echo = header(INSIDE, SERVER, 40, protocol=1) + b"\x08" + bytes(39)
    about_others = header(SERVER, PUBLIC, 36, protocol=1) + b"\x03\x03" + bytes(6) + udp((SERVER, 1), (INSIDE, 2))[:28]
    unmapped = header(SERVER, PUBLIC, 36, protocol=1) + b"\x03\x03" + bytes(6) + udp((PUBLIC, 1), (SERVER, 2))[:28]
    for packet in (bytearray(27), bytearray(60), echo, about_others):
        assert not passed(box, packet)
    assert not passed(box, unmapped)
    assert not passed(box, udp((SERVER, 1), (INSIDE, 2)))
    assert not passed(box, udp((SERVER, 1), (PUBLIC, 2), part=MORE))
    assert box.drops == {Drop.NOT_UNDERSTOOD: 4, Drop.NO_WAY_IN: 2, Drop.STRAY: 1}


def test_fragments_that_are_kept_are_few() -> None:
    box = translator()
    for number in range(3000):
        packet = udp((INSIDE, 5000), (SERVER, 3478), part=MORE)
        packet[4:6] = number.to_bytes(2, "big")
        assert passed(box, packet)
    late = header(INSIDE, SERVER, 16, part=5) + bytes(16)
    late[4:6] = (1).to_bytes(2, "big")
    assert not passed(box, late)


@pytest.mark.parametrize("size", range(64))
def test_random_bytes_never_raise(size: int) -> None:
    chance, box = random.Random(size), translator()
    for _ in range(50):
        packet = bytearray(chance.randbytes(size))
        packet[:1] = b"\x45"[:size]
        assert not passed(box, packet) or size >= 28
