"""The certificate authority. It knows nothing of policy."""

from ca.authority import Authority
from ca.errors import AuthorityError, RecheckError, RefusedKeyError, RefusedLifetimeError, RefusedNameError
from ca.profile import DEFAULT_TTL, MAX_TTL, MIN_TTL
from ca.signer import Signer

__all__ = [
    "DEFAULT_TTL",
    "MAX_TTL",
    "MIN_TTL",
    "Authority",
    "AuthorityError",
    "RecheckError",
    "RefusedKeyError",
    "RefusedLifetimeError",
    "RefusedNameError",
    "Signer",
]
