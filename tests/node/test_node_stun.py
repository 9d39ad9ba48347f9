"""Which peer a STUN message or a handshake is for: one, found without asking the others; what that bounds."""

from __future__ import annotations

import pytest

from p2ptun.ice.event import RestartReason
from p2ptun.node import node as module
from p2ptun.node.drop import DropReason
from p2ptun.node.node import STRANGER_BURST, STRANGERS_PER_SECOND
from p2ptun.node.transactions import LIFETIME
from p2ptun.stun.attribute import SOFTWARE, USERNAME
from p2ptun.stun.message import (
    Message,
    MessageClass,
    Method,
    TransactionId,
    decode_message,
    encode_message,
    success_response,
)
from p2ptun.types import Endpoint, SendError, Transmit
from tests.node.star import HUB_SOCKET, Star, outer
from tests.node.test_roster import host_at
from tests.sim.network import at

STRANGER = at("203.0.113.66:6666")
TRANSACTION = TransactionId(b"transaction!")


def stun(message_class: MessageClass, username: str | None = None) -> bytes:
    """Build a message, long enough that an error response isn't longer than it."""
    attributes = () if username is None else ((USERNAME, username),)
    return encode_message(Message(Method.BINDING, message_class, TRANSACTION, (*attributes, (SOFTWARE, "x" * 100))))


def ice_drops(star: Star) -> list[int]:
    """Count what each peer's agent dropped."""
    return [peer.agent.drops.total() for peer in star.hub.node.peers]


def give(star: Star, data: bytes, source: Endpoint = STRANGER) -> None:
    star.network.deliver(Transmit(data, source, at(HUB_SOCKET)))


def first_check(star: Star, number: int) -> bytes:
    """Let the hub begin, and return what it asks a spoke first."""
    star.network.run(0.019)  # nothing has arrived yet
    asked = [each.packet for each in star.network.log if each.host is star.hub]
    return next(packet.payload for packet in asked if packet.destination == at(outer(number)))


def test_an_answer_goes_to_whoever_asked() -> None:
    star = Star(4)
    ask = first_check(star, 2)
    forged = encode_message(success_response(decode_message(ask)))
    give(star, forged)
    give(star, forged)
    assert ice_drops(star) == [0, 0, 2, 0]  # not sealed: it was looked at and refused
    assert star.hub.node.drops == {}


def test_an_answer_that_nobody_asked_for_reaches_nobody() -> None:
    star = Star(3).connect()
    before = ice_drops(star)
    give(star, stun(MessageClass.SUCCESS))
    give(star, stun(MessageClass.ERROR))
    give(star, stun(MessageClass.INDICATION))
    assert ice_drops(star) == before
    assert star.hub.node.drops == {DropReason.UNKNOWN_TRANSACTION: 2, DropReason.INDICATION: 1}


def test_an_answer_to_a_peer_that_has_gone_reaches_nobody() -> None:
    star = Star(2)
    ask = first_check(star, 1)
    star.hub.node.remove_peer("spoke1", star.network.now)
    give(star, encode_message(success_response(decode_message(ask))))
    assert star.hub.node.drops == {DropReason.UNKNOWN_TRANSACTION: 1}


def test_an_answer_comes_too_late_some_time() -> None:
    star = Star(1)
    ask = first_check(star, 0)
    star.network.is_cut = lambda packet: True
    star.network.run(200 + 2 * LIFETIME)
    before = star.hub.node.drops[DropReason.UNKNOWN_TRANSACTION]
    give(star, encode_message(success_response(decode_message(ask))), at(outer(0)))
    assert star.hub.node.drops[DropReason.UNKNOWN_TRANSACTION] == before + 1


def test_a_request_goes_to_the_peer_that_it_names() -> None:
    star = Star(3).connect()
    before = ice_drops(star)
    ufrag = star.hub.peer("spoke1").agent.local_credentials.ufrag
    give(star, stun(MessageClass.REQUEST, f"{ufrag}:x"))
    assert [after - count for after, count in zip(ice_drops(star), before, strict=True)] == [0, 1, 0]


