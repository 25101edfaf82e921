"""Request authentication: what the tokens of a request prove, and what is told to who brings bad ones.

Fetching keys is apart, in `authn.jwks_cache`, for who needs no network.
"""

from authn.authentication import Authenticated, authenticate, carries_token
from authn.errors import (
    AuthnError,
    InvalidJwkSetError,
    InvalidTokenError,
    KeysUnavailableError,
    UnauthenticatedError,
)
from authn.jwk import JwkSet
from authn.static_keys import StaticKeys
from authn.status import JwtStatus
from authn.verification import KeySets

__all__ = [
    "Authenticated",
    "AuthnError",
    "InvalidJwkSetError",
    "InvalidTokenError",
    "JwkSet",
    "JwtStatus",
    "KeySets",
    "KeysUnavailableError",
    "StaticKeys",
    "UnauthenticatedError",
    "authenticate",
    "carries_token",
]
