"""JWT-SVIDs: tokens that prove a SPIFFE ID to whoever is named in them.

Numbers such as 4.1 are sections of the JWT-SVID standard.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from identity.bundle import Bundle
from identity.errors import InvalidJwsError, InvalidJwtSvidError, InvalidSpiffeIdError, JwtFault
from identity.jws import UnverifiedJws
from identity.spiffe_id import SpiffeId

__all__ = ["LEEWAY", "JwtSvid", "verify_jwt_svid"]

LEEWAY = timedelta(seconds=60)
"""By how much the clocks of issuer and verifier may differ."""

_HEADER = frozenset({"alg", "kid", "typ"})
_TYPES = (None, "JWT", "JOSE")
_SHOWN = 8


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
    # (1) 2: a compact JWS with an algorithm of 2.2.
    try:
        jws = UnverifiedJws.parse(token)
    except InvalidJwsError as error:
        raise InvalidJwtSvidError(JwtFault.MALFORMED, error.reason) from error
    # (2) 2.1, 2.3: no header but these, for any other would have to be understood.
    if jws.header.keys() - _HEADER:
        raise InvalidJwtSvidError(JwtFault.HEADER, "token header has more than `alg`, `kid` and `typ`")
    if jws.header.get("typ") not in _TYPES:
        raise InvalidJwtSvidError(JwtFault.HEADER, "token header has a `typ` that is neither JWT nor JOSE")
    if not jws.key_id:
        raise InvalidJwtSvidError(JwtFault.KEY_ID, "token header missing key id")
    # (3) 3.1 to 3.3: the claims.
    spiffe_id = _subject(jws)
    expires = _expiry(jws, at)
    _require_audience(jws.audience, audience)
    # (4) 4: the keys of the subject's own trust domain.
    found = [bundle for bundle in bundles if bundle.trust_domain == spiffe_id.trust_domain]
    if len(found) != 1:
        name = spiffe_id.trust_domain.name
        raise InvalidJwtSvidError(JwtFault.TRUST_DOMAIN, f"no keys found for trust domain {name!r}")
    key = next((each.public_key for each in found[0].jwt_authorities if each.key_id == jws.key_id), None)
    if key is None:
        raise InvalidJwtSvidError(JwtFault.KEY, "no key of the trust domain has the token's key id")
    # (5) The signature, over the very characters that were read.
    if not jws.is_by(key):
        raise InvalidJwtSvidError(JwtFault.SIGNATURE, "token signature is not by the key that it names")
    return JwtSvid(spiffe_id, jws.audience, expires, jws.claims)


def _subject(jws: UnverifiedJws) -> SpiffeId:
    subject = jws.text("sub")
    if subject is None:
        raise InvalidJwtSvidError(JwtFault.SUBJECT, "token missing subject claim")
    try:
        spiffe_id = SpiffeId.parse(subject)
    except InvalidSpiffeIdError as error:
        raise InvalidJwtSvidError(JwtFault.SUBJECT, "token subject is no SPIFFE ID") from error
    if not spiffe_id.path:
        raise InvalidJwtSvidError(JwtFault.SUBJECT, "token subject is a trust domain, not a workload")
    return spiffe_id


def _expiry(jws: UnverifiedJws, at: datetime) -> datetime:
    try:
        expires, *begins = jws.time("exp"), jws.time("nbf"), jws.time("iat")
    except InvalidJwsError as error:
        raise InvalidJwtSvidError(JwtFault.EXPIRY, error.reason) from error
    if expires is None:
        raise InvalidJwtSvidError(JwtFault.EXPIRY, "token missing exp claim")
    if at > expires + LEEWAY:
        raise InvalidJwtSvidError(JwtFault.EXPIRY, "token has expired")
    if any(begin is not None and at + LEEWAY < begin for begin in begins):
        raise InvalidJwtSvidError(JwtFault.EXPIRY, "token is not valid yet")
    return expires


def _require_audience(found: tuple[str, ...], wanted: str) -> None:
    if not found:
        raise InvalidJwtSvidError(JwtFault.AUDIENCE, "token missing aud claim")
    if wanted not in found:
        shown = [each[:256] for each in found[:_SHOWN]]
        raise InvalidJwtSvidError(JwtFault.AUDIENCE, f"expected audience in {[wanted]!r} (audience={shown!r})")
