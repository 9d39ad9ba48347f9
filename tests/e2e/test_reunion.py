"""Two machines behind port-restricted NATs that both get new public addresses at once find each other again.

Neither could without a rendezvous: each filters what comes from addresses that it never sent to, and knows only the
other's old one.
"""

from __future__ import annotations

import time

import pytest

from tests.e2e.disturbance import renumber
from tests.e2e.nat import exact
from tests.e2e.program import TunnelLab

pytestmark = pytest.mark.root


def test_both_move_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with TunnelLab() as lab:
        server = lab.start_serve(lab.add_server("server"), relay=False, rooms=True)
        home, office = (lab.add_router(name, exact(), ipv6=False) for name in ("home", "office"))
        alice, bob = lab.add_host("alice", home), lab.add_host("bob", office)
        share = lab.start(alice, "share", "--rendezvous", server.url)
        join = lab.start(bob, "join", "--rendezvous", server.url, share.expect("code")["code"])
        for side in (share, join):
            side.expect("path", kind="direct")
        # a server that is gone while the tunnel works is no event for it
        server.kill()
        assert lab.can_ping(alice, join.ipv4, 5)
        server.start()
        pinging = lab.popen(alice, ["ping", "-n", "-q", "-i", "0.2", str(join.ipv4)])
        began = time.monotonic()
        for router in (home, office):
            renumber(lab, router)
        found = max(side.expect_timed("path", 30, kind="direct")[1] for side in (share, join))
        assert lab.can_ping(alice, join.ipv4, 5)
        pinging.terminate()
        with capsys.disabled():
            print(f"\n  both sides renumbered at once: a path again after {found - began:.1f} s")
        for side, router in ((share, office), (join, home)):
            assert side.find("path")[-1]["remote"]["address"] == str(router.node.ipv4)
            assert not side.find("error"), side.describe()
