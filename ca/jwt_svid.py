"""Minting JWT-SVIDs (JWT-SVID 2, 3): short-lived tokens that name a workload to one audience."""

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ca.authorities import JwtSigner
from ca.errors import RecheckError, RefusedLifetimeError, RefusedNameError
from ca.signature import sign
from identity import Bundle, InvalidJwtSvidError, JwtAuthority, SpiffeId, require_strong_key, verify_jwt_svid

__all__ = ["DEFAULT_JWT_TTL", "MAX_AUDIENCE", "MintedJwtSvid", "PlannedJwtSvid", "mint", "plan_jwt_svid"]

DEFAULT_JWT_TTL = timedelta(minutes=5)
MAX_AUDIENCE = 2048
"""The longest audience, in characters, and with several of them all together."""


@dataclass(frozen=True, slots=True)
class PlannedJwtSvid:
    """A token that is about to be signed; all of it is decided, so that it can be written down before. Times are UTC, whole seconds."""

    spiffe_id: SpiffeId
    audience: tuple[str, ...]
    id: str
    """The claim `jti`, 128 random bits in hexadecimal."""
    issued: datetime
    expires: datetime
    issuer: str | None


@dataclass(frozen=True, slots=True)
class MintedJwtSvid:
    """A JWT-SVID. Whoever has `token` is who it names, so it is never shown."""

    planned: PlannedJwtSvid
    token: str = field(repr=False)


def plan_jwt_svid(  # noqa: PLR0913  # all that two tokens may differ in
    signer: JwtSigner,
    spiffe_id: SpiffeId,
    audience: tuple[str, ...],
    *,
    at: datetime,
    ttl: timedelta = DEFAULT_JWT_TTL,
    issuer: str | None = None,
) -> PlannedJwtSvid:
    """What a token of `spiffe_id` for `audience` will say. `issuer` is the claim `iss` for those who find keys by OpenID Connect.

    Raises:
        RefusedNameError: `spiffe_id` names no workload, or the audience is none or too long a one.
        RefusedLifetimeError: the key that signs ends before, or the token would live for less than a second.
    """
    if not spiffe_id.path:
        raise RefusedNameError(str(spiffe_id), "a SPIFFE ID without a path is the authority's own")
    if not audience or not all(audience) or sum(map(len, audience)) > MAX_AUDIENCE:
        shown = ",".join(audience)[:80]
        raise RefusedNameError(shown, f"the audience of a token is given, and has at most {MAX_AUDIENCE} characters")
    issued = at.astimezone(UTC).replace(microsecond=0)
    expires = issued + ttl
    if ttl < timedelta(seconds=1) or expires > signer.not_after:
        raise RefusedLifetimeError(
            f"not between a second and the end of the signing key at {signer.not_after.isoformat()}",
            lifetime=ttl,
            at=issued,
        )
    return PlannedJwtSvid(
        spiffe_id, tuple(dict.fromkeys(audience)), secrets.token_hex(16), issued, expires.replace(microsecond=0), issuer
    )


def mint(signer: JwtSigner, planned: PlannedJwtSvid) -> MintedJwtSvid:
    """Sign what was planned, and verify it as its audience will.

    Raises:
        AuthorityError: a key outside this process did not answer.
        RecheckError: what was signed does not verify; it was kept in.
    """
    # RFC 7515 by hand rather than by pyjwt, which takes no key that signs elsewhere.
    header = {"alg": _algorithm(signer), "kid": signer.key_id, "typ": "JWT"}
    claims: dict[str, object] = {
        "sub": str(planned.spiffe_id),
        "aud": list(planned.audience),
        "exp": int(planned.expires.timestamp()),
        "iat": int(planned.issued.timestamp()),
        "jti": planned.id,
    }
    if planned.issuer is not None:
        claims["iss"] = planned.issuer
    signed = f"{_encoded(_json(header))}.{_encoded(_json(claims))}"
    token = f"{signed}.{_encoded(_signature(signer, signed.encode()))}"
    _recheck(token, signer, planned)
    return MintedJwtSvid(planned, token)


def _recheck(token: str, signer: JwtSigner, planned: PlannedJwtSvid) -> None:
    key = require_strong_key(signer.private_key.public_key())
    keys = Bundle(planned.spiffe_id.trust_domain, (), (JwtAuthority(signer.key_id, key),))
    try:
        read = verify_jwt_svid(token, [keys], audience=planned.audience[0], at=planned.issued)
    except InvalidJwtSvidError as error:
        raise RecheckError(str(error)) from error
    if (read.spiffe_id, read.audience, read.expires) != (planned.spiffe_id, planned.audience, planned.expires):
        raise RecheckError("the token does not say what was meant")


def _algorithm(signer: JwtSigner) -> str:
    match signer.private_key:
        case ec.EllipticCurvePrivateKey() as key:
            return {"secp256r1": "ES256", "secp384r1": "ES384"}[key.curve.name]
        case rsa.RSAPrivateKey():
            return "RS256"
        case _:
            raise RecheckError("no JWT-SVID is signed with a key of that kind")


def _signature(signer: JwtSigner, signed: bytes) -> bytes:
    signature = sign(signer.private_key, signed)
    if not isinstance(signer.private_key, ec.EllipticCurvePrivateKey):
        return signature
    # RFC 7518 3.4: the two numbers side by side, each of the full length of the curve.
    length = (signer.private_key.curve.key_size + 7) // 8
    r, s = decode_dss_signature(signature)
    return r.to_bytes(length, "big") + s.to_bytes(length, "big")


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
