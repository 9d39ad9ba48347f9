"""A hub with many peers, each behind a socket of its own, which know only the hub."""

from __future__ import annotations

from p2ptun.ice.role import Role
from p2ptun.node.event import PeerState
from p2ptun.node.parameters import IceParameters
from tests.sim.network import Network
from tests.sim.node import NodeHost

HUB = "10.0.0.1"
HUB_SOCKET = "192.0.2.1:1001"


def inner(number: int) -> str:
    """Give the inner address of a spoke."""
    return f"10.1.{number // 250}.{number % 250 + 1}"


def outer(number: int) -> str:
    """Give the socket of a spoke."""
    return f"198.51.{number // 250}.{number % 250 + 1}:1002"


class Star:
    """The hub calls its peers `spoke0`, `spoke1`; they call it `hub`."""

    def __init__(self, size: int, seed: int = 1, hub: type[NodeHost] = NodeHost) -> None:
        self.network = Network(seed)
        self.hub = hub(self.network, "hub", HUB_SOCKET)
        self.spokes: list[NodeHost] = []
        for _ in range(size):
            self.add_spoke()

    def add_spoke(self) -> None:
        """Make one more spoke, and let the two sides know each other."""
        number = len(self.spokes)
        spoke = NodeHost(self.network, f"spoke{number}", outer(number))
        ours, theirs = self.hub.add_peer(spoke.name), spoke.add_peer("hub", Role.CONTROLLED)
        offer = IceParameters(ours.agent.local_credentials, ours.describe())
        answer = IceParameters(theirs.agent.local_credentials, theirs.describe())
        self.hub.learn(spoke.name, spoke, answer, [f"{inner(number)}/32"])
        spoke.learn("hub", self.hub, offer, [f"{HUB}/32"])
        self.spokes.append(spoke)
        self.network.flush()

    def connect(self, seconds: float = 10.0) -> Star:
        """Wait until everybody is connected."""
        hosts = [self.hub, *self.spokes]

        def is_connected() -> bool:
            return all(peer.state is PeerState.CONNECTED for host in hosts for peer in host.node.peers)

        assert self.network.run(seconds, is_connected), {peer.name: peer.state for peer in self.hub.node.peers}
        return self
