"""The sockets that the clients want, by token."""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address
from typing import Final

from p2ptun.turn.order import CloseSocket, OpenSocket, Order
from p2ptun.turn.server import Server
from p2ptun.types import Endpoint, Transport

_NOWHERE: Final = IPv4Address(0)
LAST_TOKEN: Final = 0xFFFF


class Sockets:
    """Hands out tokens and keeps the orders. A token is free again when the order to close it was taken."""

    __slots__ = ("_last", "_orders", "_tokens", "_unopened")

    def __init__(self) -> None:
        self._last = 0
        self._tokens: set[int] = set()
        self._unopened: set[Endpoint] = set()
        self._orders: deque[Order] = deque()

    def open(self, server: Server) -> Endpoint:
        """Order a socket to `server`; return its token."""
        self._last = self._last % LAST_TOKEN + 1
        while self._last in self._tokens:
            self._last = self._last % LAST_TOKEN + 1
        self._tokens.add(self._last)
        token = Endpoint(_NOWHERE, self._last, server.endpoint.transport)
        self._unopened.add(token)
        self._orders.append(OpenSocket(token, server))
        return token

    def close(self, token: Endpoint) -> None:
        """Order a socket's end."""
        self._orders.append(CloseSocket(token))

    def is_open(self, token: Endpoint) -> bool:
        """Tell whether the order to open the socket was taken: before, it can send nothing."""
        return token not in self._unopened

    def next_order(self, has_farewells: bool) -> Order | None:
        """Give the next order; with `has_farewells`, while closed sockets have something to send, none that closes."""
        order = next((one for one in self._orders if isinstance(one, OpenSocket) or not has_farewells), None)
        if order is None:
            return None
        self._orders.remove(order)
        if isinstance(order, CloseSocket):
            self._tokens.discard(order.token.port)
        else:
            self._unopened.discard(order.token)
        return order


def is_stream(endpoint: Endpoint) -> bool:
    """Tell whether what the socket of this token, or to this server, carries is a stream."""
    return endpoint.transport is not Transport.UDP
