"""SPIFFE names and documents as values, and verifying them. No I/O; time is an argument.

What needs cryptography is loaded when it is first asked for: most of the command line only reads names.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from identity.errors import (
    IdentityError,
    InvalidBundleError,
    InvalidJwkError,
    InvalidJwsError,
    InvalidJwtSvidError,
    InvalidSpiffeIdError,
    InvalidTrustDomainError,
    JwtFault,
    Step,
    SvidVerificationError,
    WeakKeyError,
)
from identity.spiffe_id import SpiffeId, TrustDomain, WorkloadName

if TYPE_CHECKING:
    from identity.bundle import Bundle, JwtAuthority
    from identity.bundle_document import jwt_keys_document, oidc_keys_document, parse_bundle, to_document
    from identity.jwk import read_jwk, to_jwk
    from identity.jws import UnverifiedJws
    from identity.jwt_svid import JwtSvid, verify_jwt_svid
    from identity.public_key import PublicKey, require_strong_key
    from identity.x509_svid import MAX_CHAIN, PrivateKey, X509Svid, claimed_spiffe_id, verify_x509_svid

__all__ = [
    "MAX_CHAIN",
    "Bundle",
    "IdentityError",
    "InvalidBundleError",
    "InvalidJwkError",
    "InvalidJwsError",
    "InvalidJwtSvidError",
    "InvalidSpiffeIdError",
    "InvalidTrustDomainError",
    "JwtAuthority",
    "JwtFault",
    "JwtSvid",
    "PrivateKey",
    "PublicKey",
    "SpiffeId",
    "Step",
    "SvidVerificationError",
    "TrustDomain",
    "UnverifiedJws",
    "WeakKeyError",
    "WorkloadName",
    "X509Svid",
    "claimed_spiffe_id",
    "jwt_keys_document",
    "oidc_keys_document",
    "parse_bundle",
    "read_jwk",
    "require_strong_key",
    "to_document",
    "to_jwk",
    "verify_jwt_svid",
    "verify_x509_svid",
]

_LATER = {
    name: module
    for module, names in {
        "bundle": ("Bundle", "JwtAuthority"),
        "bundle_document": ("jwt_keys_document", "oidc_keys_document", "parse_bundle", "to_document"),
        "jwk": ("read_jwk", "to_jwk"),
        "jws": ("UnverifiedJws",),
        "jwt_svid": ("JwtSvid", "verify_jwt_svid"),
        "public_key": ("PublicKey", "require_strong_key"),
        "x509_svid": ("MAX_CHAIN", "PrivateKey", "X509Svid", "claimed_spiffe_id", "verify_x509_svid"),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    if (module := _LATER.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"identity.{module}"), name)
    globals()[name] = found
    return found
