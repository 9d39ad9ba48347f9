"""Long-term credentials (RFC 8489 9.2): one authentication layer per side, for every method.

The server challenges (401) with a realm, a nonce and the password algorithms it offers; the client signs what it sends
from then on. Nobody between them can talk the two into weaker algorithms: the nonce, which only the server can make,
says by its *nonce cookie* that algorithms were offered, and the client repeats the offer under its seal.

A nonce of ours is ``nonce cookie (13) | base64 of: time of issue in seconds (4) | MAC over that and the client (8)``,
and the cookie is ``obMatJos2 | base64 of: features (3)``.
"""

from __future__ import annotations

import base64
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, Flag
from typing import Final, Protocol, TypeAlias

from p2ptun.errors import ConfigError
from p2ptun.stun.attribute import (
    ERROR_CODE,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    USERHASH,
    USERNAME,
    AttributeValue,
)
from p2ptun.stun.codec import PasswordAlgorithm
from p2ptun.stun.error import Code, error_response
from p2ptun.stun.integrity import (
    HMAC_SHA1,
    HMAC_SHA256,
    Integrity,
    KeyAlgorithm,
    has_integrity,
    long_term_key,
    userhash,
    verify_integrity,
)
from p2ptun.stun.message import Message, encode_message
from p2ptun.stun.precis import opaque_string
from p2ptun.types import Endpoint

NONCE_COOKIE: Final = b"obMatJos2"  # RFC 8489 9.2
NONCE_LIFETIME: Final = 3600.0  # seconds; our choice, RFC 8656 5 recommends an hour at most
OFFERED: Final = (PasswordAlgorithm(KeyAlgorithm.SHA256.value), PasswordAlgorithm(KeyAlgorithm.MD5.value))

_RETRY_LIMITS: Final[dict[int, int]] = {Code.UNAUTHENTICATED: 1, Code.STALE_NONCE: 3}
"""How many challenges in a row a signed request may meet. Our choice: a server that never accepts ends somewhere."""


class SecurityFeature(Flag):
    """The 24 bits in the nonce cookie. Bit 0 is the most significant one (RFC 8489 9.2, 18.1).

    The sample nonce of appendix B.1 counts from the other end; the text holds.
    """

    PASSWORD_ALGORITHMS = 1 << 23
    USERNAME_ANONYMITY = 1 << 22


_KNOWN_FEATURES: Final = (SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY).value


def encode_cookie(features: SecurityFeature) -> bytes:
    """Make the beginning of a nonce that announces `features`."""
    return NONCE_COOKIE + base64.b64encode(features.value.to_bytes(3, "big"))


def decode_features(nonce: bytes) -> SecurityFeature:
    """Read the features that a nonce announces; none when it has no cookie. Unknown ones are left out."""
    if not nonce.startswith(NONCE_COOKIE):
        return SecurityFeature(0)
    try:
        bits = int.from_bytes(base64.b64decode(nonce[9:13], validate=True), "big")
    except ValueError:
        return SecurityFeature(0)
    return SecurityFeature(bits & _KNOWN_FEATURES)


@dataclass(frozen=True, slots=True)
class LongTermCredential:
    """A user name and a password."""

    username: str
    password: str = field(repr=False)


