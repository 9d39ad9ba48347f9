"""Opens what `p2ptun serve` was asked for in matters of rooms."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from p2ptun.server.certificate import Certificate
from p2ptun.server.event import ErrorEvent, Event, ListeningEvent
from p2ptun.server.http.ice import IceOffer, own_uris
from p2ptun.server.http.serving import HTTP_PROTOCOLS, HttpServer
from p2ptun.server.layout import expand
from p2ptun.server.rooms import Rooms
from p2ptun.server.store.choice import open_store

if TYPE_CHECKING:
    from p2ptun.server.http.options import HttpOptions
    from p2ptun.server.options import ServeOptions
    from p2ptun.types import IPAddress


def open_http(
    options: ServeOptions, http: HttpOptions, own_addresses: Iterable[IPAddress], emit: Callable[[Event], None]
) -> tuple[HttpServer, Certificate | None]:
    """Open the store and the listeners; return the server, and the certificate of HTTPS.

    Raises:
        P2ptunError: If something that was asked for can't be had.
    """
    limits = replace(http.limits, connections=min(http.limits.connections, _affordable()))
    http, certificate = replace(http, limits=limits), None
    if http.https_listen and options.certificate:
        certificate = Certificate(*options.certificate, HTTP_PROTOCOLS)
    rooms = Rooms(open_store(http.store), lambda message, remedy: emit(ErrorEvent(message, remedy)))
    server = HttpServer(http, rooms, make_offer(options, http, own_addresses))
    try:
        places = [(local, None) for local in http.listen] + [(local, certificate) for local in http.https_listen]
        for local, wanted in places:
            listener = server.open(local, wanted)
            emit(ListeningEvent(listener.scheme, str(listener.local.address), listener.local.port))
    except BaseException:
        server.close()
        raise
    return server, certificate


def _affordable() -> int:
    """Tell how many connections there are descriptors for; a quarter is left for relays, stores and files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft * 3 // 4


def make_offer(options: ServeOptions, http: HttpOptions, own_addresses: Iterable[IPAddress]) -> IceOffer:
    """Say which STUN and TURN servers those in a room are told of: not of a relay whose users have passwords."""
    has_relay = bool(options.core.relay_addresses and http.secret)
    own = list(own_addresses)
    plain, secure = expand(options.stun_listen, own), expand(options.tls_listen, own)
    uris = own_uris(plain, secure, http.public_name, has_relay)
    return IceOffer(tuple(dict.fromkeys(uris + http.announce)), http.secret, time.time)
