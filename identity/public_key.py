"""Public keys: the kinds and sizes that an X.509-SVID and those who sign it may have."""

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from identity.errors import WeakKeyError

__all__ = ["PublicKey", "require_strong_key"]

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MIN_RSA_BITS = 2048
# Checking a signature is the verifier's work and the key is the stranger's: without a bound, one handshake costs seconds.
MAX_RSA_BITS = 4096
MIN_RSA_EXPONENT = 65537
MAX_RSA_EXPONENT = 2**32 - 1


def require_strong_key(key: object) -> PublicKey:
    """Return `key` if it is an EC key on P-256 or P-384, or an RSA key of 2048 to 4096 bits.

    These are the kinds that SPIRE and Istio certify. Everything else is refused, Ed25519 too.

    Raises:
        WeakKeyError: it is of another kind, curve or size.
    """
    match key:
        case ec.EllipticCurvePublicKey():
            # By curve, never by size: secp256k1 has 256 bits as well.
            if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
                raise WeakKeyError(f"curve `{key.curve.name}` is neither P-256 nor P-384")
            return key
        case rsa.RSAPublicKey():
            if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
                raise WeakKeyError(f"RSA key of {key.key_size} bits, not {MIN_RSA_BITS} to {MAX_RSA_BITS}")
            if not MIN_RSA_EXPONENT <= key.public_numbers().e <= MAX_RSA_EXPONENT:
                raise WeakKeyError(f"RSA exponent is not between {MIN_RSA_EXPONENT} and {MAX_RSA_EXPONENT}")
            return key
        case _:
            raise WeakKeyError("neither an EC key nor an RSA key")