class Verdict(Enum):
    """What a response means for its request (RFC 8489 9.2.5)."""

    ACCEPTED = "accepted"  # read it
    RETRY = "retry"  # sign the request anew, with a new transaction ID
    REJECTED = "rejected"  # the credential is wrong or the server asks for what we can't do
    DISCARDED = "discarded"  # as if it had never come
    VIOLATED = "violated"  # unsealed or wrongly sealed: never came over UDP, the end of the transaction over a stream


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request together with what seals it; `integrity` is None before the first challenge."""

    message: Message
    integrity: Integrity | None

    def encode(self) -> bytes:
        """Encode it for the wire, FINGERPRINT included."""
        return encode_message(self.message, self.integrity)


@dataclass(frozen=True, slots=True)
class _Challenge:
    """What a 401 or 438 asked for. `algorithm` is our pick from `offered`, None when nothing was offered."""

    realm: str
    nonce: bytes
    offered: tuple[PasswordAlgorithm, ...] | None
    algorithm: PasswordAlgorithm | None


class LongTermClient:
    """The client's side for one server. Requests in flight at the same time may be challenged in any order."""

    __slots__ = ("_challenge", "_credential", "_integrity", "_retries")

    def __init__(self, credential: LongTermCredential) -> None:
        self._credential = credential
        self._challenge: _Challenge | None = None
        self._integrity: Integrity | None = None
        self._retries = 0

    @property
    def realm(self) -> str | None:
        """The realm of the latest challenge."""
        return self._challenge.realm if self._challenge else None

    def sign(self, request: Message) -> SignedRequest:
        """Add to `request` what the latest challenge asks for; before the first one, nothing (RFC 8489 9.2.3)."""
        challenge = self._challenge
        if challenge is None:
            return SignedRequest(request, None)
        attributes: list[AttributeValue] = [self._identify(challenge), (REALM, challenge.realm)]
        attributes.append((NONCE, challenge.nonce))
        if challenge.algorithm is not None:
            attributes += [(PASSWORD_ALGORITHMS, challenge.offered), (PASSWORD_ALGORITHM, challenge.algorithm)]
        return SignedRequest(replace(request, attributes=(*request.attributes, *attributes)), self._integrity)

    def judge(self, signed: SignedRequest, response: Message) -> Verdict:
        """Tell what the response to `signed` means, and remember its challenge."""
        error = response.get(ERROR_CODE)
        code = error.code if error else 0
        if code in _RETRY_LIMITS:
            return self._judge_challenge(signed, response, _RETRY_LIMITS[code])
        if _is_bid_down(response) or (code == Code.BAD_REQUEST and not has_integrity(response)):
            return Verdict.DISCARDED
        if signed.integrity is None:
            return Verdict.ACCEPTED
        if not verify_integrity(response, signed.integrity.key, signed.integrity.algorithm):
            return Verdict.VIOLATED
        self._retries = 0
        return Verdict.ACCEPTED

    def _judge_challenge(self, signed: SignedRequest, response: Message, limit: int) -> Verdict:
        used = signed.message.get(NONCE)
        realm, nonce = response.get(REALM) or signed.message.get(REALM), response.get(NONCE)
        if realm is None or nonce is None or _is_bid_down(response):
            return Verdict.DISCARDED
        if self._challenge is not None and used != self._challenge.nonce:
            return Verdict.RETRY  # another request has brought a newer challenge meanwhile
        if used is not None and (nonce == used or self._retries >= limit):
            return Verdict.REJECTED
        self._retries += used is not None
        return self._accept_challenge(realm, nonce, response.get(PASSWORD_ALGORITHMS))

    def _accept_challenge(self, realm: str, nonce: bytes, offered: tuple[PasswordAlgorithm, ...] | None) -> Verdict:
        algorithm = None
        if offered is not None:
            algorithm = next((one for one in offered if _key_algorithm(one) is not None), None)
            if algorithm is None:
                return Verdict.REJECTED
        key_algorithm = _key_algorithm(algorithm) or KeyAlgorithm.MD5
        try:
            key = long_term_key(self._credential.username, realm, self._credential.password, key_algorithm)
        except ConfigError:
            return Verdict.REJECTED  # a realm that no OpaqueString can be made of
        # Who offers algorithms knows MESSAGE-INTEGRITY-SHA256 and gets nothing less from then on (9.2.5).
        self._integrity = Integrity(HMAC_SHA256 if algorithm else HMAC_SHA1, key)
        self._challenge = _Challenge(realm, nonce, offered, algorithm)
        return Verdict.RETRY

    def _identify(self, challenge: _Challenge) -> AttributeValue:
        if SecurityFeature.USERNAME_ANONYMITY in decode_features(challenge.nonce):
            return (USERHASH, userhash(self._credential.username, challenge.realm))
        return (USERNAME, opaque_string(self._credential.username, "user name"))


class CredentialStore(Protocol):
    """Where a server looks users up. Passwords come out prepared (`opaque_string`), or as ASCII that needs no more."""

    def find_password(self, username: str) -> str | None: ...

    def find_username(self, hashed: bytes) -> str | None: ...


class StaticCredentials:
    """Users with their passwords, known beforehand."""

    __slots__ = ("_passwords", "_usernames")

    def __init__(self, passwords: Mapping[str, str], realm: str) -> None:
        """Raises ConfigError when a name or a password isn't an OpaqueString."""
        self._passwords = {
            opaque_string(name, "user name"): opaque_string(password, "password")
            for name, password in passwords.items()
        }
        self._usernames = {userhash(name, realm): name for name in self._passwords}

    def find_password(self, username: str) -> str | None:
        """Give the password of a user; None for nobody of ours."""
        return self._passwords.get(username)

    def find_username(self, hashed: bytes) -> str | None:
        """Give the user behind a USERHASH; None for nobody of ours."""
        return self._usernames.get(hashed)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A request that `username` sealed; `integrity` seals the answer."""

    username: str
    integrity: Integrity


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that isn't, and what to answer, unsealed."""

    response: Message


Authentication: TypeAlias = Authenticated | Refused


