"""Request authentication: what the tokens of a request prove, and what is told to who brings bad ones.

It does as Envoy 1.40's jwt_authn does, and is stricter on purpose in this: a token has at most 16 KiB, three parts and none
that is empty, and demands no extension by `crit`; its JSON is as RFC 8259 has it; a key alone decides which algorithms it is
for, is never symmetric, has 2048 bits or more if it is RSA's, and is not for something else by its `use` or `key_ops`.

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
