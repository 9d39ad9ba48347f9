"""Writes the configuration that pairing comes to, as a person would write it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from p2ptun.noise.keypair import encode_key
from p2ptun.types import IPInterface, IPNetwork

_TEXT = """\
# Made by `p2ptun pair {name}`; run it with `p2ptun daemon {name}`.

[interface]
address = {addresses}
private_key_file = {private_key_file}

[rendezvous]
url = {urls}

[[peer]]
name = {peer_name}
public_key = {public_key}
{preshared_key}allowed_ips = {allowed_ips}
"""


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a configuration says after pairing. Names of files are as they stand in it."""

    name: str
    addresses: tuple[IPInterface, ...]
    private_key_file: str
    urls: tuple[str, ...]
    peer_name: str
    public_key: bytes
    preshared_key_file: str  # empty without
    allowed_ips: tuple[IPNetwork, ...]
    ca_file: str = ""


def config_text(pinned: Pinned) -> str:
    """Write it as TOML."""
    text = _TEXT.format(
        name=pinned.name,
        addresses=_list(pinned.addresses),
        private_key_file=_quoted(pinned.private_key_file),
        urls=_list(pinned.urls),
        peer_name=_quoted(pinned.peer_name),
        public_key=_quoted(encode_key(pinned.public_key)),
        preshared_key=f"preshared_key_file = {_quoted(psk)}\n" if (psk := pinned.preshared_key_file) else "",
        allowed_ips=_list(pinned.allowed_ips),
    )
    if not pinned.ca_file:
        return text
    return text.replace("\n[[peer]]", f"ca_file = {_quoted(pinned.ca_file)}\n\n[[peer]]", 1)


def _list(items: Iterable[object]) -> str:
    return f"[{', '.join(_quoted(str(each)) for each in items)}]"


def _quoted(text: str) -> str:
    """Quote text: what JSON escapes, TOML's basic strings escape alike (TOML 1.0, Strings); but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
