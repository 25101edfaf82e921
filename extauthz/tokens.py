"""Tokens: how the server learns what a caller's token proves."""

import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from authn import Authenticated, authenticate, carries_token
from authn.jwks_cache import JwksCache
from authn.verified_tokens import VerifiedTokens
from authz.attributes import Attributes
from authz.request_authentication import JwtRule

__all__ = ["TokenReader", "TrustingEnvoy", "Verifying", "payload_of"]

# Where Envoy's jwt_authn filter leaves what it has verified, under the name that Istio gives it (semantics 4.7).
_JWT_AUTHN = "envoy.filters.http.jwt_authn"
_PAYLOAD = "payload"


def payload_of(attributes: Attributes) -> Mapping[str, object] | None:
    """What Envoy says that it has verified, if it has and says so."""
    payload = (attributes.metadata or {}).get(_JWT_AUTHN, {}).get(_PAYLOAD)
    return payload if isinstance(payload, Mapping) else None


class TokenReader(Protocol):
    """One of the two ways."""

    def expect(self, rules: Iterable[JwtRule]) -> None:
        """Be prepared for tokens of these rules, and from now on of no others."""
        ...

    async def ready(self, rules: Iterable[JwtRule]) -> None:
        """Wait until tokens of `rules` can be read, or are known not to be."""
        ...

    async def read(self, rules: tuple[JwtRule, ...], attributes: Attributes) -> Authenticated:
        """What the request's tokens prove by `rules`, those of its destination.

        Raises:
            UnauthenticatedError: They are not good.
        """
        ...

    def at_hand(self, rules: tuple[JwtRule, ...], attributes: Attributes) -> bool:
        """Whether `read` would answer at once, for it need not wait for keys."""
        ...

    async def close(self) -> None:
        """Let go of whatever is open."""
        ...


class Verifying:
    """Verifies tokens here, with the keys in `keys`."""

    def __init__(self, keys: JwksCache) -> None:
        self._keys = keys
        self._remembered = VerifiedTokens()
        self.expect = keys.prefetch
        self.ready = keys.ready
        self.close = keys.close

    async def read(self, rules: tuple[JwtRule, ...], attributes: Attributes) -> Authenticated:
        """What the tokens prove by their signatures."""
        if not self.at_hand(rules, attributes):
            await self._keys.ready(rules)
        return authenticate(rules, attributes, key_sets=self._keys.key_set, at=time.time(), remembered=self._remembered)

    def at_hand(self, rules: tuple[JwtRule, ...], attributes: Attributes) -> bool:
        """Who brings no token need not wait for keys."""
        return self._keys.is_ready(rules) or not carries_token(rules, attributes)


class TrustingEnvoy:
    """Takes what Envoy's own jwt_authn filter has verified and passed on; it has refused what is not good."""

    def expect(self, rules: Iterable[JwtRule]) -> None:
        """Nothing to do."""

    async def ready(self, rules: Iterable[JwtRule]) -> None:
        """Nothing to wait for."""

    async def read(self, rules: tuple[JwtRule, ...], attributes: Attributes) -> Authenticated:
        """What Envoy says they prove; nothing where no rule of the destination asks for tokens."""
        return Authenticated(claims=payload_of(attributes) if rules else None)

    def at_hand(self, rules: tuple[JwtRule, ...], attributes: Attributes) -> bool:  # noqa: ARG002  # the protocol's
        """It always is."""
        return True

    async def close(self) -> None:
        """Nothing is open."""
