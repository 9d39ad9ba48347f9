"""A tunnel for as long as a command runs: what `p2ptun share` and `p2ptun join` do.

The order of things: device and sockets first (what can fail fails before a person copies anything), then gathering and
the two descriptions, then checks and handshake, then traffic until somebody stops it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import aclosing
from typing import NoReturn

import trio

from p2ptun.daemon.agreement import Agreement, agree
from p2ptun.daemon.code_introduction import CodeIntroduction
from p2ptun.daemon.event import Event, InterfaceEvent, ProgressEvent, ReachingEvent
from p2ptun.daemon.group import single_error
from p2ptun.daemon.introduction import Introduced, Introduction, PasteIntroduction
from p2ptun.daemon.options import AdhocOptions, Side
from p2ptun.daemon.outcome import Outcome, remedy, sentence
from p2ptun.daemon.reunion import Reunion
from p2ptun.daemon.tunnel import Tunnel, texts
from p2ptun.errors import AuthenticationFailed, RendezvousError
from p2ptun.ice.config import PAC_TIMEOUT
from p2ptun.ice.nat_hint import NatHint
from p2ptun.ice.role import Role
from p2ptun.io import netlink
from p2ptun.node.event import FailureReason
from p2ptun.node.link import Identity
from p2ptun.node.parameters import IceParameters
from p2ptun.node.peer import Peer
from p2ptun.noise.keypair import KeyPair
from p2ptun.rendezvous.base import Context, Preparing, Rendezvous
from p2ptun.rendezvous.line import LineReader
from p2ptun.rendezvous.registry import PASTE, open_rendezvous
from p2ptun.rendezvous.together import first_of
from p2ptun.signal.description import terms
from p2ptun.tunnel.psk import PskSource, mix_psks

PEER = "peer"
"""What the other side of an ad hoc tunnel is called: it has no other name here."""

STDIN = 0
CARRYING_PATIENCE = 24 * 3600.0
"""How long the joining side goes on checking while a person carries its answer over."""

REMINDER_AFTER = 60.0  # seconds
PROGRESS_INTERVAL = 0.1  # seconds: what an eye takes for at once
LOSS_REMINDER_AFTER = 10.0  # seconds: most losses of a path are over by then
NO_CONNECTION = "no-connection"
RENDEZVOUS = "rendezvous"
"""The notice that stands while the rendezvous can't be reached, and is missed."""