class LongTermServer:
    """The server's side. It keeps nothing per client: a nonce proves itself."""

    __slots__ = ("_features", "_lifetime", "_realm", "_secret", "_store")

    def __init__(
        self,
        realm: str,
        store: CredentialStore,
        secret: bytes,
        features: SecurityFeature = SecurityFeature.PASSWORD_ALGORITHMS,
        nonce_lifetime: float = NONCE_LIFETIME,
    ) -> None:
        """`secret` makes the nonces: random, drawn anew at each start, since `now` starts anew too.

        Raises:
            ConfigError: the realm isn't an OpaqueString.
        """
        self._realm = opaque_string(realm, "realm")
        self._store = store
        self._secret = secret
        self._features = features | SecurityFeature.PASSWORD_ALGORITHMS
        self._lifetime = nonce_lifetime

    def authenticate(self, request: Message, source: Endpoint, now: float) -> Authentication:
        """Tell who sent `request`, or how to refuse it (RFC 8489 9.2.4, in its order)."""
        if not has_integrity(request):
            return self._challenge(request, Code.UNAUTHENTICATED, source, now)
        nonce = request.get(NONCE)
        if nonce is None or request.get(REALM) is None or not (request.get(USERNAME) or request.get(USERHASH)):
            return Refused(error_response(request, Code.BAD_REQUEST))
        key_algorithm = _chosen_algorithm(request)
        if key_algorithm is None:
            return Refused(error_response(request, Code.BAD_REQUEST))
        user = self._find_user(request)
        if user is None:
            return self._challenge(request, Code.UNAUTHENTICATED, source, now)
        key = long_term_key(user.username, self._realm, user.password, key_algorithm)
        if not verify_integrity(request, key):
            return self._challenge(request, Code.UNAUTHENTICATED, source, now)
        if not self._is_fresh(nonce, source, now):
            return self._challenge(request, Code.STALE_NONCE, source, now)
        sealed_by = HMAC_SHA1 if request.get(PASSWORD_ALGORITHM) is None else HMAC_SHA256
        return Authenticated(user.username, Integrity(sealed_by, key))

    def _challenge(self, request: Message, code: Code, source: Endpoint, now: float) -> Refused:
        nonce = self._make_nonce(int(now), source)
        attributes = ((REALM, self._realm), (NONCE, nonce), (PASSWORD_ALGORITHMS, OFFERED))
        return Refused(error_response(request, code, *attributes))

    def _find_user(self, request: Message) -> LongTermCredential | None:
        hashed = request.get(USERHASH)
        claimed = self._store.find_username(hashed) if hashed is not None else request.get(USERNAME)
        try:
            username = opaque_string(claimed or "", "user name")
        except ConfigError:
            return None
        password = self._store.find_password(username)
        return None if password is None else LongTermCredential(username, password)

    def _make_nonce(self, issued_at: int, source: Endpoint) -> bytes:
        stamp = struct.pack(">I", issued_at & 0xFFFFFFFF)
        client = struct.pack(">H", source.port) + source.address.packed  # no two clients share a nonce (9.2.4)
        mac = hmac.digest(self._secret, stamp + client, "sha256")[:8]
        return encode_cookie(self._features) + base64.b64encode(stamp + mac)

    def _is_fresh(self, nonce: bytes, source: Endpoint, now: float) -> bool:
        try:
            stamp = base64.b64decode(nonce[13:], validate=True)[:4]
        except ValueError:
            return False
        issued_at = int.from_bytes(stamp, "big")
        genuine = hmac.compare_digest(nonce, self._make_nonce(issued_at, source))
        return genuine and now - issued_at <= self._lifetime


def _is_bid_down(response: Message) -> bool:
    """Tell whether somebody took the offered algorithms out: the nonce speaks of them and they are gone."""
    features = decode_features(response.get(NONCE) or b"")
    return SecurityFeature.PASSWORD_ALGORITHMS in features and response.get(PASSWORD_ALGORITHMS) is None


def _key_algorithm(algorithm: PasswordAlgorithm | None) -> KeyAlgorithm | None:
    """Find the algorithm that we know under this number; neither of them takes parameters (RFC 8489 18.5.1)."""
    return next((one for one in KeyAlgorithm if algorithm == PasswordAlgorithm(one.value)), None)


def _chosen_algorithm(request: Message) -> KeyAlgorithm | None:
    """Give the algorithm that the client chose from our offer, repeated unchanged; None when it broke the rules.

    Who repeats nothing of it doesn't know algorithms and means MD5 (RFC 8489 9.2.4).
    """
    offered, chosen = request.get(PASSWORD_ALGORITHMS), request.get(PASSWORD_ALGORITHM)
    if offered is None and chosen is None:
        return KeyAlgorithm.MD5
    return _key_algorithm(chosen) if offered == OFFERED and chosen in OFFERED else None
