"""JWKs of public keys (RFC 7517, RFC 7518 6): one member of a bundle's document."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from identity.base64url import decode
from identity.errors import InvalidJwkError, WeakKeyError
from identity.public_key import PublicKey, require_strong_key

__all__ = ["read_jwk", "to_jwk"]

_CURVES: Mapping[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}


def read_jwk(jwk: Mapping[str, object]) -> PublicKey | None:
    """The public key that `jwk` is; `None` if it is of a kind or on a curve that SVIDs are not signed with.

    Raises:
        InvalidJwkError: it is none, or a weak one.
    """
    try:
        match jwk.get("kty"):
            case "EC":
                curve = _CURVES.get(_text(jwk, "crv"))
                if curve is None:
                    return None
                numbers = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), curve)
                return require_strong_key(numbers.public_key())
            case "RSA":
                return require_strong_key(rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key())
            case _:
                return None
    except WeakKeyError as error:
        raise InvalidJwkError(error.reason) from error
    except ValueError as error:
        raise InvalidJwkError(f"its numbers are no key: {error}") from error


def to_jwk(key: PublicKey) -> dict[str, str]:
    """The JWK of `key`, with what says what the key is and nothing else."""
    numbers = key.public_numbers()
    if isinstance(numbers, rsa.RSAPublicNumbers):
        return {"kty": "RSA", "n": _encoded(numbers.n), "e": _encoded(numbers.e)}
    name = next(name for name, curve in _CURVES.items() if curve.name == numbers.curve.name)
    # RFC 7518 6.2.1.2: the coordinates have the full length of the curve.
    length = (numbers.curve.key_size + 7) // 8
    return {"kty": "EC", "crv": name, "x": _encoded(numbers.x, length), "y": _encoded(numbers.y, length)}


def _encoded(number: int, length: int | None = None) -> str:
    data = number.to_bytes(length or (number.bit_length() + 7) // 8, "big")
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _text(jwk: Mapping[str, object], name: str) -> str:
    value = jwk.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidJwkError(f"it has no `{name}`")
    return value


def _number(jwk: Mapping[str, object], name: str) -> int:
    return int.from_bytes(decode(_text(jwk, name)), "big")
