"""JWK Sets (RFC 7517): the public keys of an issuer, each with the algorithms that it alone decides on.

Reading one is in `authn.jwk_reading`, which is loaded by who has one to read: it needs cryptography.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from jwt.algorithms import Algorithm

    PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

__all__ = ["MAX_JWK_SET", "MAX_KEYS", "Jwk", "JwkSet"]

MAX_JWK_SET = 1024 * 1024
"""The longest JWK Set that is read, in bytes."""

MAX_KEYS = 256
"""The most keys that one may have: a token that names no key may have to be tried with each."""


@dataclass(frozen=True, slots=True)
class Jwk:
    """A public key that may have signed tokens.

    `key_id` is empty where it has none, so that tokens of any key id are tried with it. `declared` is its `alg`, empty where
    it has none; then `algorithms` are all that fit its kind. Only what is public of it is kept.
    """

    key_id: str
    declared: str
    algorithms: "Mapping[str, Algorithm]" = field(repr=False, compare=False)
    key: "PublicKey" = field(repr=False)

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether `signature` over `signed` is by this key; never for an algorithm that is none of the key's own."""
        own = self.algorithms.get(algorithm)
        return own is not None and own.verify(signed, self.key, signature)


@dataclass(frozen=True, slots=True)
class JwkSet:
    """The keys of an issuer, at least one. `refused` says for each key that is left out why it is."""

    keys: tuple[Jwk, ...]
    refused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("a JWK Set has at least one key")

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a JWK Set.

        Keys that cannot be used are left out, as by Envoy: those of unknown kinds, malformed ones, and, stricter than
        Envoy, symmetric keys, RSA keys below 2048 bits, and keys whose `use` or `key_ops` is not to verify.

        Raises:
            InvalidJwkSetError: it is none, or no key of it can be used.
        """
        from authn.jwk_reading import read_keys  # noqa: PLC0415  # most have no keys to read, and it takes its time

        return cls(*read_keys(text))