@pytest.mark.parametrize("username", [None, "nobody:x", "", ":"])
def test_requests_for_nobody_are_answered_so_many_times_a_second(username: str | None) -> None:
    star = Star(3).connect()
    request = stun(MessageClass.REQUEST, username)
    for expected in (STRANGER_BURST, STRANGERS_PER_SECOND / 2):
        star.network.log.clear()
        for _ in range(3 * STRANGER_BURST):
            give(star, request)
        answers = [each.packet.payload for each in star.network.log if each.packet.destination == STRANGER]
        assert len(answers) == expected
        assert all(len(answer) <= len(request) for answer in answers)
        star.network.run(0.5)
    assert star.hub.node.drops == {DropReason.TOO_MANY_STRANGERS: 5 * STRANGER_BURST - STRANGERS_PER_SECOND / 2}


def test_strangers_take_nothing_from_peers() -> None:
    """While the answers to strangers are used up, a peer's check is answered as ever."""
    star = Star(1)
    for _ in range(2 * STRANGER_BURST):
        give(star, stun(MessageClass.REQUEST, "nobody:x"))
    star.connect(3)


def test_a_request_finds_the_peer_by_the_names_of_every_generation() -> None:
    """A restart gives us a new name; the old one and the next one are good as well."""
    star = Star(2).connect()
    star.network.run(3)
    peer = star.hub.peer("spoke1")
    before = peer.agent.local_ufrags
    peer.restart(RestartReason.REQUESTED, star.network.now)
    names = set(peer.agent.local_ufrags)
    assert names & set(before)
    for name in names:
        dropped = ice_drops(star)
        give(star, stun(MessageClass.REQUEST, f"{name}:x"))
        assert [after - count for after, count in zip(ice_drops(star), dropped, strict=True)] == [0, 1]
    assert star.hub.node.drops == {}


def test_a_message_that_only_looks_like_stun_is_the_agents_to_refuse() -> None:
    star = Star(2).connect()
    ufrag = star.hub.peer("spoke1").agent.local_credentials.ufrag
    data = stun(MessageClass.REQUEST, f"{ufrag}:x")
    before = ice_drops(star)
    give(star, data[:-1] + bytes([data[-1] ^ 1]))  # its fingerprint is wrong
    assert [after - count for after, count in zip(ice_drops(star), before, strict=True)] == [0, 1]
    assert star.hub.node.drops == {}


def test_an_initiation_is_tried_with_a_bounded_number_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """All say that they are at one address; whoever is there has a path to it, and comes first."""
    monkeypatch.setattr(module, "MAX_CLAIMANTS", 2)
    star = Star(5).connect()
    star.network.run(1)
    place = at(outer(4))
    for peer in star.hub.node.peers[:4]:
        peer.agent.add_remote_candidate(host_at(place), star.network.now)
        peer.end_of_candidates(star.network.now)
    links = [peer.link for peer in star.hub.node.peers]
    before = [0 if link is None else link.session.refusals.total() for link in links]
    give(star, b"\xd1" + bytes(150), place)
    after = [0 if link is None else link.session.refusals.total() for link in links]
    tried = [there - here for here, there in zip(before, after, strict=True)]
    assert sum(tried) == 2
    assert tried[4] == 1


def concerned(star: Star, destination: Endpoint, error: SendError, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tell which peers get to know of an error."""
    told: list[str] = []
    for peer in star.hub.node.peers:
        monkeypatch.setattr(peer, "record_send_error", lambda *_, name=peer.name: told.append(name))
    star.hub.node.record_send_error(at(HUB_SOCKET), destination, error, star.network.now)
    return told


def test_what_the_kernel_refuses_concerns_whoever_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    star = Star(3)
    star.hub.node.add_stun_server(at("203.0.113.3:3478"), star.network.now)
    everybody = ["spoke0", "spoke1", "spoke2"]
    assert concerned(star, at(outer(1)), SendError.UNREACHABLE, monkeypatch) == ["spoke1"]
    assert concerned(star, at(outer(1)), SendError.WOULD_BLOCK, monkeypatch) == []
    assert concerned(star, STRANGER, SendError.UNREACHABLE, monkeypatch) == []
    assert concerned(star, at("203.0.113.3:3478"), SendError.UNREACHABLE, monkeypatch) == everybody
