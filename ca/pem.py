"""PEM of what is sent with every certificate, written once."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.by_identity import ByIdentity
from identity import Bundle, X509Svid

__all__ = ["bundle_to_pem", "chain_to_pems"]


def chain_to_pems(svid: X509Svid) -> list[str]:
    """The leaf and what is above it, each as a PEM block."""
    leaf, *above = svid.chain
    return [_pem(leaf), *map(_pem_of_many, above)]


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _bundle_to_pem(bundle: Bundle) -> str:
    return bundle.to_pem().decode("ascii")


_pem_of_many = ByIdentity(_pem)
bundle_to_pem = ByIdentity(_bundle_to_pem, most=8)
"""The roots of a bundle, one PEM block after the other."""
