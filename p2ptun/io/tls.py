"""TLS over a stream: who we believe, and the session itself. No socket in it but that of `Stream`."""

from __future__ import annotations

import logging
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import cast

import trio

from p2ptun.errors import ConfigError
from p2ptun.io.refusal import send_error
from p2ptun.io.stream import Stream
from p2ptun.signal.text import printable
from p2ptun.types import SendError

ALPN = "stun.turn"  # RFC 7443
READ_SIZE = 1 << 16  # bytes read at once
RECORD_SIZE = 1 << 14
"""Bytes encrypted at once: a full record (RFC 8446 5.1). What is encrypted can't be overtaken or dropped any more."""

logger = logging.getLogger(__name__)


class Trust:
    """Who may vouch for a server's name: the authorities that this machine trusts, and those in `ca_file` (PEM).

    `alpn` is the protocol that is spoken inside (RFC 7301).
    """

    def __init__(self, ca_file: Path | None = None, alpn: str = ALPN) -> None:
        self._ca_file = ca_file
        self._alpn = alpn
        self._context: ssl.SSLContext | None = None
        self._lock = trio.Lock()

    async def context(self) -> ssl.SSLContext:
        """Return what sessions are made with. It is made once, in a thread: reading all authorities takes 20 ms.

        Raises:
            ConfigError: If the file can't be used.
        """
        async with self._lock:
            if self._context is None:
                self._context = await trio.to_thread.run_sync(_load, self._ca_file, self._alpn)
            return self._context


class TlsStream(Stream):
    """A connection with TLS in it. Frames wait until the server has proved its name.

    `problem` says why it hasn't, or why TLS has ended.
    """

    def __init__(self, sock: socket.socket, name: str, trust: Trust) -> None:
        """`name` is what the certificate has to name: a host, or an IP address."""
        super().__init__(sock)
        self._name = name
        self._trust = trust
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session: ssl.SSLObject | None = None
        self._is_secure = False
        self._unsent = b""

    @property
    def is_ready(self) -> bool:
        """Tell whether the server has proved its name."""
        return self._is_secure

    @property
    def wants_room(self) -> bool:
        """Tell whether something waits for room in the stream, or for the end of the handshake of TCP."""
        if self._session is None or not self.is_connected:
            return True
        return bool(self._unsent) or self._outgoing.pending > 0 or (self._is_secure and bool(self.queue))

    async def prepare(self) -> SendError | None:
        """Make the session, which `flush` begins; say why there can't be one."""
        if self._session is not None:
            return None
        try:
            context = await self._trust.context()
            self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=self._name.rstrip("."))
        except ConfigError as error:
            self.problem = str(error)
            return SendError.UNTRUSTED
        except ValueError:  # from wrap_bio, UnicodeError included
            self.problem = f"No certificate can name {printable(self._name)}."
            return SendError.UNTRUSTED
        return None

    def flush(self) -> SendError | None:
        """Go on with the handshake; let the stream take what waits. Say why when it has ended."""
        refusal = self._shake_hands()
        try:
            while self._encrypt():
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except ssl.SSLError as error:
            return self._end(error)
        except OSError as error:
            return refusal or send_error(error.errno)
        return refusal

    def receive(self, view: memoryview) -> int | SendError:
        """Read into `view`, after the rest of the last time; return how much there is now, or why no more comes.

        `view` has room for the rest and READ_SIZE twice: part of a record may be left from the last time.
        """
        held = len(self.rest)
        view[:held] = self.rest
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return held
        except OSError as error:
            return send_error(error.errno)
        if not data:
            return SendError.REFUSED
        self._incoming.write(data)
        refusal = self.flush()
        if refusal is not None:
            return refusal
        return self._decrypt(view, held)

    def close(self) -> None:
        """Say goodbye and close the socket; twice is harmless."""
        with suppress(OSError):  # what a session says that waits for the other side's goodbye is one, too
            if self._is_secure and self._session is not None:
                self._session.unwrap()
        with suppress(OSError):
            self.socket.send(self._unsent + self._outgoing.read())
        super().close()

    def _shake_hands(self) -> SendError | None:
        if self._session is None or self._is_secure or not self.is_connected:
            return None
        try:
            self._session.do_handshake()
            self._is_secure = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            reason = printable(error.verify_message).rstrip(".")
            self.problem = f"The certificate of {printable(self._name)} was refused: {reason}."
            return SendError.UNTRUSTED
        except ssl.SSLError as error:
            return self._end(error)
        return None

    def _encrypt(self) -> bool:
        """Have something to send, if there is anything: what TLS itself says goes before frames."""
        if not self._unsent:
            if self._is_secure and self._session is not None and not self._outgoing.pending and self.queue:
                self._session.write(self.queue.take(RECORD_SIZE))
            self._unsent = self._outgoing.read()
        return bool(self._unsent)

    def _decrypt(self, view: memoryview, at: int) -> int | SendError:
        if self._session is None or not self._is_secure:
            return at
        held = at
        try:
            while size := cast(int, self._session.read(len(view) - at, view[at:])):  # given a buffer, it counts
                at += size
        except ssl.SSLWantReadError:
            return at
        except ssl.SSLError as error:
            return self._end(error)
        return at if at > held else SendError.REFUSED  # the other side's goodbye, and all that came before it

    def _end(self, error: ssl.SSLError) -> SendError:
        reason = printable(error.reason or "unexpected end").replace("_", " ").lower()
        self.problem = f"TLS with {printable(self._name)} failed: {reason}."
        return SendError.REFUSED


def _load(ca_file: Path | None, alpn: str) -> ssl.SSLContext:
    """Read the authorities. The rules are the same with every version of Python: its own defaults differ."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.hostname_checks_common_name = False  # RFC 9525 2: names are in subjectAltName
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a server's own certificate in the file is enough
    context.set_alpn_protocols([alpn])
    context.load_default_certs()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError as error:
            raise ConfigError(
                str(ca_file), "CA file", "holds no certificate", "Give a file with certificates in PEM."
            ) from error
        except OSError as error:
            raise ConfigError(str(ca_file), "CA file", f"can't be read: {error.strerror}") from error
    return context
