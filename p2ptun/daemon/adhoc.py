"""A tunnel for as long as a command runs: what `p2ptun share` and `p2ptun join` do.

The order of things: device and sockets first (what can fail fails before a person copies anything), then gathering,
then the two descriptions, then checks and handshake, then traffic until somebody stops it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack
from ipaddress import ip_network

import trio

from p2ptun.daemon.agreement import Agreement, agree, overlaps
from p2ptun.daemon.control import ControlServer
from p2ptun.daemon.event import (
    ClosedEvent,
    Event,
    InterfaceEvent,
    ProgressEvent,
)
from p2ptun.daemon.group import single_error
from p2ptun.daemon.introduction import NO_REFLEXIVE, Introduction, seen_from_outside
from p2ptun.daemon.naming import Naming
from p2ptun.daemon.narrator import Narrator
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.options import AdhocOptions, Side
from p2ptun.daemon.outcome import Outcome, remedy
from p2ptun.daemon.portmapping import PortMapping
from p2ptun.daemon.privilege import drop_privileges
from p2ptun.daemon.relays import Relays
from p2ptun.daemon.report import report
from p2ptun.daemon.roaming import Roaming
from p2ptun.daemon.status import InterfaceStatus, Status
from p2ptun.errors import AuthenticationFailed, RendezvousError
from p2ptun.ice.agent import Agent
from p2ptun.ice.config import PAC_TIMEOUT, AgentConfig
from p2ptun.ice.credential import Credentials
from p2ptun.ice.nat_hint import NatHint
from p2ptun.ice.role import TIE_BREAKER_BYTES, Role
from p2ptun.ice.scope import DEFAULT_REFUSED_NETWORKS
from p2ptun.io import netlink
from p2ptun.io.driver import Driver
from p2ptun.io.forwarding import SWITCHES, is_forwarding
from p2ptun.io.monitor import read_network
from p2ptun.io.network import Network
from p2ptun.io.tls import Trust
from p2ptun.io.tun import TunDevice
from p2ptun.io.underlay import Underlay
from p2ptun.node.event import FailureReason, NodeEvent
from p2ptun.node.link import Identity
from p2ptun.node.names import HostNames
from p2ptun.node.node import Node
from p2ptun.node.parameters import IceParameters
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import KeyPair, encode_key
from p2ptun.rendezvous.base import Rendezvous
from p2ptun.signal.description import Description, Kind, terms
from p2ptun.tunnel.psk import PskSource, mix_psks
from p2ptun.types import IPInterface, IPNetwork

PEER = "peer"
"""What the other side of an ad hoc tunnel is called: it has no other name here."""

CARRYING_PATIENCE = 24 * 3600.0
"""How long the joining side goes on checking while a person carries its answer over."""

REMINDER_AFTER = 60.0  # seconds
PROGRESS_INTERVAL = 0.1  # seconds: what an eye takes for at once
DEFAULT_MTU = 1400
"""What fits 1500 bytes whichever path is taken, with 40 of IPv6, 8 of UDP and 46 of our own at most (`tunnel.wire`)."""

TUNNEL_POOL = ip_network("10.77.0.0/16")
"""Where agreed addresses come from: an address in there is a tunnel's, never one to send datagrams to."""

LOSS_REMINDER_AFTER = 10.0  # seconds: most losses of a path are over by then
NO_CONNECTION = "no-connection"


