"""The certificate that TLS clients see."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import trio

from p2ptun.errors import ConfigError
from p2ptun.io.tls import ALPN

PROTOCOLS = (ALPN, "stun.nat-discovery")  # RFC 7443: for TURN, and for STUN as RFC 5389 and 5780 use it
OTHERS = 0o007
"""Who must have no right to the key. A group may: daemons that serve TLS often share one."""


class Certificate:
    """A certificate chain and its key, from files that may be read again."""

    def __init__(self, certificate: Path, key: Path, protocols: Sequence[str] = PROTOCOLS) -> None:
        """Read them. `protocols` is what is spoken inside, for clients that ask (ALPN, RFC 7301).

        Raises:
            ConfigError: They can't be read, or aren't what they should be.
        """
        self._certificate = certificate
        self._key = key
        self._protocols = list(protocols)
        self._context = self._load()

    def reload(self) -> None:
        """Read the files again, for streams that come from now on.

        Raises:
            ConfigError: As at first; the old certificate stays in use then.
        """
        self._context = self._load()

    def wrap(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        """Put TLS over a stream; the handshake is the caller's. Clients may end it as abruptly as they do TCP."""
        return trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)

    def _load(self) -> ssl.SSLContext:
        _check_readable(self._certificate, "--tls-cert")
        _check_readable(self._key, "--tls-key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(self._protocols)  # who names none, or others, is served as well
        try:
            # a key with a password would ask for it on the terminal: it is refused instead
            context.load_cert_chain(self._certificate, self._key, password=_refuse_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                problem = f"{self._key} isn't the key of the certificate in {self._certificate}"
                raise ConfigError("", "--tls-key", problem, "Give the two that belong together.") from error
            raise ConfigError(
                "",
                "--tls-cert",
                f"{self._certificate} and {self._key} are no PEM certificate and its key",
                "Give the whole chain, the server's own certificate first, and a key without a password.",
            ) from error
        if self._key.stat().st_mode & OTHERS:
            raise ConfigError("", "--tls-key", f"everybody can read {self._key}", f"Run: chmod o= {self._key}")
        return context


def _check_readable(path: Path, option: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        remedy = "Run it as who may read the file, or give a copy that this user may read."
        if isinstance(error, FileNotFoundError):
            remedy = "Name the file where it is: a certificate and its key, both PEM."
        raise ConfigError("", option, f"{path} can't be read ({error.strerror})", remedy) from error


def _refuse_password() -> bytes:
    return b""
