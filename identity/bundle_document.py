"""Bundle documents: bundles as trust domains publish them (SPIFFE Trust Domain and Bundle 4; X509-SVID 6, JWT-SVID 6)."""

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from identity.bundle import Bundle, JwtAuthority
from identity.errors import InvalidBundleError, InvalidJwkError, WeakKeyError
from identity.jwk import read_jwk, to_jwk
from identity.public_key import require_strong_key
from identity.spiffe_id import TrustDomain
from identity.strict_json import parse_object

__all__ = ["MAX_AUTHORITIES", "MAX_DOCUMENT", "jwt_keys_document", "oidc_keys_document", "parse_bundle", "to_document"]

MAX_DOCUMENT = 1024 * 1024
"""The longest document that is read, in bytes."""

MAX_AUTHORITIES = 64
"""The most keys that one may have; a trust domain has two or three, and six while it changes them."""

# In seconds. There is a longest `timedelta`, and a number beyond it would be an error of another kind.
_MAX_HINT = 1000 * 366 * 24 * 3600

_X509 = "x509-svid"
_JWT = "jwt-svid"


def parse_bundle(document: bytes, trust_domain: TrustDomain) -> Bundle:
    """Read what `trust_domain` publishes. One without keys is a bundle, by which nothing verifies.

    Keys of an unknown use or kind are left out, and so are X.509 authorities without a certificate, as the standard has it. A
    key that is meant to be used and cannot be is an error: who goes on with half a bundle refuses half of its peers.

    Raises:
        InvalidBundleError: it is no such document.
    """
    members, keys = _keys(document)
    x509_authorities: list[x509.Certificate] = []
    jwt_authorities: dict[str, JwtAuthority] = {}
    for position, jwk in enumerate(keys):
        try:
            authority = _authority(jwk)
        except (InvalidJwkError, WeakKeyError) as error:
            raise InvalidBundleError(f"key {position}: {error.reason}") from error
        if isinstance(authority, x509.Certificate):
            x509_authorities.append(authority)
        elif authority is not None:
            # One id for two keys: who picks the first and who picks the last verify different tokens.
            if authority.key_id in jwt_authorities:
                raise InvalidBundleError(f"key {position}: another has its `kid`")
            jwt_authorities[authority.key_id] = authority
    hint = _integer(members, "spiffe_refresh_hint")
    if hint is not None and hint > _MAX_HINT:
        raise InvalidBundleError("`spiffe_refresh_hint` is more than a thousand years")
    return Bundle(
        trust_domain,
        # Once each: a certificate that is there twice is no second authority.
        tuple(dict.fromkeys(x509_authorities)),
        tuple(jwt_authorities.values()),
        sequence=_integer(members, "spiffe_sequence"),
        refresh_hint=None if hint is None else timedelta(seconds=hint),
    )


def _keys(document: bytes) -> tuple[Mapping[str, object], list[object]]:
    if len(document) > MAX_DOCUMENT:
        raise InvalidBundleError(f"it has {len(document)} bytes, more than {MAX_DOCUMENT}")
    try:
        # A sequence may be any number of 64 bits, and each is another.
        members = parse_object(document, integer=int)
    except ValueError as error:
        raise InvalidBundleError(f"it is no JSON object that can be read: {error}") from error
    keys = members.get("keys")
    if not isinstance(keys, list):
        raise InvalidBundleError("there is no list of `keys`")
    if len(keys) > MAX_AUTHORITIES:
        raise InvalidBundleError(f"it has {len(keys)} keys, more than {MAX_AUTHORITIES}")
    return members, keys


def to_document(bundle: Bundle) -> bytes:
    """`bundle` as it is published. `parse_bundle` reads the same again."""
    document: dict[str, object] = {
        "keys": [
            *(_x509_jwk(authority) for authority in bundle.x509_authorities),
            *_jwt_jwks(bundle.jwt_authorities, use=_JWT),
        ]
    }
    if bundle.sequence is not None:
        document["spiffe_sequence"] = bundle.sequence
    if bundle.refresh_hint is not None:
        document["spiffe_refresh_hint"] = int(bundle.refresh_hint.total_seconds())
    return _written(document)


def jwt_keys_document(bundle: Bundle) -> bytes:
    """The JWT authorities alone, as the Workload API hands them out."""
    return _written({"keys": list(_jwt_jwks(bundle.jwt_authorities, use=_JWT))})


def oidc_keys_document(bundle: Bundle) -> bytes:
    """The JWT authorities for verifiers that know OpenID Connect and not SPIFFE: many of them skip a `use` that is not `sig`."""
    keys = [
        {**jwk, "alg": _algorithm(authority)}
        for authority, jwk in zip(bundle.jwt_authorities, _jwt_jwks(bundle.jwt_authorities, use="sig"), strict=True)
    ]
    return _written({"keys": keys})


def _algorithm(authority: JwtAuthority) -> str:
    key = authority.public_key
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return "RS256"
    return "ES256" if isinstance(key.curve, ec.SECP256R1) else "ES384"


def _written(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _x509_jwk(authority: x509.Certificate) -> dict[str, object]:
    certificate = base64.b64encode(authority.public_bytes(Encoding.DER)).decode("ascii")
    # X509-SVID 6.2: no `kid`.
    return {"use": _X509, **to_jwk(require_strong_key(authority.public_key())), "x5c": [certificate]}


def _jwt_jwks(authorities: Iterable[JwtAuthority], *, use: str) -> Iterable[dict[str, object]]:
    return ({"use": use, "kid": each.key_id, **to_jwk(each.public_key)} for each in authorities)


def _authority(jwk: object) -> x509.Certificate | JwtAuthority | None:
    """What a key of the document is, `None` if it is nothing to us."""
    if not isinstance(jwk, dict):
        raise InvalidJwkError("not an object")
    match jwk.get("use"):
        case "x509-svid":
            return _x509_authority(jwk)
        case "jwt-svid":
            return _jwt_authority(jwk)
        case _:
            return None


def _x509_authority(jwk: Mapping[str, object]) -> x509.Certificate | None:
    chain = jwk.get("x5c")
    if not isinstance(chain, list) or not chain:
        return None
    # Of several the first is the authority, and the others are nothing.
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(chain[0], validate=True))
        key = certificate.public_key()
    except (TypeError, ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidJwkError("its `x5c` holds no certificate that can be read") from error
    require_strong_key(key)
    return certificate


def _jwt_authority(jwk: Mapping[str, object]) -> JwtAuthority | None:
    key = read_jwk(jwk)
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise InvalidJwkError("it has no `kid`")
    return None if key is None else JwtAuthority(key_id, key)


def _integer(members: Mapping[str, object], name: str) -> int | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidBundleError(f"`{name}` is no whole number")
    return value
