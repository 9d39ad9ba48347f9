"""Names instead of addresses: answers for this side's, and finds the addresses behind the other side's."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable

import trio

from p2ptun.ice.named import NamedCandidate, place_of
from p2ptun.io.driver import Driver
from p2ptun.io.multicast import Multicast
from p2ptun.io.network import Network
from p2ptun.mdns.agent import MdnsAgent
from p2ptun.mdns.drop import DropReason
from p2ptun.mdns.event import MdnsEvent, NameLost
from p2ptun.node.drop import labelled
from p2ptun.node.event import NodeEvent, RemoteCandidateRemoved, RemoteNameFound
from p2ptun.node.names import HostNames
from p2ptun.types import IPAddress

NOWHERE = Network((), ())
FOREIGN = frozenset({DropReason.NOT_OUR_NAME, DropReason.NOT_ASKED_FOR})

logger = logging.getLogger(__name__)


class Naming:
    """Multicast DNS for a node.

    With `names` this side hides: each name is answered for on the link of its address, as long as the process lives.
    Without, port 5353 is open only while the other side's names are being looked up. A name that nobody answers for is
    asked for again in the next network; until then the candidate is as good as none, and nobody is told.

    `names` is for the peers, which tell them.
    """

    def __init__(self, names: HostNames | None) -> None:
        self.names = names
        self._network = NOWHERE
        self._driver: Driver | None = None
        self._multicast = Multicast(MdnsAgent(), self._handle_answer)
        self._told: dict[tuple[str, Hashable], NamedCandidate] = {}
        self._pending: set[str] = set()
        self._registered: dict[IPAddress, str] = {}

    @property
    def drops(self) -> Counter[str]:
        """What was thrown away, by reason; not what passes by on every link and concerns others."""
        ours = Counter(
            {reason: count for reason, count in self._multicast.agent.drops.items() if reason not in FOREIGN}
        )
        counted = labelled("mdns", ours)
        for sock in self._multicast.sockets:
            counted.update({f"mdns: {name}": count for name, count in sock.drops.items()})
        return counted

    def start(self, nursery: trio.Nursery, driver: Driver, network: Network) -> None:
        """Serve the node of `driver` in `nursery`; it ends with that."""
        self._driver = driver
        self._multicast.start(nursery, NOWHERE)
        self.follow(network)

    def follow(self, network: Network) -> None:
        """Use the links of this network from now on, and look there for what was found nowhere else."""
        self._network = network
        if self.names is not None:
            self._register(self.names, network)
            self._multicast.follow(network)
        self._look_up({candidate.name for candidate in self._told.values()})

    def handle(self, event: NodeEvent) -> None:
        """Take an event of the node: names come and go with the candidates that the other side tells."""
        match event.event:
            case RemoteNameFound(candidate):
                self._told[event.peer, place_of(candidate)] = candidate
                self._look_up({candidate.name})
            case RemoteCandidateRemoved(NamedCandidate() as candidate):
                self._told.pop((event.peer, place_of(candidate)), None)
            case _:
                pass

    def close(self) -> None:
        """Take this side's names back."""
        self._multicast.close()

    def _register(self, names: HostNames, network: Network) -> None:
        """Answer for the addresses there are, each on its own link."""
        agent, links = self._multicast.agent, {local.address: local.interface for local in network.candidates}
        for address in [each for each, link in self._registered.items() if link != links.get(each)]:
            agent.unregister(names.name_of(address))
            del self._registered[address]
        self._multicast.flush()  # goodbyes leave while their links are there
        for address, link in links.items():
            if address not in self._registered:
                self._registered[address] = link
                agent.register(names.name_of(address), address, link, trio.current_time())

    def _look_up(self, names: set[str]) -> None:
        if not names:
            return
        self._pending |= names
        self._multicast.agent.resolve(sorted(names), trio.current_time())
        self._multicast.follow(self._network)

    def _handle_answer(self, event: MdnsEvent) -> None:
        self._pending.discard(event.name)
        if isinstance(event, NameLost):
            logger.debug("%s: %s", event.name, event.reason.value)
        elif self._driver is not None:
            self._resolve(self._driver, event.name, event.address)
        if self.names is None and not self._pending:
            self._multicast.follow(NOWHERE)

    def _resolve(self, driver: Driver, name: str, address: IPAddress) -> None:
        for (peer, _), candidate in list(self._told.items()):
            if candidate.name == name:
                driver.node.peer(peer).resolve(candidate, address, trio.current_time())
        driver.flush()
