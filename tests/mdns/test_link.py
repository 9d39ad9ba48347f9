from __future__ import annotations

from p2ptun.mdns.link import GROUP_V4, GROUP_V6, Locals, group_of
from p2ptun.types import Endpoint

V4, V6, OTHER = Endpoint.of("192.0.2.1", 5353), Endpoint.of("fe80::1%eth0", 5353), Endpoint.of("198.51.100.1", 5353)


def test_sockets_belong_to_links() -> None:
    known = Locals()
    for local, link in ((V4, "eth0"), (V6, "eth0"), (OTHER, "eth1")):
        known.add(local, link, is_shared=local is OTHER)
    assert list(known) == [V4, V6, OTHER]
    assert known.of_link("eth0") == [V4, V6]
    assert known.link_of(OTHER) == "eth1"
    assert [known.is_shared(local) for local in known] == [False, False, True]
    known.remove(V4)
    known.remove(V4)
    assert V4 not in known
    assert V6 in known


def test_the_groups_of_rfc_6762() -> None:
    assert (str(GROUP_V4), str(GROUP_V6)) == ("224.0.0.251:5353", "[ff02::fb]:5353")
    assert (group_of(V4), group_of(V6)) == (GROUP_V4, GROUP_V6)