class AdhocTunnel:
    """One tunnel, from `run` to its end. `emit` is told what happens, as it happens; `show` prints lines to carry."""

    def __init__(
        self, options: AdhocOptions, side: Side, show: Callable[[str], None], emit: Callable[[Event], None]
    ) -> None:
        self._options = options
        self._side = side
        self._show = show
        self._tunnel = Tunnel(options, KeyPair.generate(os.urandom), emit)
        self._narrator, self._notices = self._tunnel.narrator, self._tunnel.notices
        self._peer: Peer

    async def run(self) -> Outcome:
        """Bring the tunnel up, carry traffic until a signal or the other side ends it, and clean up.

        Raises:
            P2ptunError: With a sentence and a remedy for the person who called.
        """
        outcome = Outcome.STOPPED
        lines = LineReader(STDIN)
        rendezvous = open_rendezvous(self._options.rendezvous, self._context(lines))
        with single_error():
            async with aclosing(rendezvous), trio.open_nursery() as early:
                if isinstance(rendezvous, Preparing):
                    early.start_soon(rendezvous.prepare)
                async with self._tunnel.running() as nursery:
                    outcome = await self._connect(rendezvous, lines, nursery)
                early.cancel_scope.cancel()
        return outcome

    def _context(self, lines: LineReader) -> Context:
        return Context(
            self._show,
            lines,
            self._options.ca_file,
            lambda message, advice: self._notices.warn(RENDEZVOUS, message, advice),
            lambda: self._notices.withdraw(RENDEZVOUS),
        )

    def _new_peer(self) -> Peer:
        """Make the peer. Who offers is controlling (RFC 8445 6.1.1); a conflict would cost a round trip."""
        if self._side is Side.SHARE:
            return self._tunnel.new_peer(PEER, Role.CONTROLLING)
        is_carried = self._options.code is None
        return self._tunnel.new_peer(PEER, Role.CONTROLLED, CARRYING_PATIENCE if is_carried else PAC_TIMEOUT)

    async def _introduction(self, rendezvous: Rendezvous, lines: LineReader) -> Introduction:
        """Choose how the two sides come to know each other: by sealed letters where there is a code, else by people."""
        if self._options.rendezvous != (PASTE,):
            self._notices.emit(ReachingEvent(list(self._options.rendezvous)))
        room = None if self._options.code is not None else await rendezvous.open_room()
        if room is not None and room.number is None:
            return PasteIntroduction(self._tunnel, self._peer, self._side, room)
        return CodeIntroduction(self._tunnel, self._peer, self._side, rendezvous, lines, room)

    async def _connect(self, rendezvous: Rendezvous, lines: LineReader, nursery: trio.Nursery) -> Outcome:
        """Do everything from gathering to the end of the tunnel."""
        introduction: Introduction | None = None
        with self._patience() as patience:
            self._peer = self._new_peer()
            introduction = await self._introduction(rendezvous, lines)
            introduced = await introduction.introduce(nursery)
            agreement = await self._configure(introduced)
            self._tunnel.roaming.agree(agreement.own + agreement.peer)
            self._meet(agreement, introduced)
            self._tunnel.driver.flush()
            nursery.start_soon(self._tunnel.driver.carry)
            await introduction.complete(introduced, nursery)
            nursery.start_soon(self._ask_after_the_other_side)
            await self._await_connection()
            self._prepare_reunion(introduction, introduced, rendezvous, nursery)
        if introduction is not None:
            nursery.start_soon(introduction.part)
        while not patience.cancelled_caught and not self._narrator.ended.is_set():
            await first_of([self._narrator.lost.wait, self._narrator.ended.wait])
            if self._narrator.ended.is_set():
                break
            with self._patience() as patience:
                await self._await_connection()
            self._notices.withdraw(NO_CONNECTION)
        if patience.cancelled_caught:
            self._tell_timeout(has_place=introduction is not None and introduction.has_place)
            return Outcome.TIMED_OUT
        return self._outcome()

    def _prepare_reunion(
        self, introduction: Introduction, introduced: Introduced, rendezvous: Rendezvous, nursery: trio.Nursery
    ) -> None:
        """Watch over the tunnel, where the two sides have a secret by which they can meet again."""
        if isinstance(introduction, CodeIntroduction) and self._narrator.has_met:
            own = introduced.offer if self._side is Side.SHARE else introduced.answer
            secret, kind = introduction.standing_secret, self._side.kind
            nursery.start_soon(Reunion(self._tunnel, self._peer, rendezvous, secret, kind, lambda: own).run)

    def _patience(self) -> trio.CancelScope:
        """Limit the time without a connection to what the person asked for."""
        limit = self._options.timeout
        return trio.CancelScope() if limit is None else trio.move_on_after(limit)

    def _tell_timeout(self, *, has_place: bool) -> None:
        """Say that the person's patience is over, and what to try: `has_place` where a rendezvous has answered."""
        again = " again" if self._narrator.has_met else ""
        more = "Give it more with --timeout."
        if not has_place:
            more = "The rendezvous hasn't answered: check its URL, and that the server runs."
        elif self._narrator.began_at is not None and not self._narrator.has_met and self._peer.path is None:
            more += f" {self._what_helps(FailureReason.NO_PATH)}"
        self._notices.tell(f"Not connected{again} after {self._options.timeout:g} s.", more)

    def _outcome(self) -> Outcome:
        """Tell how it ended, and the person why."""
        if self._narrator.reason is FailureReason.PEER_CLOSED:
            return Outcome.PEER_CLOSED
        if self._narrator.reason is not None:
            self._notices.tell(sentence(self._narrator.reason), self._what_helps(self._narrator.reason))
        return Outcome.FAILED

    def _what_helps(self, reason: FailureReason) -> str:
        return remedy(reason, self._options, has_relay=bool(self._narrator.relays))

    # The tunnel

    async def _configure(self, introduced: Introduced) -> Agreement:
        """Give the interface its addresses and routes."""
        routes = await trio.to_thread.run_sync(netlink.list_routes)
        used = self._tunnel.used + [route.destination for route in routes]
        agreement = agree(self._side.kind, introduced.offer, introduced.answer, used, netlink.supports_ipv6())
        await self._tunnel.configure(agreement.own, agreement.routes)
        own, peer, leading = (texts(each) for each in (agreement.own, agreement.peer, agreement.routes))
        self._notices.emit(InterfaceEvent(self._tunnel.name, own, self._tunnel.mtu, peer, leading))
        for network in agreement.refused:
            self._notices.warn(
                f"refused-{network}",
                f"The other side offers {network}, which is in use here or isn't private: it isn't routed there.",
                "Let the other side offer a private network that is free here with --route, such as 192.168.5.0/24.",
            )
        return agreement

    def _meet(self, agreement: Agreement, introduced: Introduced) -> None:
        """Let the node connect to the other side."""
        offer, answer = introduced.offer, introduced.answer
        theirs = answer if self._side is Side.SHARE else offer
        secrets = dict(introduced.secrets)
        if self._options.psk:
            secrets[PskSource.CONFIGURED] = self._options.psk
        identity = Identity(
            theirs.public_key,
            agreement.allowed_ips,
            mix_psks(secrets),
            self._options.algorithms,
            self._options.rekey_interval,
            terms(offer, answer),
            is_quantum_resistant=bool(secrets.keys() & {PskSource.CONFIGURED, PskSource.ML_KEM_768}),
        )
        now = trio.current_time()
        if self._side is Side.SHARE and self._narrator.began_at is None:
            self._narrator.began_at = now
        remote = IceParameters(theirs.credentials, theirs.candidates, nat=NatHint.decode(theirs.features))
        try:
            self._tunnel.node.connect(PEER, identity, self._tunnel.keys, self._tunnel.mtu, remote, now)
        except AuthenticationFailed as error:
            raise RendezvousError("The other side's key is no key.", "Start again on both sides.") from error

    async def _await_connection(self) -> None:
        """Wait until the tunnel is up or has failed, telling how the checks go."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_progress)
            if self._narrator.has_met:
                nursery.start_soon(self._remind_of_the_loss)
            await first_of([self._narrator.connected.wait, self._narrator.ended.wait])
            nursery.cancel_scope.cancel()

    async def _tell_progress(self) -> NoReturn:
        """Tell how the checks go, as they go."""
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