class AdhocTunnel:
    """One tunnel, from `run` to its end. `emit` is told what happens, as it happens."""

    def __init__(
        self, options: AdhocOptions, side: Side, rendezvous: Rendezvous, emit: Callable[[Event], None]
    ) -> None:
        self._options = options
        self._side = side
        self._rendezvous = rendezvous
        self._notices = Notices(emit)
        self._keys = KeyPair.generate(os.urandom)
        self._naming = Naming(HostNames(os.urandom) if options.hides_addresses else None)
        self._node = Node(os.urandom)
        self._narrator = Narrator(emit)
        self._relays = Relays(options, self._node, self._narrator, self._notices)
        self._port_mapping = PortMapping(options.wants_mapping)
        self._addresses: tuple[IPInterface, ...] = ()
        self._used: list[IPNetwork] = []
        self._mtu = options.mtu or DEFAULT_MTU

    async def run(self) -> Outcome:
        """Bring the tunnel up, carry traffic until a signal or the other side ends it, and clean up.

        Raises:
            P2ptunError: With a sentence and a remedy for the person who called.
        """
        with ExitStack() as stack:
            signals = stack.enter_context(trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            tun = stack.enter_context(TunDevice.open(self._options.name, self._mtu))
            control = ControlServer(tun.name, {"status": lambda: self._status(tun.name, driver, started_at)})
            listener = stack.enter_context(control.claim())
            drop_privileges()
            netlink.check_mtu(self._mtu, self._wants_ipv6())
            await trio.to_thread.run_sync(netlink.check_addresses, self._options.addresses)
            self._used = await trio.to_thread.run_sync(netlink.existing_networks)
            network = await read_network()
            underlay = stack.enter_context(Underlay(trust=Trust(self._options.ca_file)))
            await underlay.open(network)
            self._check_forwarding()
            self._node.add_peer(Peer(PEER, self._new_agent(network), self._naming.names), trio.current_time())
            driver = Driver(self._node, tun, self._handle, underlay)
            parts = (self._naming, self._narrator, self._notices, self._relays, self._port_mapping)
            roaming = Roaming(network, underlay, driver, *parts)
            introduction = self._introduction()
            started_at = trio.current_time()
            outcome = Outcome.STOPPED
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
                    nursery.start_soon(control.serve, listener)
                    self._naming.start(nursery, driver, network)
                    driver.start(nursery, underlay.sockets)
                    nursery.start_soon(roaming.run)
                    await nursery.start(self._port_mapping.run, driver, network)
                    nursery.start_soon(self._relays.run, driver, underlay.problem_of)
                    nursery.start_soon(introduction.find_servers, driver)
                    outcome = await self._connect(introduction, roaming, tun, driver, nursery)
                    nursery.cancel_scope.cancel()
            self._close(driver, started_at)
            return outcome

    def _close(self, driver: Driver, started_at: float) -> None:
        """Say goodbye to the other side and to the network."""
        now = trio.current_time()
        self._node.close(now)
        driver.flush()
        self._naming.close()
        self._keys.wipe()
        self._tell_end(now - started_at)

    def _handle(self, event: NodeEvent) -> None:
        self._naming.handle(event)
        self._narrator.handle(event)
        self._relays.handle(event)
        self._port_mapping.handle(event)

    @property
    def _peer(self) -> Peer:
        return self._node.peer(PEER)

    def _wants_ipv6(self) -> bool:
        """Tell whether this side will have an IPv6 address in the tunnel, as far as it can know beforehand."""
        addresses = self._options.addresses
        return netlink.supports_ipv6() and (not addresses or any(address.version == 6 for address in addresses))

    def _new_agent(self, network: Network) -> Agent:
        """Make the agent. Who offers is controlling (RFC 8445 6.1.1); a conflict would cost a round trip.

        What may become an address in the tunnel is never one to send datagrams to, unless it is in use outside of
        tunnels. What is in one by now, `Roaming` refuses.
        """
        outside = [each for each in self._used if not overlaps(each, network.tunnel_networks)]
        pool = [TUNNEL_POOL, *(address.network for address in self._options.addresses)]
        tunnels = tuple(each for each in pool if not overlaps(each, outside))
        is_offering = self._side is Side.SHARE
        role, patience = (Role.CONTROLLING, PAC_TIMEOUT) if is_offering else (Role.CONTROLLED, CARRYING_PATIENCE)
        config = AgentConfig(
            refused_networks=DEFAULT_REFUSED_NETWORKS + tunnels,
            pac_timeout=patience,
            path_policy=self._options.path_policy,
            hard_nat=self._options.hard_nat,
        )
        tie_breaker = int.from_bytes(os.urandom(TIE_BREAKER_BYTES), "big")
        return Agent(config, Credentials.generate(os.urandom), role, tie_breaker, os.urandom, self._node.pacer)

    def _introduction(self) -> Introduction:
        return Introduction(
            self._options,
            self._side,
            self._rendezvous,
            self._narrator,
            self._notices,
            self._relays,
            self._peer,
            self._keys.public,
            self._used,
        )

    async def _connect(
        self, introduction: Introduction, roaming: Roaming, tun: TunDevice, driver: Driver, nursery: trio.Nursery
    ) -> Outcome:
        """Do everything from gathering to the end of the tunnel."""
        with self._patience() as patience:
            await self._port_mapping.settle()
            offer, answer = await introduction.introduce()
            agreement = await self._configure(tun, offer, answer)
            roaming.agree(agreement.own + agreement.peer)
            self._meet(agreement, offer, answer)
            driver.flush()
            nursery.start_soon(driver.carry)
            if self._side is Side.JOIN:
                await introduction.send(answer)
                nursery.start_soon(introduction.keep_current, answer)
            nursery.start_soon(self._ask_after_the_other_side)
            await self._await_connection()
        while not patience.cancelled_caught and not self._narrator.ended.is_set():
            await _first(self._narrator.lost, self._narrator.ended)
            if self._narrator.ended.is_set():
                break
            with self._patience() as patience:
                await self._await_connection()
            self._notices.withdraw(NO_CONNECTION)
        return self._outcome(is_out_of_patience=patience.cancelled_caught)

    def _patience(self) -> trio.CancelScope:
        """Limit the time without a connection to what the person asked for."""
        limit = self._options.timeout
        return trio.CancelScope() if limit is None else trio.move_on_after(limit)

    def _outcome(self, *, is_out_of_patience: bool) -> Outcome:
        """Tell how it ended, and the person why."""
        if is_out_of_patience:
            again = " again" if self._narrator.has_met else ""
            more = "Give it more with --timeout."
            if self._narrator.began_at is not None and not self._narrator.has_met and self._peer.path is None:
                more += f" {self._what_helps(FailureReason.NO_PATH)}"
            self._notices.tell(f"Not connected{again} after {self._options.timeout:g} s.", more)
            return Outcome.TIMED_OUT
        if self._narrator.reason is FailureReason.PEER_CLOSED:
            return Outcome.PEER_CLOSED
        if self._narrator.reason is not None:
            sentence = self._narrator.reason.value
            self._notices.tell(f"{sentence[:1].upper()}{sentence[1:]}.", self._what_helps(self._narrator.reason))
        return Outcome.FAILED

    def _what_helps(self, reason: FailureReason) -> str:
        return remedy(reason, self._options, has_relay=bool(self._narrator.relays))

    # The tunnel

    async def _configure(self, tun: TunDevice, offer: Description, answer: Description) -> Agreement:
        """Give the interface its addresses and routes."""
        kind = Kind.OFFER if self._side is Side.SHARE else Kind.ANSWER
        routes = await trio.to_thread.run_sync(netlink.list_routes)
        used = self._used + [route.destination for route in routes]
        agreement = agree(kind, offer, answer, used, netlink.supports_ipv6())
        await trio.to_thread.run_sync(netlink.configure, tun.name, agreement.own, self._mtu, agreement.routes)
        self._addresses = agreement.own
        self._narrator.mtu = self._mtu
        own, peer, leading = (_texts(each) for each in (agreement.own, agreement.peer, agreement.routes))
        self._notices.emit(InterfaceEvent(tun.name, own, self._mtu, peer, leading))
        for network in agreement.refused:
            self._notices.warn(
                f"refused-{network}",
                f"The other side offers {network}, which is in use here or isn't private: it isn't routed there.",
                "Let the other side offer a private network that is free here with --route, such as 192.168.5.0/24.",
            )
        return agreement

    def _meet(self, agreement: Agreement, offer: Description, answer: Description) -> None:
        """Let the node connect to the other side."""
        theirs = answer if self._side is Side.SHARE else offer
        psk = mix_psks({PskSource.CONFIGURED: self._options.psk} if self._options.psk else {})
        identity = Identity(
            theirs.public_key,
            agreement.allowed_ips,
            psk,
            self._options.algorithms,
            self._options.rekey_interval,
            terms(offer, answer),
        )
        now = trio.current_time()
        if self._side is Side.SHARE:
            self._narrator.began_at = now
        remote = IceParameters(theirs.credentials, theirs.candidates, nat=NatHint.decode(theirs.features))
        try:
            self._node.connect(PEER, identity, self._keys, self._mtu, remote, now)
        except AuthenticationFailed as error:
            raise RendezvousError("The other side's key is no key.", "Start again on both sides.") from error
        # whatever else the other side finds comes through the tunnel, so there is nothing to wait for before it is up
        self._peer.end_of_candidates(now)

    async def _await_connection(self) -> None:
        """Wait until the tunnel is up or has failed, telling how the checks go."""
        async with trio.open_nursery() as nursery:
            for event in (self._narrator.connected, self._narrator.ended):
                nursery.start_soon(_cancel_after, event, nursery.cancel_scope)
            if self._narrator.has_met:
                nursery.start_soon(self._remind_of_the_loss)
            shown = None
            while True:
                progress = ProgressEvent(*self._peer.agent.checks, heard=self._narrator.began_at is not None)
                if progress != shown:
                    shown = progress
                    self._notices.emit(progress)
                await trio.sleep(PROGRESS_INTERVAL)

    async def _remind_of_the_loss(self) -> None:
        """Say what a person can do when the path doesn't come back by itself soon."""
        await trio.sleep(LOSS_REMINDER_AFTER)
        self._notices.warn(
            NO_CONNECTION,
            f"Without connection for {LOSS_REMINDER_AFTER:g} s; it goes on trying.",
            "Check the network on both sides. If the other side is gone for good, press Ctrl-C and start anew on both.",
        )

    async def _ask_after_the_other_side(self) -> None:
        """Remind the person that somebody has to take the answer, when that seems forgotten."""
        await trio.sleep(REMINDER_AFTER)
        if self._narrator.began_at is None:
            self._notices.tell(
                "Nothing has come from the other side for a minute.",
                "Is p2ptun share still running there, and was the answer pasted into it? "
                "If so, it tells there whether a path was found.",
            )

    def _check_forwarding(self) -> None:
        """Say so when networks are offered that nobody can reach through this machine."""
        for version in sorted({network.version for network in self._options.routes}):
            if not is_forwarding(version):
                networks = ", ".join(str(each) for each in self._options.routes if each.version == version)
                self._notices.warn(
                    f"no-forwarding-v{version}",
                    f"This machine doesn't forward, so the other side can't reach {networks} through it.",
                    f"Run: sysctl -w {SWITCHES[version]}=1",
                )

    def _tell_end(self, uptime: float) -> None:
        link = self._peer.link
        if link is not None:
            self._notices.emit(ClosedEvent(round(uptime, 3), link.traffic.tx_bytes, link.traffic.rx_bytes))

    def _status(self, name: str, driver: Driver, started_at: float) -> Status:
        now = trio.current_time()
        uptime = round(now - started_at, 3)
        if seen_from_outside(self._peer):
            self._notices.withdraw(NO_REFLEXIVE)
        interface = InterfaceStatus(name, _texts(self._addresses), self._mtu, encode_key(self._keys.public), uptime)
        drops = driver.drops + self._naming.drops + self._port_mapping.drops
        return report(self._node, interface, self._notices, drops, now)


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _first(*events: trio.Event) -> None:
    """Wait for the first of several events."""
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(_cancel_after, event, nursery.cancel_scope)


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _texts(addresses: Iterable[IPInterface | IPNetwork]) -> list[str]:
    return [str(address) for address in addresses]
