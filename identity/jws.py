"""Signed tokens as they come: a compact JWS of a claims set (RFC 7515, RFC 7519), of which nothing is believed yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jwt.algorithms import Algorithm, RSAAlgorithm, RSAPSSAlgorithm

from identity.base64url import decode
from identity.errors import InvalidJwsError
from identity.public_key import PublicKey
from identity.strict_json import parse_object

__all__ = ["MAX_TOKEN", "UnverifiedJws"]

MAX_TOKEN = 16 * 1024
"""The longest token that is looked at, in characters."""

_PARTS = 3
# RFC 7519 2 allows any number; one beyond it is a mistake, or an attempt to never expire.
_LATEST = 253402300799  # the end of the year 9999

# Nothing symmetric, and "none" least of all. The key must be of the kind and curve (RFC 7518 3.4).
_RSA: Mapping[str, Algorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
    "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
}
# The curve, how many octets half of a signature has, and how it is made.
_EC: Mapping[str, tuple[str, int, ec.ECDSA]] = {
    "ES256": ("secp256r1", 32, ec.ECDSA(hashes.SHA256())),
    "ES384": ("secp384r1", 48, ec.ECDSA(hashes.SHA384())),
}
_ALGORITHMS = frozenset({*_RSA, *_EC, "ES512"})


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """What a token says of itself. Anybody can write one.

    `key_id` is empty where it names none. Nothing of it is shown, for whoever has a token is who it names.
    """

    header: Mapping[str, object] = field(repr=False)
    claims: Mapping[str, object] = field(repr=False)
    algorithm: str
    key_id: str
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, token: str) -> Self:
        """Read any text.

        Raises:
            InvalidJwsError: it is no such token, too long a one, or signed in a way that proves nothing.
        """
        if len(token) > MAX_TOKEN:
            raise InvalidJwsError(f"token has {len(token)} characters, more than {MAX_TOKEN}")
        parts = token.split(".")
        if len(parts) != _PARTS or not all(parts):
            raise InvalidJwsError("token is no compact JWS")
        header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
        signature = _decoded(parts[2], "signature")
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
            raise InvalidJwsError("token header has no `alg` that is known to prove anything")
        if "crit" in header:
            raise InvalidJwsError("token header demands extensions")
        key_id = header.get("kid", "")
        if not isinstance(key_id, str):
            raise InvalidJwsError("token header has a key id that is no string")
        # Both parts are ASCII, or they would not have been decoded.
        return cls(header, claims, algorithm, key_id, f"{parts[0]}.{parts[1]}".encode("ascii"), signature)

    def is_by(self, key: PublicKey) -> bool:
        """Whether the key made the signature. The kind of the key has the last word on the algorithm, not the token."""
        match key:
            case rsa.RSAPublicKey():
                of_rsa = _RSA.get(self.algorithm)
                return of_rsa is not None and of_rsa.verify(self.signed, key, self.signature)
            case ec.EllipticCurvePublicKey():
                of_ec = _EC.get(self.algorithm)
                return of_ec is not None and self._is_by_curve(key, *of_ec)

    def _is_by_curve(self, key: ec.EllipticCurvePublicKey, curve: str, octets: int, algorithm: ec.ECDSA) -> bool:
        # RFC 7518 3.4: both numbers in full. In DER they would be read otherwise.
        if key.curve.name != curve or len(self.signature) != 2 * octets:
            return False
        r, s = int.from_bytes(self.signature[:octets]), int.from_bytes(self.signature[octets:])
        try:
            key.verify(encode_dss_signature(r, s), self.signed, algorithm)
        except InvalidSignature:
            return False
        return True

    def text(self, name: str) -> str | None:
        """The claim of that name if it is a string that is not empty."""
        value = self.claims.get(name)
        return value if isinstance(value, str) and value else None

    def time(self, name: str) -> datetime | None:
        """The claim of that name as a time, `None` where it is not there.

        Raises:
            InvalidJwsError: it is none.
        """
        if name not in self.claims:
            return None
        value = self.claims[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
            raise InvalidJwsError(f"token has a claim {name} that is no time")
        return datetime.fromtimestamp(value, UTC)

    @property
    def audience(self) -> tuple[str, ...]:
        """Whom it is meant for; empty where that is not said as it should be."""
        found = self.claims.get("aud")
        audiences = [found] if isinstance(found, str) else found
        if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
            return ()
        return tuple(audiences)


def _decoded(part: str, name: str) -> bytes:
    try:
        return decode(part)
    except ValueError as error:
        raise InvalidJwsError(f"token {name} is no base64url") from error


def _object(part: str, name: str) -> dict[str, object]:
    try:
        return parse_object(_decoded(part, name))
    except ValueError as error:
        raise InvalidJwsError(f"token {name} is no JSON object that can be read") from error
