"""The blob: a description as one line of text that people copy from one machine to the other.

::

    p2p1          four characters: what it is, and the version of the form
    base64url of  length of the message (2) | message | CRC-32 of all before it, the four characters included (4)

Everything is of base64url's alphabet, without padding: no shell, mail or chat touches it. The length tells a blob that
was cut from one that was mistyped. The checksum is a CRC, not a shortened hash: it catches with certainty what people
do to lines, a wrong character, two that changed places, any damage within 32 bits, while against an attacker any
checksum without a key is as good as none.
"""

from __future__ import annotations

import base64
import string
import zlib

from p2ptun.errors import MalformedPacket, RendezvousError
from p2ptun.signal.description import Description, Kind, decode_description, encode_description
from p2ptun.signal.text import printable

MARK = "p2p"
VERSION = "1"

_HEAD = MARK + VERSION
_LENGTH_SIZE, _CHECKSUM_SIZE = 2, 4
_LENGTH_CHARACTERS = 3  # how much base64 it takes to read the length
_ALPHABET = frozenset(string.ascii_letters + string.digits + "-_")
# What mail, chat, terminals and shells put around or into a line: white space, quotes, brackets, invisible characters.
_QUOTES = "\"'`<>\u00ab\u00bb\u2018\u2019\u201c\u201d"
_INVISIBLE = "\u00a0\u00ad\u200b\u200c\u200d\u2060\ufeff"
_WRAPPING = str.maketrans("", "", string.whitespace + _QUOTES + _INVISIBLE)

_COPY_AGAIN = "Copy the whole line again, from p2p1 to its end, and paste it in one go."
_OTHER_COMMAND = "Run `p2ptun share` on one side and `p2ptun join` on the other."


def encode_blob(description: Description) -> str:
    """Write our own description as a blob."""
    return wrap(encode_description(description))


def decode_blob(text: str) -> Description:
    """Read what was pasted. Untrusted. Raises RendezvousError with a sentence for the person who pasted it."""
    return read_description(unwrap(text))


def read_description(message: bytes) -> Description:
    """Read the message that a rendezvous brought. Untrusted. Raises RendezvousError where decoding is refused."""
    try:
        return decode_description(message)
    except MalformedPacket as error:
        raise RendezvousError(
            "The other side's description arrived whole, but makes no sense to this version of p2ptun.",
            "Install the same version of p2ptun on both sides.",
        ) from error


def wrap(message: bytes) -> str:
    """Write a message as a blob."""
    body = len(message).to_bytes(_LENGTH_SIZE, "big") + message
    return _HEAD + _encode(body + _checksum(body))


def unwrap(text: str) -> bytes:
    """Return the message inside a blob. Untrusted. Raises RendezvousError that says what is wrong with the blob."""
    blob = text.translate(_WRAPPING)
    _refuse_foreign(blob)
    size = _whole_size(blob)
    if size is None or len(blob) < size:
        arrived = f"{len(blob)} of {size}" if size else f"only {len(blob)}"
        raise RendezvousError(f"The blob is cut: {arrived} characters arrived.", _COPY_AGAIN)
    data = _decode(blob[len(_HEAD) : size])
    body, checksum = data[:-_CHECKSUM_SIZE], data[-_CHECKSUM_SIZE:]
    if checksum != _checksum(body) or _HEAD + _encode(data) != blob[:size]:
        raise RendezvousError("The blob was mistyped: its checksum doesn't fit.", _COPY_AGAIN)
    if len(blob) > size:
        raise RendezvousError(f"The blob is followed by {blob[size:][:8]}..., which is no part of it.", _COPY_AGAIN)
    return body[_LENGTH_SIZE:]


def is_complete(text: str) -> bool:
    """Tell whether `unwrap` could say no better after more text than now: the blob is whole, or spoilt."""
    blob = text.translate(_WRAPPING)
    if not _HEAD.startswith(blob[: len(_HEAD)]) or not _ALPHABET.issuperset(blob):
        return True
    size = _whole_size(blob)
    return size is not None and len(blob) >= size


def check_offer(offer: Description) -> None:
    """Refuse what isn't an offer. Raises RendezvousError."""
    if offer.kind is not Kind.OFFER:
        raise RendezvousError(
            "This blob is an answer, but an offer is needed here.",
            "Paste it on the side that runs `p2ptun share`, and here what that side printed.",
        )


def check_answer(offer: Description, answer: Description) -> None:
    """Refuse what doesn't answer our `offer`. Raises RendezvousError."""
    if answer.kind is Kind.OFFER and answer.session_id == offer.session_id:
        raise RendezvousError(
            "This is the blob that this side printed itself.",
            "Give it to the other side's `p2ptun join`, and paste here what that prints.",
        )
    if answer.kind is Kind.OFFER:
        raise RendezvousError("This blob is an offer too, but an answer is needed here.", _OTHER_COMMAND)
    if answer.session_id != offer.session_id:
        raise RendezvousError(
            "This blob answers another offer than the one that was printed here.",
            "Give the newest offer to the other side's `p2ptun join`, and paste the answer to it.",
        )
    if answer.public_key == offer.public_key:
        raise RendezvousError(
            "Both sides have the same key.", "Let one of them make its own: a key belongs to one machine."
        )


def _refuse_foreign(blob: str) -> None:
    """Refuse what isn't a blob of this version. Raises RendezvousError."""
    if not blob:
        raise RendezvousError(
            "Nothing was pasted where the other side's blob belongs.", "Paste the line that begins with p2p1."
        )
    if not MARK.startswith(blob[: len(MARK)]):
        raise RendezvousError(
            "This is no p2ptun blob.", "Paste the line that the other side printed; it begins with p2p1."
        )
    wrong = next((place for place, character in enumerate(blob) if character not in _ALPHABET), None)
    if wrong is not None:
        character = printable(blob[wrong]) or f"U+{ord(blob[wrong]):04X}"
        raise RendezvousError(
            f"The blob was mistyped: its character {wrong + 1}, {character}, occurs in no blob.", _COPY_AGAIN
        )
    if not _HEAD.startswith(blob[: len(_HEAD)]):
        raise RendezvousError(
            f"The blob is of version {blob[len(MARK)]}, but this p2ptun reads version {VERSION} only.",
            "Install the same version of p2ptun on both sides.",
        )


def _whole_size(blob: str) -> int | None:
    """Tell how many characters the whole of `blob` has by its own length; None while that isn't there."""
    start, end = len(_HEAD), len(_HEAD) + _LENGTH_CHARACTERS
    if len(blob) < end:
        return None
    size = _LENGTH_SIZE + int.from_bytes(_decode(blob[start:end])[:_LENGTH_SIZE], "big") + _CHECKSUM_SIZE
    return start + (size * 4 + 2) // 3


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(_HEAD.encode() + body).to_bytes(_CHECKSUM_SIZE, "big")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Decode base64url without padding. The text must be of its alphabet, and not one character too long."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
