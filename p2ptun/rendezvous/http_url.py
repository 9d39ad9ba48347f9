"""Where a rendezvous server is: the URL that people write, checked and brought into one form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from p2ptun.errors import ConfigError
from p2ptun.signal.text import printable

KEY: Final = "--rendezvous"
MAX_QUOTED: Final = 100  # characters of a bad URL that an error repeats
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*\.?")
_PATH: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_HOW: Final = "Write https://HOST[:PORT][/PATH]."


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A server's URL in the one form that all ways to write it share; it ends with a slash."""

    text: str
    is_secure: bool

    def of(self, path: str) -> str:
        """Return the URL of what the server has under `path` (without a slash in front)."""
        return self.text + path

    def __str__(self) -> str:
        return self.text


def parse_server_url(text: str) -> ServerUrl:
    """Read the URL of a server.

    Raises:
        ConfigError: It is none that can be used. User name and password are never repeated.
    """
    if printable(text) != text or re.search(r"\s", text):
        raise _error("the URL", "holds white space or characters that can't be seen")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _error(_shown(text), "can't be read as a URL") from error
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not parts.hostname:
        raise _error(_shown(text), "is no http or https URL")
    if "@" in parts.netloc:
        raise _error(_shown(text), "holds a user name", "Leave out what stands before the '@': no server asks for it.")
    if parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
        raise _error(_shown(text), "has something after the path, or in it, that isn't one")
    host = _host(parts, text)
    written = "" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}"
    path = parts.path.strip("/")
    return ServerUrl(f"{scheme}://{host}{written}/" + (f"{path}/" if path else ""), scheme == "https")


def _host(parts: SplitResult, text: str) -> str:
    host = (parts.hostname or "").lower()
    if parts.netloc.startswith("["):
        try:
            return f"[{IPv6Address(host)}]"
        except AddressValueError as error:
            raise _error(_shown(text), "holds no IPv6 address in its brackets") from error
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise _error(_shown(text), "holds no name of a host") from error
    if not _NAME.fullmatch(host):
        raise _error(_shown(text), "holds no name of a host")
    return host


def _shown(text: str) -> str:
    before, at, host = text.rpartition("@")
    scheme = before.partition("://")[0] + "://" if "://" in before else ""
    return repr((f"{scheme}...@{host}" if at else text)[:MAX_QUOTED])


def _error(what: str, problem: str, remedy: str = _HOW) -> ConfigError:
    return ConfigError("", KEY, f"{what} {problem}", remedy)
