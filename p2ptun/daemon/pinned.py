"""A tunnel between two machines that know each other, for as long as the machine runs: what `p2ptun daemon` does.

It is in the room of the two all the time. When the other side comes, both say how they can be reached, and go on saying
it while there is no path; once there is one, that goes through the tunnel. When the other side comes anew, it is met
anew. Nothing ends it but a signal.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, NoReturn

import trio

from p2ptun.aead.algorithm import available_algorithms
from p2ptun.daemon.attendance import Attendance
from p2ptun.daemon.config import TunnelConfig
from p2ptun.daemon.event import Event, InterfaceEvent, PeerEvent, ProgressEvent
from p2ptun.daemon.introduction import describe
from p2ptun.daemon.options import AdhocOptions
from p2ptun.daemon.outcome import remedy
from p2ptun.daemon.tunnel import Tunnel, texts
from p2ptun.errors import AuthenticationFailed, ConfigError, MalformedPacket
from p2ptun.ice.event import RestartReason
from p2ptun.ice.nat_hint import NatHint
from p2ptun.ice.role import Role
from p2ptun.io import netlink
from p2ptun.node.event import (
    FailureReason,
    GatheringCompleted,
    LocalCandidateFound,
    LocalCandidateRemoved,
    NodeEvent,
    PeerRestarted,
    PeerState,
    PeerStateChanged,
)
from p2ptun.node.link import Identity
from p2ptun.node.parameters import IceParameters
from p2ptun.node.peer import Peer
from p2ptun.rendezvous.base import Context, IceServers, Notice, Rendezvous
from p2ptun.rendezvous.line import LineReader
from p2ptun.rendezvous.registry import open_rendezvous
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard, Met
from p2ptun.signal.description import Description, Kind
from p2ptun.signal.letter import Letter, decode_letter, encode_letter
from p2ptun.signal.pinned import kind_of, static_secret
from p2ptun.tunnel.admission import TokenBucket
from p2ptun.tunnel.psk import PskSource, mix_psks
from p2ptun.types import IPInterface, IPNetwork

STALE: Final = (GatheringCompleted, LocalCandidateFound, LocalCandidateRemoved, PeerRestarted, PeerStateChanged)
"""What may make the last letter out of date, or a letter the only way to say something."""

WELL: Final = (PeerState.CONNECTED, PeerState.IDLE)
"""Where a peer stands when the tunnel itself carries what there is to say."""

LETTERS_PER_SECOND: Final = 0.1
LETTER_BURST: Final = 10
"""The other side takes no more news than that in the long run (`node.signalling`)."""

REVIVAL: Final = (5.0, 15.0)
"""Seconds, from and to, after which a peer that failed is begun anew; drawn, so that both sides don't at once."""

LOSS_REMINDER_AFTER: Final = 10.0  # seconds: most losses of a path are over by then
NO_CONNECTION: Final = "no-connection"
RENDEZVOUS: Final = "rendezvous"
"""The notice that stands while the rendezvous can't be reached."""

STDIN: Final = 0
MET_ANEW: Final = "the other side has started anew"


