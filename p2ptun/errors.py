"""Every exception that p2ptun raises on purpose.

::

    P2ptunError
      ConfigError               the person who wrote the option or the file can mend it
      LocalProtocolError        our caller broke the contract: a bug
      RemoteProtocolError       the peer did: caught once, in node
        MalformedPacket         the only thing a decode_* may raise, whatever the bytes
        AuthenticationFailed    bad MAC, tag or key; says why to us, never to the peer
      RendezvousError           the two sides could not be brought together
        RendezvousEnded         and won't be, for nothing more can come
        WrongCode               the two sides' codes differ: somebody mistyped, or guessed
        NotMet                  nobody typed anything wrong, and yet they didn't meet
          RoomUnknown           no room of that number, or the rendezvous has forgotten it
          RoomCrowded           two are there already
          RoomGone              it was burnt
      DeviceError               the kernel refused an interface, an address, a route or a socket
        PrivilegeError          it refused because we lack a capability
        NotRunning              there is no process behind a tunnel's name

What a person will read is one sentence (`str(error)`: a capital letter, a full stop) and, apart from it, what to do
(`error.remedy`: likewise, but one that ends in something to type ends with that). A `ConfigError` makes the sentence
from the place and the problem. Protocol errors are read in logs and by programmers only: a few words, no full stop.
"""

from __future__ import annotations


class P2ptunError(Exception):
    """The root. `remedy` tells a person what to do next; empty where nothing helps."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class ConfigError(P2ptunError):
    """An option or a configuration file says something that can't be done. Mend the named key.

    `where` is the file, empty for an option; `problem` continues after the key, without a full stop.
    """

    def __init__(self, where: str, key: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {key}: {problem}." if where else f"{key}: {problem}.", remedy)
        self.where = where
        self.key = key
        self.problem = problem


class LocalProtocolError(P2ptunError):
    """A method was called that its machine's state doesn't allow. A bug of the caller: never caught in the core."""


class RemoteProtocolError(P2ptunError):
    """The other side broke the protocol. Drop what it sent, count it, go on."""


class MalformedPacket(RemoteProtocolError):
    """Bytes that are not what they claim to be. The only exception a `decode_*` function may raise."""


class AuthenticationFailed(RemoteProtocolError):
    """A MAC, tag or key that doesn't fit. Drop the packet and answer nothing that tells why."""


class RendezvousError(P2ptunError):
    """The rendezvous failed: a blob that can't be read, a server that can't be reached, a wrong code."""


class RendezvousEnded(RendezvousError):
    """Nothing more can come over this rendezvous: its input was closed. Asking again is useless."""


class WrongCode(RendezvousError):
    """The two sides have different codes. Nobody may try twice: the room is burnt."""


class NotMet(RendezvousError):
    """The two sides didn't meet: a server that can't be reached, a room that is gone, a side that gave up."""


class RoomUnknown(NotMet):
    """There is no such room at the rendezvous."""


class RoomCrowded(NotMet):
    """Two are in the room already, and neither is us."""


class RoomGone(NotMet):
    """Somebody ended the room for good. `reason` is what that side gave: a value of `BurnReason`, or another text."""

    def __init__(self, message: str, remedy: str = "", reason: str = "") -> None:
        super().__init__(message, remedy)
        self.reason = reason


class DeviceError(P2ptunError):
    """The kernel refused an interface, an address, a route or a socket."""


class PrivilegeError(DeviceError):
    """The process lacks a capability or the device node. Run it with the privilege that the remedy names."""


class NotRunning(DeviceError):
    """No tunnel of that name runs here; at most a control socket is left of one that was killed."""
