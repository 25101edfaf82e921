"""Signatures: which algorithm goes with which key, and making one."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from ca.keys import SigningKey
from ca.keys.key_type import VerificationKey

__all__ = ["SignatureAlgorithm", "algorithm_of", "require_signature", "sign"]


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """How a key signs certificates: the algorithm's id, alone and as an AlgorithmIdentifier in DER (RFC 5758, 4055, 8410)."""

    oid: x509.ObjectIdentifier
    identifier: bytes


_P256 = SignatureAlgorithm(SignatureAlgorithmOID.ECDSA_WITH_SHA256, bytes.fromhex("300a06082a8648ce3d040302"))
_P384 = SignatureAlgorithm(SignatureAlgorithmOID.ECDSA_WITH_SHA384, bytes.fromhex("300a06082a8648ce3d040303"))
_RSA = SignatureAlgorithm(SignatureAlgorithmOID.RSA_WITH_SHA256, bytes.fromhex("300d06092a864886f70d01010b0500"))
_ED25519 = SignatureAlgorithm(SignatureAlgorithmOID.ED25519, bytes.fromhex("300506032b6570"))

_SHA256, _SHA384 = ec.ECDSA(hashes.SHA256()), ec.ECDSA(hashes.SHA384())


def algorithm_of(key: VerificationKey) -> SignatureAlgorithm:
    """The one algorithm that certificates are signed with by the private half of `key`.

    Raises:
        ValueError: it is on a curve that nothing here signs with.
    """
    match key:
        case ec.EllipticCurvePublicKey():
            return _of_curve(key.curve)
        case rsa.RSAPublicKey():
            return _RSA
        case ed25519.Ed25519PublicKey():
            return _ED25519


def sign(key: SigningKey, data: bytes) -> bytes:
    """The signature of `data` by `key`, by the algorithm of `algorithm_of`.

    Raises:
        AuthorityError: a key outside this process did not answer.
        ValueError: it is on a curve that nothing here signs with.
    """
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(data, _SHA384 if _of_curve(key.curve) is _P384 else _SHA256)
        case rsa.RSAPrivateKey():
            return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        case ed25519.Ed25519PrivateKey():
            return key.sign(data)


def require_signature(key: VerificationKey, signature: bytes, data: bytes) -> None:
    """See that `signature` is what `sign` makes of `data` with the private half of `key`.

    Raises:
        InvalidSignature: it is not.
        ValueError: the key is on a curve that nothing here signs with.
    """
    match key:
        case ec.EllipticCurvePublicKey():
            key.verify(signature, data, _SHA384 if _of_curve(key.curve) is _P384 else _SHA256)
        case rsa.RSAPublicKey():
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        case ed25519.Ed25519PublicKey():
            key.verify(signature, data)


def _of_curve(curve: ec.EllipticCurve) -> SignatureAlgorithm:
    match curve:
        case ec.SECP256R1():
            return _P256
        case ec.SECP384R1():
            return _P384
        case _:
            raise ValueError(f"nothing is signed on curve `{curve.name}`")
