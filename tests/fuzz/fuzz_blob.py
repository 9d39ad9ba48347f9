"""Whatever a person may paste: only RendezvousError, and a text that could still grow is one that was cut."""

from __future__ import annotations

from p2ptun.errors import RendezvousError
from p2ptun.signal.blob import decode_blob, encode_blob, is_complete, unwrap, wrap


def refusal(text: str) -> str:
    """Return what a person is told about `text`; empty when it can be read."""
    try:
        description = decode_blob(text)
    except RendezvousError as error:
        return f"{error} {error.remedy}"
    assert decode_blob(encode_blob(description)) == description
    return ""


def test_one_input(data: bytes) -> None:
    assert unwrap(wrap(data)) == data
    for text in (data.decode(errors="replace"), data.decode("latin-1"), wrap(data)):
        said = refusal(text)
        assert is_complete(text) or said.startswith(("The blob is cut", "Nothing was pasted")), said
