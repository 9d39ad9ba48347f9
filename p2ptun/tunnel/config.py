"""What a session is given once and keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2ptun.aead.algorithm import Algorithm, available_algorithms
from p2ptun.errors import LocalProtocolError
from p2ptun.noise.keypair import KeyPair
from p2ptun.noise.primitive import diffie_hellman
from p2ptun.tunnel.psk import NO_PSK
from p2ptun.tunnel.timing import REKEY_INTERVAL

MIN_REKEY_INTERVAL = 1.0  # we keep the keys of two rekeys ago: what is on its way still opens after as many seconds


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Who we are, who the peer is, what both know, and what we accept.

    Attributes:
        static: our X25519 key pair.
        remote_static: the peer's public key, 32 bytes.
        psk: 32 bytes as `mix_psks` makes them.
        algorithms: AEADs that we offer and accept, best first; by default what suits this machine.
        rekey_interval: seconds of use after which keys are renewed, one at least.
        context: what both sides must have understood alike before; the handshake fails unless it is the same on both.

    Raises:
        LocalProtocolError: no algorithm, an interval under a second, or the peer is ourselves.
        AuthenticationFailed: `remote_static` has low order, so that nothing would be secret, or is no key.
    """

    static: KeyPair
    remote_static: bytes
    psk: bytes = field(default=NO_PSK, repr=False)
    algorithms: tuple[Algorithm, ...] = field(default_factory=available_algorithms)
    rekey_interval: float = REKEY_INTERVAL
    context: bytes = b""

    def __post_init__(self) -> None:
        if not self.algorithms:
            raise LocalProtocolError("a session needs an algorithm")
        if self.rekey_interval < MIN_REKEY_INTERVAL:
            raise LocalProtocolError(f"a rekey interval of {self.rekey_interval} s, less than {MIN_REKEY_INTERVAL} s")
        if self.static.public == self.remote_static:
            raise LocalProtocolError("the peer has our own key")
        diffie_hellman(self.static.private, self.remote_static)
