"""SPIFFE names and documents as values, and verifying them. No I/O; time is an argument."""

from identity.bundle import Bundle, JwtAuthority
from identity.bundle_document import jwt_keys_document, oidc_keys_document, parse_bundle, to_document
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
from identity.jwk import read_jwk, to_jwk
from identity.jws import UnverifiedJws
from identity.jwt_svid import JwtSvid, verify_jwt_svid
from identity.public_key import PublicKey, require_strong_key
from identity.spiffe_id import SpiffeId, TrustDomain, WorkloadName
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
