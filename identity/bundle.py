"""Bundle: the authorities that a trust domain is verified with."""

from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from identity.public_key import PublicKey
from identity.spiffe_id import TrustDomain

__all__ = ["Bundle", "JwtAuthority"]


@dataclass(frozen=True, slots=True)
class JwtAuthority:
    """A key that signs JWT-SVIDs, and the id by which they name it."""

    key_id: str
    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class Bundle:
    """The authorities of one trust domain. Without any, nothing of that trust domain verifies.

    `sequence` grows whenever the rest changes, and `refresh_hint` is how often to look; both are `None` where whoever
    published it does not say.
    """

    trust_domain: TrustDomain
    x509_authorities: tuple[x509.Certificate, ...]
    jwt_authorities: tuple[JwtAuthority, ...] = ()
    sequence: int | None = None
    refresh_hint: timedelta | None = None

    def to_pem(self) -> bytes:
        """The X.509 authorities, one PEM block each, as Envoy and OpenSSL take them."""
        return b"".join(authority.public_bytes(Encoding.PEM) for authority in self.x509_authorities)
