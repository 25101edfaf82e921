"""JWT-SVIDs: tokens that prove a SPIFFE ID to whoever is named in them (JWT-SVID standard).

Numbers such as 4.1 are sections of that standard.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import Algorithm, ECAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

from identity.base64url import decode
from identity.bundle import Bundle
from identity.errors import InvalidJwtSvidError, InvalidSpiffeIdError, JwtFault
from identity.public_key import PublicKey
from identity.spiffe_id import SpiffeId
from identity.strict_json import parse_object

__all__ = ["LEEWAY", "MAX_TOKEN", "JwtSvid", "verify_jwt_svid"]

MAX_TOKEN = 16 * 1024
"""The longest token that is looked at, in characters."""

LEEWAY = timedelta(seconds=60)
"""By how much the clocks of issuer and verifier may differ."""

_PARTS = 3
_TYPES = (None, "JWT", "JOSE")
# RFC 7519 2 allows any number; one beyond it is a mistake, or an attempt to never expire.
_LATEST = 253402300799  # the end of the year 9999

# 2.2: nothing symmetric, no EdDSA, and "none" least of all. The key must be of the kind and curve (RFC 7518 3.4).
_RSA: Mapping[str, Algorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
    "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
}
_EC: Mapping[str, tuple[str, Algorithm]] = {
    "ES256": ("secp256r1", ECAlgorithm(ECAlgorithm.SHA256)),
    "ES384": ("secp384r1", ECAlgorithm(ECAlgorithm.SHA384)),
}
_ALGORITHMS = frozenset({*_RSA, *_EC, "ES512"})


@dataclass(frozen=True, slots=True)
class JwtSvid:
    """What a JWT-SVID proved: who it is about, to whom it was meant, until when, and all else that it says."""

    spiffe_id: SpiffeId
    audience: tuple[str, ...]
    expires: datetime
    claims: Mapping[str, object] = field(repr=False, compare=False)


def verify_jwt_svid(token: str, bundles: Iterable[Bundle], *, audience: str, at: datetime) -> JwtSvid:
    """What `token` proves to `audience` at the time `at`.

    Raises:
        InvalidJwtSvidError: it proves nothing.
        ValueError: `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("`at` needs a time zone")
    # (1) 2: a compact JWS, of which nothing is believed before the end.
    if len(token) > MAX_TOKEN:
        raise InvalidJwtSvidError(JwtFault.MALFORMED, f"token has {len(token)} characters, more than {MAX_TOKEN}")
    parts = token.split(".")
    if len(parts) != _PARTS or not all(parts):
        raise InvalidJwtSvidError(JwtFault.MALFORMED, "token is no compact JWS")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    signature = _decoded(parts[2], "signature")
    # (2) 2.1 to 2.3: the header has `alg`, `kid` and `typ`, and no other, for each would have to be understood.
    algorithm = _algorithm(header)
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise InvalidJwtSvidError(JwtFault.KEY_ID, "token header missing key id")
    # (3) 3.1 to 3.3: the claims.
    spiffe_id = _subject(claims)
    expires = _expiry(claims, at)
    meant_for = _audience(claims, audience)
    # (4) 4: the keys of the subject's own trust domain.
    found = [bundle for bundle in bundles if bundle.trust_domain == spiffe_id.trust_domain]
    if len(found) != 1:
        name = spiffe_id.trust_domain.name
        raise InvalidJwtSvidError(JwtFault.TRUST_DOMAIN, f"no keys found for trust domain {name!r}")
    key = next((each.public_key for each in found[0].jwt_authorities if each.key_id == key_id), None)
    if key is None:
        raise InvalidJwtSvidError(JwtFault.KEY, "no key of the trust domain has the token's key id")
    # (5) The signature, over the very characters that were read.
    if not _is_signed(f"{parts[0]}.{parts[1]}".encode("ascii"), signature, algorithm, key):
        raise InvalidJwtSvidError(JwtFault.SIGNATURE, "token signature is not by the key that it names")
    return JwtSvid(spiffe_id, meant_for, expires, claims)


def _decoded(part: str, name: str) -> bytes:
    try:
        return decode(part)
    except ValueError as error:
        raise InvalidJwtSvidError(JwtFault.MALFORMED, f"token {name} is no base64url") from error


def _object(part: str, name: str) -> dict[str, object]:
    try:
        return parse_object(_decoded(part, name))
    except ValueError as error:
        raise InvalidJwtSvidError(JwtFault.MALFORMED, f"token {name} is no JSON object that can be read") from error


def _algorithm(header: Mapping[str, object]) -> str:
    if header.keys() - {"alg", "kid", "typ"}:
        raise InvalidJwtSvidError(JwtFault.HEADER, "token header has more than `alg`, `kid` and `typ`")
    if header.get("typ") not in _TYPES:
        raise InvalidJwtSvidError(JwtFault.HEADER, "token header has a `typ` that is neither JWT nor JOSE")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise InvalidJwtSvidError(JwtFault.HEADER, "token header has no `alg` that JWT-SVIDs are signed with")
    return algorithm


def _subject(claims: Mapping[str, object]) -> SpiffeId:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise InvalidJwtSvidError(JwtFault.SUBJECT, "token missing subject claim")
    try:
        spiffe_id = SpiffeId.parse(subject)
    except InvalidSpiffeIdError as error:
        raise InvalidJwtSvidError(JwtFault.SUBJECT, "token subject is no SPIFFE ID") from error
    if not spiffe_id.path:
        raise InvalidJwtSvidError(JwtFault.SUBJECT, "token subject is a trust domain, not a workload")
    return spiffe_id


def _expiry(claims: Mapping[str, object], at: datetime) -> datetime:
    if "exp" not in claims:
        raise InvalidJwtSvidError(JwtFault.EXPIRY, "token missing exp claim")
    expires = _seconds(claims, "exp")
    if at > expires + LEEWAY:
        raise InvalidJwtSvidError(JwtFault.EXPIRY, "token has expired")
    for name in ("nbf", "iat"):
        if name in claims and at + LEEWAY < _seconds(claims, name):
            raise InvalidJwtSvidError(JwtFault.EXPIRY, "token is not valid yet")
    return expires


def _seconds(claims: Mapping[str, object], name: str) -> datetime:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise InvalidJwtSvidError(JwtFault.EXPIRY, f"token has a claim {name} that is no time")
    return datetime.fromtimestamp(value, UTC)


def _audience(claims: Mapping[str, object], wanted: str) -> tuple[str, ...]:
    found = claims.get("aud")
    audiences = [found] if isinstance(found, str) else found
    if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences) or not audiences:
        raise InvalidJwtSvidError(JwtFault.AUDIENCE, "token missing aud claim")
    if wanted not in audiences:
        raise InvalidJwtSvidError(
            JwtFault.AUDIENCE,
            f"expected audience in {[wanted]!r} (audience={[each[:256] for each in audiences[:8]]!r})",
        )
    return tuple(audiences)


def _is_signed(signed: bytes, signature: bytes, algorithm: str, key: PublicKey) -> bool:
    """Whether the key made the signature. The kind of the key has the last word on the algorithm, not the token."""
    match key:
        case rsa.RSAPublicKey():
            of_rsa = _RSA.get(algorithm)
            return of_rsa is not None and of_rsa.verify(signed, key, signature)
        case ec.EllipticCurvePublicKey():
            curve, of_ec = _EC.get(algorithm, ("", None))
            return of_ec is not None and key.curve.name == curve and of_ec.verify(signed, key, signature)
