"""Bundle: the authorities that a trust domain is verified with."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from identity.spiffe_id import TrustDomain

__all__ = ["Bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The X.509 authorities of one trust domain. Without any, nothing of that trust domain verifies."""

    trust_domain: TrustDomain
    x509_authorities: tuple[x509.Certificate, ...]

    def to_pem(self) -> bytes:
        """The authorities, one PEM block each, as Envoy and OpenSSL take them."""
        return b"".join(authority.public_bytes(Encoding.PEM) for authority in self.x509_authorities)
