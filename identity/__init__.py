"""SPIFFE names and documents as values, and verifying them. No I/O; time is an argument."""

from identity.bundle import Bundle
from identity.errors import (
    IdentityError,
    InvalidSpiffeIdError,
    InvalidTrustDomainError,
    Step,
    SvidVerificationError,
    WeakKeyError,
)
from identity.public_key import PublicKey, require_strong_key
from identity.spiffe_id import SpiffeId, TrustDomain, WorkloadName
from identity.x509_svid import MAX_CHAIN, PrivateKey, X509Svid, verify_x509_svid

__all__ = [
    "MAX_CHAIN",
    "Bundle",
    "IdentityError",
    "InvalidSpiffeIdError",
    "InvalidTrustDomainError",
    "PrivateKey",
    "PublicKey",
    "SpiffeId",
    "Step",
    "SvidVerificationError",
    "TrustDomain",
    "WeakKeyError",
    "WorkloadName",
    "X509Svid",
    "require_strong_key",
    "verify_x509_svid",
]
