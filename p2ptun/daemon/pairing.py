"""Lets two machines get to know each other for good: what `p2ptun pair` does, after which they need no code any more.

Each side ends with a configuration, its own key and a secret that only the two have; or with nothing, when it came to
nothing. How the two keep in step stands in `signal.acquaintance`.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Final

import trio

from p2ptun.daemon.acquainting import AGAIN, Acquainting
from p2ptun.daemon.agreement import Agreement, agree
from p2ptun.daemon.config import SUFFIX
from p2ptun.daemon.config_text import Pinned, config_text
from p2ptun.daemon.event import ErrorEvent, Event, PairedEvent, VerifyEvent
from p2ptun.daemon.group import single_error
from p2ptun.daemon.new_files import NewFiles
from p2ptun.daemon.pair_options import PairOptions, check_files, clean_name
from p2ptun.daemon.room_problem import burn_reason
from p2ptun.daemon.verification import confirm_words
from p2ptun.errors import P2ptunError, RendezvousError
from p2ptun.ice.credential import Credentials
from p2ptun.io import netlink
from p2ptun.noise.keypair import KeyPair, encode_key
from p2ptun.rendezvous.base import BurnReason, Rendezvous
from p2ptun.rendezvous.line import LineReader
from p2ptun.signal.acquaintance import Acquaintance, Stage
from p2ptun.signal.address import bid
from p2ptun.signal.description import Description, Kind
from p2ptun.tunnel.psk import PskSource, mix_psks
from p2ptun.types import IPNetwork

LAST_WORD: Final = 15.0
"""Seconds to wait for the other side to say that it has kept its files as well: it is a program that answers."""


class Pairing:
    """One pairing, from `run` to its end. `emit` is told what happens."""

    def __init__(
        self, options: PairOptions, rendezvous: Rendezvous, lines: LineReader, emit: Callable[[Event], None]
    ) -> None:
        """`lines` are what the person types."""
        self._options = options
        self._rendezvous = rendezvous
        self._lines = lines
        self._emit = emit
        self._keys = options.keys or KeyPair.generate(os.urandom)
        self._files = NewFiles(options.directory)
        self._used: list[IPNetwork] = []
        self._acquainting = Acquainting(options.kind, options.host_name, self._describe, emit)

    async def run(self) -> None:
        """Do as `pair`, until a signal. Raises P2ptunError then, too."""
        is_over = False
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals, single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
                await self.pair()
                is_over = True
                nursery.cancel_scope.cancel()
        if not is_over:
            raise P2ptunError("The pairing was interrupted.", f"{self._end()} {AGAIN}")

    async def pair(self) -> None:
        """Pair, and tell what was written.

        Raises:
            WrongCode: Somebody had another code, or the person saw other words than the other side.
            P2ptunError: It came to nothing; what was written is gone again, or the sentence says what is left.
        """
        limit = self._options.timeout
        check_files(self._options)
        self._used = await trio.to_thread.run_sync(netlink.existing_networks)
        with single_error(), trio.move_on_after(math.inf if limit is None else limit) as patience:
            async with aclosing(self._rendezvous), trio.open_nursery() as nursery:
                self._emit(await self._pair(nursery))
                nursery.cancel_scope.cancel()
        if patience.cancelled_caught:
            raise P2ptunError(f"Not paired after {limit:g} s.", f"{self._end()} Give it more with --timeout.")

    def _end(self) -> str:
        """Tell what there is in the end."""
        left = ", ".join(map(str, self._files.paths))
        return f"There is {left} now." if left else "Nothing was written."

    async def _pair(self, nursery: trio.Nursery) -> PairedEvent:
        reason = BurnReason.LEFT
        try:
            await self._acquainting.enter(self._rendezvous, self._options.code)
            nursery.start_soon(self._acquainting.run)
            paired = await self._get_acquainted()
            reason = BurnReason.DONE
        except RendezvousError as error:
            reason = burn_reason(error)
            raise
        finally:
            if reason is not BurnReason.DONE:
                self._take_back()
            await self._acquainting.leave(reason)
        return paired

    def _take_back(self) -> None:
        """Take back what was written, unless the other side may rely on it; and say so where it may have kept its own.

        Once this side has said that it keeps its files, the other one does as well: then they stay, whatever comes,
        but for its own word that it has given up.
        """
        other = self._acquainting
        if other.stage is Stage.PREPARED:
            other.say(Stage.WITHDRAWN)
        if other.stage not in (Stage.KEPT, Stage.COMPLETE) or other.has_withdrawn:
            self._files.discard()

    async def _get_acquainted(self) -> PairedEvent:
        """Say who we are, hear who the other side is, and keep it when both can."""
        other = self._acquainting
        confirmed = await other.confirmed()
        theirs = await other.reached(Stage.PROPOSED)
        if self._options.verifies:
            await self._verify(confirmed.verifier)
        agreement = self._agree(theirs.description)
        pinned = self._prepare(agreement, theirs, _lasting_secret(confirmed.secrets))
        other.say(Stage.PREPARED)
        await other.reached(Stage.PREPARED)
        self._files.keep()
        other.say(Stage.KEPT)
        if not await self._has_heard(Stage.KEPT):
            remedy = f"If it has, all is well. If not, pair again after: rm {' '.join(map(str, self._files.paths))}"
            raise P2ptunError("The other side didn't say whether it has written its files.", remedy)
        other.say(Stage.COMPLETE)
        await self._has_heard(Stage.COMPLETE)
        return PairedEvent(
            name=self._options.name,
            peer=pinned.peer_name,
            files=[str(path) for path in self._files.paths],
            addresses=[str(address) for address in agreement.own],
            peer_addresses=[str(address) for address in agreement.peer],
            peer_routes=[str(each) for each in agreement.offered],
        )

    async def _has_heard(self, stage: Stage) -> bool:
        """Wait for the other side to come so far. Raises RendezvousError when it says that it has given up."""
        try:
            with trio.move_on_after(LAST_WORD):
                await self._acquainting.reached(stage)
                return True
        except RendezvousError:
            if self._acquainting.has_withdrawn:
                raise
        return False

    async def _verify(self, words: tuple[str, ...]) -> None:
        """Have the person compare words. Raises WrongCode when they differ, or nobody says so."""
        self._emit(VerifyEvent(list(words)))
        await confirm_words(self._lines, lambda message, advice: self._emit(ErrorEvent(message, advice)), AGAIN)

    def _describe(self, session_id: bytes) -> Description:
        """Describe this side; nothing in it is about ICE, whose credentials are drawn because they have a place."""
        return Description(
            kind=self._options.kind,
            session_id=session_id,
            credentials=Credentials.generate(os.urandom),
            public_key=self._keys.public,
            addresses=self._options.addresses,
            address_bids=bid(session_id, self._used),
            routes=self._options.routes,
        )

    def _agree(self, theirs: Description) -> Agreement:
        """Work out the addresses. Raises RendezvousError."""
        own = self._acquainting.own
        assert own is not None  # noqa: S101 (it was said before anything was heard)
        if theirs.public_key == own.public_key:
            raise RendezvousError(
                "Both sides have the same key.", "Let one of them make its own: a key belongs to one machine."
            )
        offer, answer = (own, theirs) if own.kind is Kind.OFFER else (theirs, own)
        agreement = agree(own.kind, offer, answer, self._used, netlink.supports_ipv6())
        for network in agreement.refused:
            self._emit(
                ErrorEvent(
                    f"The other side offers {network}, which is in use here or isn't private: it isn't routed there.",
                    "Let the other side offer a private network that is free here with --route.",
                )
            )
        return agreement

    def _prepare(self, agreement: Agreement, theirs: Acquaintance, psk: bytes) -> Pinned:
        """Write the files, under names that nobody looks for; the configuration last, for it names the others."""
        options = self._options
        key_name = f"{options.name}.key" if options.key_file is None else str(options.key_file)
        pinned = Pinned(
            name=options.name,
            addresses=agreement.own,
            private_key_file=key_name,
            urls=options.rendezvous,
            peer_name=options.peer_name or clean_name(theirs.name),
            public_key=theirs.description.public_key,
            preshared_key_file=f"{options.name}.psk" if psk else "",
            allowed_ips=agreement.allowed_ips,
            ca_file="" if options.ca_file is None else str(options.ca_file),
        )
        if options.key_file is None:
            self._files.prepare(key_name, encode_key(self._keys.private) + "\n")
        if psk:
            self._files.prepare(pinned.preshared_key_file, encode_key(psk) + "\n")
        self._files.prepare(f"{options.name}{SUFFIX}", config_text(pinned))
        return pinned


def _lasting_secret(secrets: dict[PskSource, bytes]) -> bytes:
    """Mix what is kept as the tunnel's pre-shared key; empty where one side can't do ML-KEM.

    A configured key counts as one that a quantum computer doesn't find out. What SPAKE2 alone gives, it does, out of
    what the rendezvous has recorded; beside keys that were exchanged in that same conversation it adds nothing.
    """
    return mix_psks(secrets) if PskSource.ML_KEM_768 in secrets else b""


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
