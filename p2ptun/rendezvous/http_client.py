"""One rendezvous server over HTTP/1.1, and connections to it that are ready.

httpx is imported on first use, and in a thread together with the reading of all authorities: the two take 100 ms.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import trio

from p2ptun import __version__
from p2ptun.errors import ConfigError, P2ptunError, RendezvousEnded
from p2ptun.io.tls import Trust
from p2ptun.rendezvous.http_answer import HealthAnswer, Unreadable, read_answer
from p2ptun.rendezvous.http_problem import Reply, foreign, refusal, timeout, trouble
from p2ptun.rendezvous.http_url import ServerUrl

if TYPE_CHECKING:
    import httpx

ALPN: Final = "http/1.1"
MAX_BODY: Final = 512 << 10  # bytes of an answer: the fullest mailbox in base64, and then some
REQUEST_TIMEOUT: Final = 10.0  # seconds for a request that the server answers at once
KEEPALIVE: Final = 90.0  # seconds that an idle connection is kept: much longer than a poll
BACKSTOP: Final = 60.0  # seconds without a byte; each call has a deadline of its own before that
WARMTH: Final = 15.0  # seconds after which a connection is warmed anew
HEALTH: Final = "healthz"

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `path` is what follows the server's URL; `token` goes into Authorization (RFC 6750 2.1)."""

    method: str
    path: str
    token: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: float = REQUEST_TIMEOUT

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of this call besides those of all."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if self.body:
            headers["Content-Type"] = "application/octet-stream"
        return headers


class HttpClient:
    """Sends requests, one attempt each; who asks decides whether to ask again.

    The pool keeps every connection that it ever needed at once, so with one more than there are waiting polls no
    request waits for a handshake: see `warm`. Proxies come from the environment (HTTPS_PROXY, NO_PROXY, ...).
    """

    def __init__(self, server: ServerUrl, ca_file: Path | None) -> None:
        self.server = server
        self._trust = Trust(ca_file, ALPN)
        self._client: httpx.AsyncClient | None = None
        self._lock = trio.Lock()
        self._is_closed = False
        self._warmed_at = -inf

    async def prepare(self) -> httpx.AsyncClient:
        """Import httpx and read the authorities, if that hasn't been done. Raises as `ask` does, but for Trouble."""
        async with self._lock:
            self._ensure_open()
            if self._client is None:
                context = await self._trust.context() if self.server.is_secure else None
                self._client = await trio.to_thread.run_sync(_make_client, context)
            return self._client

    async def ask(self, call: Call, shape: type[AnswerT]) -> AnswerT:
        """Send a request and read its answer.

        Raises:
            Trouble: No answer of a rendezvous came; asking again may help.
            RendezvousError: What the server refused, and why.
            ConfigError: The CA file or a proxy in the environment can't be used.
        """
        reply = await self.send(call)
        try:
            return read_answer(reply.body, shape)
        except Unreadable as error:
            raise foreign(self.server) from error

    async def send(self, call: Call) -> Reply:
        """Send a request whose answer has nothing to read. Raises as `ask` does."""
        client = await self.prepare()
        reply: Reply | None = None
        with trio.move_on_after(call.timeout):
            reply = await self._exchange(client, call)
        if reply is None:
            raise timeout(self.server)
        if not 200 <= reply.status < 300:
            raise refusal(self.server, call.path, reply)
        return reply

    async def check(self) -> None:
        """Ask the server how it is. Raises as `ask` does."""
        await self.ask(Call("GET", HEALTH), HealthAnswer)

    async def warm(self) -> None:
        """Use a connection besides those in use, so that the next request finds one open; in vain is fine."""
        try:
            await self.check()
        except P2ptunError:
            return
        self._warmed_at = trio.current_time()

    async def keep_warm(self) -> None:
        """Warm anew when it is time: idle connections are closed by servers and forgotten by NATs."""
        if trio.current_time() >= self._warmed_at + WARMTH:
            await self.warm()

    async def aclose(self) -> None:
        """Close all connections. Harmless twice; requests that wait raise RendezvousEnded."""
        self._is_closed = True
        if self._client is not None:
            await self._client.aclose()
        else:
            await trio.lowlevel.checkpoint()

    async def _exchange(self, client: httpx.AsyncClient, call: Call) -> Reply:
        import httpx

        url = self.server.of(call.path)
        try:
            async with client.stream(call.method, url, headers=call.headers, content=call.body) as response:
                body = await self._read(response)
        except httpx.HTTPError as error:
            self._ensure_open()
            raise trouble(self.server, error) from error
        headers = response.headers
        return Reply(
            response.status_code,
            headers.get("content-type", "").partition(";")[0].strip().lower(),
            body,
            headers.get("location", ""),
            headers.get("retry-after", ""),
        )

    async def _read(self, response: httpx.Response) -> bytes:
        """Read a body as it was sent, for what a compressed one grows to is anybody's guess. Raises Trouble."""
        body = bytearray()
        with trio.CancelScope() as scope:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BODY:
                    scope.cancel()  # it ends what reads, deep inside httpx, where leaving the loop would not
        if scope.cancelled_caught:
            raise foreign(self.server)
        return bytes(body)

    def _ensure_open(self) -> None:
        if self._is_closed:
            raise RendezvousEnded("The rendezvous was closed.")


def _make_client(context: ssl.SSLContext | None) -> httpx.AsyncClient:
    """Make a client that keeps connections and nothing else. Raises ConfigError when a proxy can't be used."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and has nobody to trust: there is no TLS
    try:
        return httpx.AsyncClient(
            verify=context,
            headers={
                "User-Agent": f"p2ptun/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=BACKSTOP,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE),
            follow_redirects=False,
            trust_env=True,
        )
    except ImportError as error:
        raise ConfigError(
            "", "ALL_PROXY", "names a SOCKS proxy", "Install p2ptun with socksio, or use an HTTP proxy."
        ) from error
    except (httpx.InvalidURL, ValueError) as error:
        remedy = "Write it as http://PROXY:PORT, or unset it."
        raise ConfigError(
            "", "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY", "names no proxy that can be used", remedy
        ) from error