class PinnedTunnel:
    """The tunnel of one configuration. `emit` is told what happens, as it happens."""

    def __init__(self, config: TunnelConfig, emit: Callable[[Event], None]) -> None:
        """Raises ConfigError when the other side's key is no key."""
        self._config = config
        self._kind = kind_of(config.keys.public, config.peer.public_key)
        try:
            self._secret = static_secret(config.keys, config.peer.public_key)
        except AuthenticationFailed as error:
            remedy = "Copy what p2ptun pubkey prints on the other side."
            raise ConfigError(str(config.path), "peer.public_key", "this is nobody's key", remedy) from error
        self._tunnel = Tunnel(_options(config), config.keys, emit)
        self._attendance: Attendance
        self._peer: Peer
        self._own: Description | None = None
        self._told = -1
        self._admitted = TokenBucket(LETTERS_PER_SECOND, LETTER_BURST)
        self._news = trio.Event()
        self._failed = trio.Event()

    async def run(self) -> None:
        """Carry traffic until a signal, and clean up.

        Raises:
            P2ptunError: With a sentence and a remedy for the person who called.
        """
        tunnel = self._tunnel
        self._dial()  # a place that can't be used is told before anything is opened
        async with tunnel.running() as nursery:
            await self._configure()
            self._begin_peer()
            tunnel.listeners.append(self._follow)
            self._attendance = Attendance(
                self._dial, self._secret, self._kind, tunnel.notices, self._listen, self._offer
            )
            for task in (
                self._attendance.run,
                tunnel.driver.carry,
                self._speak,
                self._revive,
                self._remind,
                self._watch_network,
                self._watch_credentials,
            ):
                nursery.start_soon(task)
            await tunnel.gathering.find_servers(tunnel.driver)

    def _dial(self) -> Rendezvous:
        """Make a rendezvous that has no connection yet. Raises ConfigError when the configuration names none."""
        notices = self._tunnel.notices
        context = Context(
            lambda line: None,
            LineReader(STDIN),
            self._config.ca_file,
            lambda message, advice: notices.warn(RENDEZVOUS, message, advice),
            lambda: notices.withdraw(RENDEZVOUS),
        )
        try:
            return open_rendezvous(self._config.rendezvous, context)
        except ConfigError as error:
            raise ConfigError(str(self._config.path), "rendezvous.url", error.problem, error.remedy) from error

    async def _configure(self) -> None:
        """Give the interface its addresses, and lead to it what the other side may have."""
        tunnel, allowed = self._tunnel, self._config.peer.allowed_ips
        has_ipv6 = netlink.supports_ipv6()
        own = tuple(each for each in self._config.addresses if has_ipv6 or each.version == 4)
        routes = routes_into(own, allowed, has_ipv6)
        await tunnel.configure(own, routes)
        tunnel.roaming.agree(own, allowed)
        hosts = [str(each.network_address) for each in allowed if each.num_addresses == 1]
        tunnel.notices.emit(InterfaceEvent(tunnel.name, texts(own), tunnel.mtu, hosts, texts(routes)))

    def _offer(self, ice: IceServers) -> None:
        self._tunnel.gathering.offer(ice)
        self._tunnel.driver.flush()

    # The peer

    def _begin_peer(self, why: str | None = None) -> None:
        """Make the peer: it gathers before anybody is there. Who offers is controlling (RFC 8445 6.1.1)."""
        role = Role.CONTROLLING if self._kind is Kind.OFFER else Role.CONTROLLED
        self._peer = self._tunnel.new_peer(self._config.peer.name, role)
        self._tunnel.notices.emit(PeerEvent(self._config.peer.name, PeerState.CONNECTING.value, why))
        self._tunnel.notices.emit(ProgressEvent(0, 0, heard=False))

    def _replace_peer(self) -> None:
        """Forget all that was between this side and a process over there that is no more."""
        self._own = None
        self._tunnel.node.remove_peer(self._peer.name, trio.current_time())
        self._tunnel.driver.flush()
        self._tunnel.narrator.start_over()
        self._begin_peer(MET_ANEW)

    def _connect(self, theirs: Description) -> None:
        """Let the node connect to the other side, which has said how it can be reached."""
        config, now = self._config.peer, trio.current_time()
        psk = {} if config.psk is None else {PskSource.CONFIGURED: config.psk}
        identity = Identity(
            config.public_key,
            config.allowed_ips,
            mix_psks(psk),
            available_algorithms(),
            context=theirs.session_id,
            is_quantum_resistant=bool(psk),
        )
        remote = IceParameters(theirs.credentials, theirs.candidates, nat=NatHint.decode(theirs.features))
        self._tunnel.narrator.began_at = now
        self._tunnel.node.connect(config.name, identity, self._config.keys, self._tunnel.mtu, remote, now)

    def _follow(self, event: NodeEvent) -> None:
        match event.event:
            case PeerRestarted(_, reason) if reason is not RestartReason.PEER:
                self._attendance.refresh()
            case PeerStateChanged(PeerState.FAILED, reason) if reason not in (None, FailureReason.PEER_CLOSED):
                self._explain(reason)
                self._failed.set()
        if isinstance(event.event, STALE):
            self._news.set()

    def _explain(self, reason: FailureReason) -> None:
        sentence = f"{reason.value[:1].upper()}{reason.value[1:]}."
        if reason is FailureReason.HANDSHAKE_FAILED:
            what_helps = "Compare public_key and preshared_key_file on both sides; `p2ptun pair` makes new ones."
        else:
            narrator = self._tunnel.narrator
            what_helps = remedy(reason, self._tunnel.options, has_relay=bool(narrator.relays))
        self._tunnel.notices.warn(NO_CONNECTION, sentence, what_helps)

    async def _revive(self) -> NoReturn:
        """Begin anew when the peer has failed and the other side does nothing about it."""
        while True:
            await self._failed.wait()
            await trio.sleep(random.uniform(*REVIVAL))
            self._failed = trio.Event()
            if self._peer.state is PeerState.FAILED and self._peer.reason is not FailureReason.PEER_CLOSED:
                self._attendance.begin_anew()

    async def _remind(self) -> NoReturn:
        """Say what a person can do when a path doesn't come back by itself soon."""
        narrator, notices = self._tunnel.narrator, self._tunnel.notices
        while True:
            await narrator.connected.wait()
            await narrator.lost.wait()
            with trio.move_on_after(LOSS_REMINDER_AFTER) as patience:
                await narrator.connected.wait()
            if patience.cancelled_caught:
                notices.warn(
                    NO_CONNECTION,
                    f"Without connection to {self._peer.name} for {LOSS_REMINDER_AFTER:g} s; it goes on trying.",
                    f"Check that `p2ptun daemon` runs on {self._peer.name}, and the network on both sides.",
                )
                await narrator.connected.wait()
                notices.withdraw(NO_CONNECTION)

    async def _watch_network(self) -> NoReturn:
        """Enter the room anew from another network: what was open in the old one is dead."""
        while True:
            await self._tunnel.narrator.moved.wait()
            self._attendance.refresh()

    async def _watch_credentials(self) -> NoReturn:
        """Fetch new credentials for the relays that the rendezvous offers, when the old ones end."""
        relays = self._tunnel.relays
        while True:
            await relays.borrowed_ended.wait()
            relays.borrowed_ended = trio.Event()
            await self._attendance.renew_ice()

    # What is said and heard

    def _listen(self, event: ConversationEvent | Notice) -> None:
        match event:
            case Met(session_id):
                self._meet(session_id)
            case Confirmed():
                self._say()
            case Heard(said):
                self._hear(said)
            case _:
                pass

    def _meet(self, session_id: bytes) -> None:
        """Begin a session; the peer that is there is good for the first one."""
        if self._own is not None:
            self._replace_peer()
        self._own = describe(self._tunnel, self._peer, self._kind, session_id)
        self._told = -1

    def _hear(self, said: bytes) -> None:
        """Take a letter. It is the other side's own, so nonsense can only be another version's."""
        own = self._own
        try:
            letter = decode_letter(said)
        except MalformedPacket:
            return
        theirs = letter.description
        if own is None or theirs.kind is own.kind or theirs.public_key != self._config.peer.public_key:
            return
        if self._peer.link is None:
            self._connect(theirs)
        self._peer.receive_signal(letter.state, trio.current_time())
        self._tunnel.driver.flush()

    def _say(self) -> None:
        """Say how this side can be reached, if that is news."""
        state = self._peer.negotiation.write()
        if self._own is not None and state.revision != self._told:
            self._told = state.revision
            self._attendance.say(encode_letter(Letter(self._own, state)))

    async def _speak(self) -> NoReturn:
        """Say what is new as long as the tunnel can't be relied on to carry it."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if not self._admitted.take(trio.current_time()):
                await trio.sleep(1 / LETTERS_PER_SECOND)
                self._admitted.take(trio.current_time())
            if self._peer.state not in WELL:
                self._say()


def routes_into(own: tuple[IPInterface, ...], allowed: tuple[IPNetwork, ...], has_ipv6: bool) -> tuple[IPNetwork, ...]:
    """Tell which routes lead to the other side, besides the networks of this side's addresses."""
    on_link = [address.network for address in own]
    return tuple(
        each
        for each in allowed
        if (has_ipv6 or each.version == 4)
        and not any(each.version == link.version and each.subnet_of(link) for link in on_link)  # type: ignore[arg-type]
    )


def _options(config: TunnelConfig) -> AdhocOptions:
    """Say what the configuration asks for as options say it."""
    return AdhocOptions(
        name=config.name,
        addresses=config.addresses,
        stun=config.ice.stun,
        turn=tuple(each.uri for each in config.ice.turn),
        relay_credentials={each.uri.host: each.credentials for each in config.ice.turn if each.credentials},
        ca_file=config.ca_file,
        path_policy=config.peer.path,
        hides_addresses=config.ice.hides_addresses,
        maps_ports=config.ice.maps_ports,
        hard_nat=config.ice.hard_nat,
        mtu=config.mtu,
        algorithms=available_algorithms(),
        rendezvous=config.rendezvous,
    )
