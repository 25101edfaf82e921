"""Key types: the closed set of keys that an authority may sign with."""

from enum import Enum

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from identity import require_strong_key

__all__ = ["KeyType", "SigningKey", "VerificationKey", "generate", "require_verification_key"]

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
VerificationKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_RSA_EXPONENT = 65537


class KeyType(Enum):
    """What kind of key to make.

    X509-SVID names no algorithms, so Ed25519 may sign certificates; JWT-SVID 2.1 lists its own, and Ed25519 is not among them.
    """

    P256 = "p256"
    P384 = "p384"
    RSA_2048 = "rsa-2048"
    RSA_4096 = "rsa-4096"
    ED25519 = "ed25519"


def generate(kind: KeyType) -> SigningKey:
    """A new key in the memory of this process."""
    match kind:
        case KeyType.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyType.RSA_2048:
            return rsa.generate_private_key(_RSA_EXPONENT, 2048)
        case KeyType.RSA_4096:
            return rsa.generate_private_key(_RSA_EXPONENT, 4096)
        case KeyType.ED25519:
            return ed25519.Ed25519PrivateKey.generate()


def require_verification_key(key: object) -> VerificationKey:
    """Return `key` if it is the public half of a key that certificates are signed with.

    Raises:
        WeakKeyError: it is of another kind, curve or size.
    """
    return key if isinstance(key, ed25519.Ed25519PublicKey) else require_strong_key(key)
