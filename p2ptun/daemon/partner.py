"""The other side of a tunnel whose machines know each other: met in their room, and met anew when it begins anew."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, NoReturn

import trio

from p2ptun.aead.algorithm import available_algorithms
from p2ptun.daemon.attendance import Attendance
from p2ptun.daemon.config import PeerConfig
from p2ptun.daemon.event import PeerEvent, ProgressEvent
from p2ptun.daemon.introduction import describe
from p2ptun.daemon.outcome import sentence
from p2ptun.daemon.tunnel import Tunnel
from p2ptun.errors import AuthenticationFailed, ConfigError, MalformedPacket
from p2ptun.ice.config import PathPolicy
from p2ptun.ice.event import RestartReason
from p2ptun.ice.nat_hint import NatHint
from p2ptun.ice.role import Role
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
from p2ptun.rendezvous.base import IceServers, Notice, Rendezvous
from p2ptun.signal.conversation import Confirmed, ConversationEvent, Heard, Met
from p2ptun.signal.description import Description, Kind
from p2ptun.signal.letter import Letter, decode_letter, encode_letter
from p2ptun.signal.pinned import kind_of, static_secret
from p2ptun.tunnel.admission import TokenBucket
from p2ptun.tunnel.psk import PskSource, mix_psks

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
REMEDIES: Final = {
    FailureReason.NO_PATH: (
        "Check that UDP isn't blocked, and on both sides name STUN servers in [ice], or on one a relay in [[ice.turn]]."
    ),
    FailureReason.CONSENT_EXPIRED: "Check the network on both sides.",
    FailureReason.HANDSHAKE_FAILED: (
        "Compare public_key and preshared_key_file on both sides; `p2ptun pair` makes new ones."
    ),
}
"""What a configuration can change; whoever reads it gave no options."""

ALLOW_RELAY: Final = 'Allow a relay with path = "any" in [[peer]], and name one in [[ice.turn]].'
MET_ANEW: Final = "the other side has started anew"


class Partner:
    """One machine that ours knows, in one tunnel. It is met for as long as `run` runs.

    While there is no path, both sides say in their room how they can be reached, and go on saying it; once there is
    one, that goes through the tunnel.
    """

    def __init__(self, tunnel: Tunnel, config: PeerConfig, dial: Callable[[], Rendezvous]) -> None:
        """`dial` makes a rendezvous that has no connection yet.

        Raises:
            ConfigError: The other side's key is no key.
        """
        self._tunnel = tunnel
        self._config = config
        self._kind = kind_of(tunnel.keys.public, config.public_key)
        try:
            secret = static_secret(tunnel.keys, config.public_key)
        except AuthenticationFailed as error:
            advice = "Copy what p2ptun pubkey prints on the other side."
            raise ConfigError("", "peer.public_key", "this is nobody's key", advice) from error
        self._attendance = Attendance(dial, secret, self._kind, tunnel.notices, self.listen, self._offer)
        self._peer: Peer
        self._own: Description | None = None
        self._told = -1
        self._admitted = TokenBucket(LETTERS_PER_SECOND, LETTER_BURST)
        self._news = trio.Event()
        self._failed = trio.Event()

    async def run(self) -> NoReturn:
        """Meet it, again and again, until cancelled."""
        self.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._attendance.run)
            nursery.start_soon(self._speak)
            nursery.start_soon(self._revive)
            nursery.start_soon(self._remind)
            nursery.start_soon(self._watch_network)
            nursery.start_soon(self._watch_credentials)
        raise AssertionError("they run for ever")  # pragma: no cover

    # The peer

    def begin(self, why: str | None = None) -> None:
        """Make the peer: it gathers before anybody is there. Who offers is controlling (RFC 8445 6.1.1)."""
        if self.follow not in self._tunnel.listeners:
            self._tunnel.listeners.append(self.follow)
        role = Role.CONTROLLING if self._kind is Kind.OFFER else Role.CONTROLLED
        self._peer = self._tunnel.new_peer(self._config.name, role)
        self._tunnel.notices.emit(PeerEvent(self._config.name, PeerState.CONNECTING.value, why))
        self._tunnel.notices.emit(ProgressEvent(0, 0, heard=False))

    def follow(self, event: NodeEvent) -> None:
        """Take an event of the node."""
        if event.peer != self._config.name:
            return
        match event.event:
            case PeerRestarted(_, reason) if reason is not RestartReason.PEER:
                self._attendance.refresh()
            case PeerStateChanged(PeerState.FAILED, reason) if reason not in (None, FailureReason.PEER_CLOSED):
                self._explain(reason)
                self._failed.set()
        if isinstance(event.event, STALE):
            self._news.set()

    def _replace_peer(self, why: str | None) -> None:
        """Forget all that was between this side and the other one, which is of no more use."""
        self._own = None
        self._tunnel.node.remove_peer(self._peer.name, trio.current_time())
        self._tunnel.driver.flush()
        self._tunnel.narrator.start_over()
        self.begin(why)

    def _connect(self, theirs: Description) -> None:
        """Let the node connect to the other side, which has said how it can be reached."""
        config, now = self._config, trio.current_time()
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
        self._tunnel.node.connect(config.name, identity, self._tunnel.keys, self._tunnel.mtu, remote, now)

    def _explain(self, reason: FailureReason) -> None:
        needs_relay = reason is FailureReason.NO_PATH and self._config.path is PathPolicy.DIRECT
        what_helps = ALLOW_RELAY if needs_relay else REMEDIES[reason]
        self._tunnel.notices.warn(NO_CONNECTION, sentence(reason), what_helps)

    async def _revive(self) -> NoReturn:
        """Begin anew when the peer has failed and the other side does nothing about it."""
        while True:
            await self._failed.wait()
            await trio.sleep(random.uniform(*REVIVAL))
            self._failed = trio.Event()
            if self._peer.state is PeerState.FAILED and self._peer.reason is not FailureReason.PEER_CLOSED:
                self._replace_peer(None)
                self._attendance.begin_anew()

    async def _remind(self) -> NoReturn:
        """Say what a person can do when a path doesn't come back by itself soon."""
        narrator, notices = self._tunnel.narrator, self._tunnel.notices
        while True:
            await narrator.connected.wait()
            notices.withdraw(NO_CONNECTION)
            await narrator.lost.wait()
            with trio.move_on_after(LOSS_REMINDER_AFTER) as patience:
                await narrator.connected.wait()
            if patience.cancelled_caught:
                name = self._config.name
                notices.warn(
                    NO_CONNECTION,
                    f"Without connection to {name} for {LOSS_REMINDER_AFTER:g} s; it goes on trying.",
                    f"Check that `p2ptun daemon` runs on {name}, and the network on both sides.",
                )

    # The room

    def _offer(self, ice: IceServers) -> None:
        self._tunnel.gathering.offer(ice)
        self._tunnel.driver.flush()

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

    def listen(self, event: ConversationEvent | Notice) -> None:
        """Take what the conversation in the room tells."""
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
            self._replace_peer(MET_ANEW)
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
        if own is None or theirs.kind is own.kind or theirs.session_id != own.session_id:
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
