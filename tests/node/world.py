"""Two nodes in the simulator, from strangers to a tunnel, in steps that a test can stop between."""

from __future__ import annotations

from p2ptun.ice.config import AgentConfig
from p2ptun.ice.role import Role
from p2ptun.node.event import PathSelected, PeerState
from p2ptun.node.parameters import IceParameters
from p2ptun.tunnel.psk import NO_PSK
from tests.sim.network import Network
from tests.sim.node import NodeHost, ip_packet

A, B = "10.77.0.1", "10.77.0.2"
ALLOWED_A, ALLOWED_B = (f"{A}/32", "fd77::1/128"), (f"{B}/32", "fd77::2/128")
"""Inner addresses of the two sides."""

SOCKET_A, SOCKET_B = "192.0.2.1:5001", "192.0.2.2:5002"


def ping(number: int, size: int = 8) -> bytes:
    """Build a packet from A to B."""
    return ip_packet(A, B, number.to_bytes(8, "big").rjust(size, b"."))


def pong(number: int) -> bytes:
    """Build a packet from B to A."""
    return ip_packet(B, A, number.to_bytes(8, "big"))


class World:
    """Alice and Bob. Alice calls him bob, Bob calls her alice."""

    def __init__(
        self,
        seed: int = 1,
        roles: tuple[Role, Role] = (Role.CONTROLLING, Role.CONTROLLED),
        sockets: tuple[str, str] = (SOCKET_A, SOCKET_B),
        psks: tuple[bytes, bytes] = (NO_PSK, NO_PSK),
        rekey_interval: float = 120.0,
        config: AgentConfig | None = None,
        loss: float = 0.0,
    ) -> None:
        self.network = Network(seed, loss=loss)
        self.alice = NodeHost(self.network, "alice", *sockets[0].split(), config=config)
        self.bob = NodeHost(self.network, "bob", *sockets[1].split(), config=config)
        self._psks = psks
        self._rekey_interval = rekey_interval
        self.to_bob = self.alice.add_peer("bob", roles[0])
        self.to_alice = self.bob.add_peer("alice", roles[1])
        self.offer = IceParameters(self.to_bob.agent.local_credentials, self.to_bob.describe())
        self.answer = IceParameters(self.to_alice.agent.local_credentials, self.to_alice.describe())

    def tell_alice(self) -> None:
        """Let Alice know Bob's description."""
        self.alice.learn("bob", self.bob, self.answer, ALLOWED_B, self._psks[0], self._rekey_interval)
        self.network.flush()

    def tell_bob(self) -> None:
        """Let Bob know Alice's description."""
        self.bob.learn("alice", self.alice, self.offer, ALLOWED_A, self._psks[1], self._rekey_interval)
        self.network.flush()

    def state(self) -> PeerState:
        """Tell what Bob is to Alice now."""
        return self.to_bob.state

    def is_connected(self) -> bool:
        """Tell whether both sides say so."""
        return self.to_bob.state is self.to_alice.state is PeerState.CONNECTED

    def connect(self, seconds: float = 10.0) -> World:
        """Tell both sides and wait until they are connected."""
        self.tell_bob()
        self.tell_alice()
        assert self.network.run(seconds, self.is_connected), self.describe()
        return self

    def settle(self, seconds: float = 3.0) -> World:
        """Let keepalives and nominations come to rest."""
        self.network.run(seconds)
        return self

    def cut(self) -> None:
        """Let nothing through any more, as seen at this moment."""
        self.network.is_cut = lambda packet: True

    def mend(self) -> None:
        """Let everything through again."""
        self.network.is_cut = lambda packet: False

    def talk(self, seconds: float, interval: float = 0.5) -> tuple[list[bytes], list[bytes]]:
        """Let both sides send a packet every `interval`; return what they sent."""
        end, number = self.network.now + seconds, 0
        sent: tuple[list[bytes], list[bytes]] = ([], [])
        while self.network.now < end:
            number += 1
            sent[0].append(ping(number))
            sent[1].append(pong(number))
            self.alice.send(sent[0][-1])
            self.bob.send(sent[1][-1])
            self.network.run(interval)
        return sent

    def paths(self) -> list[PathSelected]:
        """Give the paths that Alice took."""
        return [event for event in self.alice.events("bob") if isinstance(event, PathSelected)]

    def describe(self) -> str:
        """Say where everybody stands, for assertion messages."""
        return (
            f"seed {self.network.seed}, now {self.network.now:.3f}: "
            f"alice {self.to_bob.state.value} {self.to_bob.reason} {dict(self.to_bob.drops)}, "
            f"bob {self.to_alice.state.value} {self.to_alice.reason} {dict(self.to_alice.drops)}, "
            f"lost {dict(self.network.lost)}"
        )
