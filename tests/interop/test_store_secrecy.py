"""All that a server's store ever held while two sides met by a code: nothing that is nobody else's business.

The server is `p2ptun serve`, the store a file, the two sides the daemon's own parts over HTTP. Nothing has been taken
out of the store when it is read: the room isn't burnt yet.
"""

from __future__ import annotations

import base64
from pathlib import Path

import trio

from p2ptun.daemon.introduction import Introduced
from p2ptun.daemon.options import Side
from p2ptun.rendezvous.base import Context, Rendezvous
from p2ptun.rendezvous.line import LineReader
from p2ptun.rendezvous.registry import open_rendezvous
from p2ptun.signal.code import Code
from p2ptun.types import Endpoint
from tests.daemon.person import Person
from tests.interop.web_serving import WebServing

ALICE, BOB = Endpoint.of("192.0.2.77", 41641), Endpoint.of("2001:db8:77::5", 41642)


def at(server: WebServing) -> Rendezvous:
    return open_rendezvous((server.url,), Context(print, LineReader(0)))


async def meet(server: WebServing, directory: Path) -> tuple[Person, Person, bytes]:
    """Let two sides meet; return them and what the store holds then."""
    alice = Person(Side.SHARE, at(server))
    async with trio.open_nursery() as nursery:
        alice.peer.add_local_address(ALICE, trio.current_time())
        nursery.start_soon(alice.run, nursery)
        with trio.fail_after(10):
            await alice.coded.wait()
            bob = Person(Side.JOIN, at(server), alice.codes()[0])
            bob.peer.add_local_address(BOB, trio.current_time())
            await bob.run(nursery)
            await alice.done.wait()
        held = await trio.to_thread.run_sync(content, directory)
        for each in (alice, bob):
            await each.introduction.part()
            await each.rendezvous.aclose()
        nursery.cancel_scope.cancel()
    return alice, bob, held


def content(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


def private(person: Person, endpoint: Endpoint, code: Code) -> dict[str, bytes]:
    """Name what of a side must not be found."""
    credentials, result = person.peer.agent.local_credentials, person.result
    assert isinstance(result, Introduced), result
    shown = {f"secret {source.name}": secret for source, secret in result.secrets.items()}
    return shown | {
        "address": endpoint.address.packed,
        "address in text": str(endpoint.address).encode(),
        "public key": person.tunnel.keys.public,
        "ufrag": credentials.ufrag.encode(),
        "packed ufrag": base64.b64decode(credentials.ufrag),
        "password": credentials.password.encode(),
        "packed password": base64.b64decode(credentials.password),
        "words": str(code).partition("-")[2].encode(),
        "standing secret": person.introduction.standing_secret,
    }


def forms(needle: bytes) -> list[bytes]:
    """List how something may stand in a text: as it is, as digits, and in base64, wherever it began."""
    padded = [base64.b64encode(bytes(before) + needle)[(before * 4 + 2) // 3 : -4] for before in range(3)]
    return [needle, needle.hex().encode(), *padded, *(each.translate(bytes.maketrans(b"+/", b"-_")) for each in padded)]


def test_the_store_never_held_anything_private(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    directory.mkdir()
    with WebServing(tmp_path, "--store", f"sqlite:{directory / 'rooms.db'}") as server:
        alice, bob, held = trio.run(meet, server, directory)
    code = alice.codes()[0]
    assert len(held) > 4096, "the letters are in it"
    for person, endpoint in ((alice, ALICE), (bob, BOB)):
        for name, needle in private(person, endpoint, code).items():
            assert not any(len(form) > 3 and form in held for form in forms(needle)), f"{person.side.value}: {name}"
